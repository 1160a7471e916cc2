//! `--version` names the commit, wherever the sources came from.

#[path = "../build.rs"]
mod build;

use std::path::Path;
use std::process::Command;

fn git(directory: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]);
    let output = command.args(args).current_dir(directory).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// What the build script finds, and whether what it watches is there.
fn found(directory: &Path) -> Option<String> {
    let mut watched = Vec::new();
    let commit = build::from_git(directory, &mut watched);
    assert!(watched.iter().all(|path| path.exists()), "cargo would build it again every time: {watched:?}");
    commit
}

#[test]
fn the_commit_is_found_in_every_kind_of_checkout() {
    let home = tempfile::tempdir().unwrap();
    let origin = home.path().join("origin");
    std::fs::create_dir(&origin).unwrap();
    assert_eq!(found(&origin), None, "no git at all");
    git(&origin, &["init", "-q"]);
    assert_eq!(found(&origin), None, "no commit yet");
    std::fs::write(origin.join("build.rs"), include_str!("../build.rs")).unwrap();
    std::fs::write(origin.join(".gitattributes"), include_str!("../.gitattributes")).unwrap();
    git(&origin, &["add", "."]);
    for message in ["one", "two"] {
        git(&origin, &["commit", "-q", "--allow-empty", "-m", message]);
    }
    let head = git(&origin, &["rev-parse", "HEAD"]);
    assert_eq!(found(&origin).as_deref(), Some(&*head), "a branch");

    git(&origin, &["pack-refs", "--all"]);
    assert_eq!(found(&origin).as_deref(), Some(&*head), "packed refs");
    git(&origin, &["worktree", "add", "-q", "../tree", "-b", "other"]);
    assert_eq!(found(&home.path().join("tree")).as_deref(), Some(&*head), "a work tree of its own");
    let url = format!("file://{}", origin.display());
    git(home.path(), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    assert_eq!(found(&home.path().join("shallow")).as_deref(), Some(&*head), "a shallow clone");
    git(&origin, &["checkout", "-q", "--detach", "HEAD~1"]);
    let first = git(&origin, &["rev-parse", "HEAD"]);
    assert_eq!(found(&origin).as_deref(), Some(&*first), "no branch");

    // Unpacked in the repository of somebody else, a tarball names its own commit.
    let inside = origin.join("unpacked");
    std::fs::create_dir(&inside).unwrap();
    git(&origin, &["archive", "-o", "a.tar", "main"]);
    let tar = Command::new("tar").args(["-xf", "../a.tar"]).current_dir(&inside).status();
    assert!(tar.expect("tar runs").success());
    assert_eq!(found(&inside), None);
    let script = std::fs::read_to_string(inside.join("build.rs")).unwrap();
    assert!(script.contains(&format!("ARCHIVED: &str = \"{head}\"")), "{script}");
    assert_eq!(build::hash(&head).as_deref(), Some(&*head));
    assert_eq!(build::hash(build::ARCHIVED), None, "this is no archive");
}

#[test]
fn the_version_says_as_much_as_is_known() {
    let commit = || Some("878fee6c0d1e2f3a4b5c".to_owned());
    assert_eq!(build::version("0.1.0", commit(), true), "0.1.0 (878fee6c0d1e)");
    assert_eq!(build::version("0.1.0", build::hash("878fee6"), true), "0.1.0 (878fee6)");
    assert_eq!(build::version("0.1.0", None, true), "0.1.0");
    let output = crate::common::Home::new().run(&["--version"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with("rtms-recorder 0.1.0"), "{said}");
    assert_eq!(said.trim_end(), format!("rtms-recorder {}", rtms_recorder::VERSION));
}
