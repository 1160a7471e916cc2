//! Which commit is built, for `--version`: from the variable `RTMS_RECORDER_COMMIT`, else from `.git` beside this file, else from
//! what `git archive` wrote in here. Needs no git.
//!
//! Debug builds are not told the commit unless by the variable: all targets would be built anew after every commit.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// `git archive` puts the commit here (see .gitattributes), and so do the tarballs that hosts of git make.
pub(crate) const ARCHIVED: &str = "$Format:%H$";

/// As many digits are shown.
const DIGITS: usize = 12;

#[allow(dead_code, reason = "a test includes this file")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RTMS_RECORDER_COMMIT");
    let var = |name: &str| env::var(name).unwrap_or_default();
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR"));
    let is_release = var("PROFILE") == "release";
    let given = var("RTMS_RECORDER_COMMIT");
    let mut watched = Vec::new();
    let commit = match given.trim() {
        "" if is_release => from_git(&root, &mut watched).or_else(|| hash(ARCHIVED)),
        given => hash(given),
    };
    for path in watched {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    println!("cargo:rustc-env=RTMS_RECORDER_VERSION={}", version(&var("CARGO_PKG_VERSION"), commit, is_release));
}

/// What `--version` says.
pub(crate) fn version(number: &str, commit: Option<String>, is_release: bool) -> String {
    match commit {
        Some(commit) => format!("{number} ({})", &commit[..DIGITS.min(commit.len())]),
        None if is_release => number.to_owned(),
        None => format!("{number} (debug build)"),
    }
}

/// The commit that is checked out in `root`. `watched` is told which files change when it does.
pub(crate) fn from_git(root: &Path, watched: &mut Vec<PathBuf>) -> Option<String> {
    let dot_git = root.join(".git");
    // In a work tree of its own it is a file that names the directory.
    let own = match fs::read_to_string(&dot_git) {
        Ok(text) => root.join(text.trim().strip_prefix("gitdir:")?.trim()),
        Err(_) => dot_git,
    };
    let shared = fs::read_to_string(own.join("commondir")).map_or_else(|_| own.clone(), |path| own.join(path.trim()));
    let head = fs::read_to_string(own.join("HEAD")).ok()?;
    // A file that is watched has to exist, or cargo runs this every time.
    let mut watch = |path: PathBuf| watched.extend(path.exists().then_some(path));
    watch(own.join("HEAD"));
    // A branch that is packed gets a file of its own with its next commit.
    watch(own.join("logs/HEAD"));
    let Some(name) = head.trim().strip_prefix("ref:").map(str::trim) else { return hash(&head) };
    watch(shared.join(name));
    watch(shared.join("packed-refs"));
    let loose = fs::read_to_string(shared.join(name)).ok().and_then(|text| hash(&text));
    loose.or_else(|| {
        let packed = fs::read_to_string(shared.join("packed-refs")).ok()?;
        let line = packed.lines().find(|line| line.split(' ').nth(1) == Some(name))?;
        hash(line.split(' ').next()?)
    })
}

/// `text` if it is a hash, or the beginning of one.
pub(crate) fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    let is_hash = text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned())
}
