//! The README's Troubleshooting is looked up by the texts that the program prints: each of them has to be one. (Those about Zoom's
//! numbers and notices are compared where they are made, in `advice`.)

use std::path::Path;

/// Printed by the system, a store or a library.
const OF_OTHERS: [&str; 3] = [
    "Address already in use",
    "403 Forbidden (AccessDenied)",
    "Encountered transport error of kind Connect, backing off",
];

/// Texts with something put in, and what of them is in the source.
const WITH_VALUES: [(&str, &[&str]); 19] = [
    (
        "STORAGE_URL storage URL \"...\" is not understood",
        &["STORAGE_URL {err}", "storage URL {url:?} is not understood"],
    ),
    ("STORAGE_URL endpoint http://... is plain HTTP", &["STORAGE_URL {err}", "endpoint {endpoint} is plain HTTP"]),
    ("host \"...\" is not covered by ZOOM_ALLOWED_HOSTS", &["host {0:?} is not covered by ZOOM_ALLOWED_HOSTS"]),
    ("\"ws://...\" is not encrypted", &["{0:?} is not encrypted"]),
    (
        "closed before the handshake was answered (close 1000)",
        &["closed before the handshake was answered ({because})", "close {} {}"],
    ),
    ("Zoom answered \"Invalid subscription\"", &["Zoom answered {said:?}"]),
    ("again: a webhook was refused", &["again: {kind}", "a webhook was refused"]),
    ("connection refused; trying again", &["connection refused; {next}", "trying again"]),
    ("no answer to the handshake within 10 s", &["no answer to the handshake within {} s"]),
    ("asked for a token, Zoom answered 400 (code invalid_client)", &["asked for a token, ", " (code {code})"]),
    ("asked for a token, Zoom answered 400 (code unsupported_grant_type)", &["asked for a token, ", " (code {code})"]),
    ("(code 2308)", &[" (code {code})", "2308"]),
    ("(code 2310)", &[" (code {code})", "2310"]),
    ("(code 3001)", &[" (code {code})", "3001"]),
    ("(code 4711)", &[" (code {code})", "4711"]),
    ("(code 4700)", &[" (code {code})", "4700"]),
    ("(code 124)", &[" (code {code})", "124"]),
    ("MEDIA_TYPE_..._NOT_SUPPORT", &["MEDIA_TYPE_VIDEO_NOT_SUPPORT", "MEDIA_TYPE_CHAT_NOT_SUPPORT"]),
    ("the recorder answered 401 Unauthorized", &["the recorder {error}", "answered {status}"]),
];

fn sources(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| ["rs", "js", "html"].iter().any(|known| end == *known)) {
            text.push_str(&std::fs::read_to_string(path).expect("text"));
            text.push('\n');
        }
    }
}

/// The source with texts that go on in the next line joined.
fn joined(source: &str) -> String {
    let mut joined = String::with_capacity(source.len());
    let mut goes_on = false;
    for line in source.lines() {
        let line = if goes_on { line.trim_start() } else { line };
        goes_on = line.ends_with('\\');
        joined.push_str(line.strip_suffix('\\').unwrap_or(line));
        if !goes_on {
            joined.push('\n');
        }
    }
    joined.replace("\\\"", "\"")
}

/// The texts in the first cells of the table under `heading`, up to the next heading.
fn texts(readme: &str, heading: &str) -> Vec<String> {
    let (_, section) = readme.split_once(&format!("\n{heading}\n")).expect("the section");
    let rows = section.lines().take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_text_in_troubleshooting_is_one_of_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = String::new();
    sources(&root.join("src"), &mut source);
    let source = joined(&source);
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let texts = texts(&readme, "## Troubleshooting");
    assert!(texts.len() > 50, "{texts:?}");
    let parts = |text: &str| -> Vec<String> {
        match WITH_VALUES.iter().find(|(known, _)| *known == text) {
            Some((_, parts)) => parts.iter().map(|part| (*part).to_owned()).collect(),
            // Dots stand for what is put in.
            None => text.split("...").map(|part| part.trim().to_owned()).collect(),
        }
    };
    let strangers: Vec<String> = texts
        .iter()
        .filter(|text| !OF_OTHERS.contains(&text.as_str()))
        .filter_map(|text| {
            let missing: Vec<String> = parts(text).into_iter().filter(|part| !source.contains(part)).collect();
            (!missing.is_empty()).then(|| format!("{text}: {missing:?}"))
        })
        .collect();
    assert!(strangers.is_empty(), "these texts are printed by nothing in src/:\n{}", strangers.join("\n"));
    for (text, _) in WITH_VALUES {
        assert!(readme.contains(text), "{text} is not in the README any more");
    }
}
