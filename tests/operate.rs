//! What scripts/deploy says is so: the run-book is looked up by the texts that the program prints, and the files name each other's
//! paths and the program's variables.

use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// All source files, with texts that go on in the next line joined.
fn source() -> String {
    fn add(dir: &Path, text: &mut String) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                add(&path, text);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let mut goes_on = false;
                for line in std::fs::read_to_string(&path).expect("text").lines() {
                    let line = if goes_on { line.trim_start() } else { line };
                    goes_on = line.ends_with('\\');
                    text.push_str(line.strip_suffix('\\').unwrap_or(line));
                    text.push_str(if goes_on { "" } else { "\n" });
                }
            }
        }
    }
    let mut text = String::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    text
}

#[test]
fn every_text_in_the_run_book_is_one_of_the_program() {
    let (page, source) = (read("scripts/deploy/README.md"), source());
    let (_, section) = page.split_once("\n## Run-book\n").expect("the section");
    let rows = section.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    let texts: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert!(texts.len() > 25, "{texts:?}");
    let strangers: Vec<_> =
        texts.iter().filter(|text| text.split("...").any(|part| !source.contains(part.trim()))).collect();
    assert!(strangers.is_empty(), "nothing in src/ prints {strangers:#?}");
}

/// Names in capitals with an underscore, as variables have.
fn variables(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words
        .filter(|word| word.contains('_') && word.len() > 4 && !word.starts_with('_') && !word.ends_with('_'))
        .collect()
}

#[test]
fn the_files_fit_the_program_and_each_other() {
    let (readme, source) = (read("README.md"), source());
    let of_others = [
        "BUCKET_KEY",
        "BUCKET_SECRET",
        "ROOT_ACCESS_KEY",
        "ROOT_SECRET_KEY",
        "AF_INET",
        "AF_INET6",
        "AF_UNIX",
        "AF_NETLINK",
    ];
    for file in ["recorder.env.example", "compose.yaml", "rtms-recorder.service"] {
        let text = read(&format!("scripts/deploy/{file}"));
        for name in variables(&text) {
            let known = source.contains(name.trim_end_matches("_FILE")) || readme.contains(name);
            assert!(known || of_others.contains(&name), "{file} names {name}, which is no variable");
        }
    }
    let (docker, compose) = (read("Dockerfile"), read("scripts/deploy/compose.yaml"));
    let unit = read("scripts/deploy/rtms-recorder.service");
    let spool = "/var/lib/rtms-recorder/spool";
    assert!(docker.contains(&format!("VOLUME {spool}")) && docker.contains(&format!("SPOOL_DIR={spool}")));
    assert!(compose.contains(&format!("- spool:{spool}")) && unit.contains(&format!("SPOOL_DIR={spool}")));
    assert!(
        docker.contains("\nUSER 10001:10001\n") && docker.contains("/healthz") && unit.contains("\nKillMode=mixed\n")
    );
    // Whoever manages it waits longer than it takes.
    assert!(source.contains("\"SHUTDOWN_GRACE\", Duration::from_secs(25)"));
    assert!(compose.contains("stop_grace_period: 40s") && unit.contains("\nTimeoutStopSec=40\n"));
    // A port or a spool that is taken for ten seconds must not end it for good.
    let (head, _) = unit.split_once("\n[Service]\n").expect("the section");
    assert!(head.contains("\nStartLimitIntervalSec=0\n"));
    // `check` is run as the unit runs: a relative STORAGE_URL, rights and limits are the same.
    let page = read("scripts/deploy/README.md");
    for name in [
        "DynamicUser",
        "StateDirectory",
        "StateDirectoryMode",
        "WorkingDirectory",
        "UMask",
        "LimitNOFILE",
        "EnvironmentFile",
    ] {
        let line = unit.lines().find(|line| line.split_once('=').is_some_and(|(key, _)| key == name)).expect(name);
        assert!(page.contains(&format!("-p {line}")), "check is not run with {line}");
    }
    // What the build reads is in the context, and the secrets are not.
    let ignored = read(".dockerignore");
    for path in ["Cargo.toml", "Cargo.lock", "build.rs", "src", "benches"] {
        assert!(ignored.lines().any(|line| line == format!("!{path}")), "{path} is not in the context");
    }
    assert!(ignored.starts_with("# ") && ignored.lines().any(|line| line == "*"));
}

/// The health check of the image, as Docker would run it.
#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_tells_a_recorder_that_runs() {
    let docker = read("Dockerfile");
    let (_, check) =
        docker.split_once("\nHEALTHCHECK ").and_then(|(_, rest)| rest.split_once("CMD ")).expect("a check");
    let words: Vec<String> = serde_json::from_str(check.lines().next().expect("a line")).expect("JSON");
    let recorder = crate::common::Home::new().start().await;
    let port = recorder.address().port().to_string();
    let healthy = || Command::new(&words[0]).args(&words[1..]).env("PORT", &port).status().expect("bash").success();
    assert!(healthy());
    recorder.terminate().await;
    assert!(!healthy());
}
