//! A disk that can lose its power: see `platter.c`, which is loaded into the recorder.

use super::Home;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

/// What a home's recorder has forced to the disk.
pub(crate) struct Platter {
    dir: PathBuf,
}

impl Platter {
    /// Has the recorders that are started in `home` from now on keep what they force to the disk.
    pub(crate) fn under(home: &mut Home) -> Self {
        let dir = home.path("platter");
        fs::create_dir(&dir).expect("a directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/platter.c");
        let library = home.path("platter.so");
        let args = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"];
        let built = Command::new("cc").args(args).arg(&library).arg(source).output();
        let built = built.expect("there is a C compiler: scripts/setup");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        home.set("LD_PRELOAD", library.to_str().expect("UTF-8"));
        home.set("PLATTER", dir.to_str().expect("UTF-8"));
        Self { dir }
    }

    /// Puts in place of `root`, whose process must be dead, what was forced to the disk of it: names as their directory was
    /// last forced, contents as their file was, and nothing of what never was.
    pub(crate) fn after_power_loss(&self, root: &Path) {
        let names = root.with_extension("before");
        fs::rename(root, &names).expect("the spool");
        // The directory itself is not the recorder's to keep.
        let id = id(&names);
        self.restore(&id, root);
        fs::remove_dir_all(&names).expect("what was");
        // What is there now is another file.
        for entry in fs::read_dir(&self.dir).expect("the platter") {
            fs::remove_file(entry.expect("an entry").path()).expect("it is there");
        }
        self.keep(root);
    }

    fn restore(&self, id: &str, to: &Path) {
        fs::create_dir(to).expect("a directory");
        let entries = fs::read_to_string(self.dir.join(format!("{id}.dir"))).unwrap_or_default();
        for entry in entries.lines() {
            let [id, kind, name] = *entry.splitn(3, ' ').collect::<Vec<_>>() else { panic!("{entry}") };
            match kind {
                "dir" => self.restore(id, &to.join(name)),
                _ => {
                    let kept = fs::read(self.dir.join(format!("{id}.file"))).unwrap_or_default();
                    fs::write(to.join(name), kept).expect("a file");
                }
            }
        }
    }

    /// What survived is on the disk.
    fn keep(&self, dir: &Path) {
        let mut entries = String::new();
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let (id, name) = (id(&path), path.file_name().expect("a name").to_str().expect("UTF-8").to_owned());
            if path.is_dir() {
                self.keep(&path);
                entries += &format!("{id} dir {name}\n");
            } else {
                fs::copy(&path, self.dir.join(format!("{id}.file"))).expect("a copy");
                entries += &format!("{id} file {name}\n");
            }
        }
        fs::write(self.dir.join(format!("{}.dir", id(dir))), entries).expect("a file");
    }

    /// How often something was kept, by kind: to see that the library is at work.
    pub(crate) fn kept(&self) -> HashMap<String, usize> {
        let mut kinds = HashMap::new();
        for entry in fs::read_dir(&self.dir).expect("the platter") {
            let kind = entry.expect("an entry").path().extension().map(|kind| kind.to_string_lossy().into_owned());
            *kinds.entry(kind.unwrap_or_default()).or_default() += 1;
        }
        kinds
    }
}

/// As in `platter.c`.
fn id(path: &Path) -> String {
    let metadata = fs::symlink_metadata(path).expect("it is there");
    let born = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    format!("{}-{}", metadata.ino(), born.map_or(0, |at| at.as_nanos()))
}
