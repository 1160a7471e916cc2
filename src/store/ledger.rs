//! What of a recording is in the bucket already: `uploaded.ndjson` in the spool, one verified object a line.
//!
//! The ledger only saves work. A line that is lost or torn costs one upload; a line that no longer fits the file, the
//! place or the bucket is ignored.

use super::Stored;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

/// The ledger's name in the folder of a recording in the spool.
pub const LEDGER: &str = "uploaded.ndjson";

pub(super) struct Ledger {
    path: PathBuf,
    lines: HashMap<String, Line>,
    /// Held while a line is written. Whether the file ends within a line.
    torn: Mutex<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    /// Where it is, with the store, so that another `STORAGE_URL` starts afresh.
    place: String,
    size_bytes: u64,
    sha256: String,
    #[serde(default)]
    e_tag: Option<String>,
    file: Version,
}

/// What tells one content of a file from the next, short of reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    size_bytes: u64,
    modified_ns: u64,
}

impl Version {
    pub(super) async fn of(path: &Path) -> io::Result<Self> {
        let metadata = tokio::fs::metadata(path).await?;
        let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { size_bytes: metadata.len(), modified_ns: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX) })
    }
}

impl Ledger {
    /// Reads the ledger of the recording in `folder`; a missing one is empty.
    pub(super) async fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(LEDGER);
        let content = match tokio::fs::read(&path).await {
            Ok(content) => content,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let lines = content
            .split(|b| *b == b'\n')
            .filter_map(|line| serde_json::from_slice::<Line>(line).ok())
            .map(|line| (line.place.clone(), line))
            .collect();
        let torn = Mutex::new(content.last().is_some_and(|b| *b != b'\n'));
        Ok(Self { path, lines, torn })
    }

    /// The object at `place`, if an earlier run uploaded this very version of its file.
    pub(super) fn find(&self, place: &str, key: &str, file: Version) -> Option<Stored> {
        let line = self.lines.get(place).filter(|line| line.file == file)?;
        Some(Stored {
            key: key.to_owned(),
            size_bytes: line.size_bytes,
            sha256: line.sha256.clone(),
            e_tag: line.e_tag.clone(),
        })
    }

    /// Notes a verified object, durably.
    pub(super) async fn add(&self, place: &str, stored: &Stored, file: Version) -> io::Result<()> {
        let line = Line {
            place: place.to_owned(),
            size_bytes: stored.size_bytes,
            sha256: stored.sha256.clone(),
            e_tag: stored.e_tag.clone(),
            file,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        let mut torn = self.torn.lock().await;
        if *torn {
            bytes.insert(0, b'\n');
        }
        let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(&self.path).await?;
        *torn = true;
        file.write_all(&bytes).await?;
        file.sync_data().await?;
        *torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_torn_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "content").unwrap();
        let version = Version::of(&file).await.unwrap();
        let stored = |key: &str| Stored {
            key: key.to_owned(),
            size_bytes: 7,
            sha256: "00".repeat(32),
            e_tag: Some("\"x\"".to_owned()),
        };
        let ledger = Ledger::open(dir.path()).await.unwrap();
        ledger.add("s3://b/a", &stored("a"), version).await.unwrap();
        let path = dir.path().join(LEDGER);
        let mut content = std::fs::read(&path).unwrap();
        content.extend_from_slice(b"{\"place\":\"s3://b/b\",\"si");
        std::fs::write(&path, content).unwrap();

        let ledger = Ledger::open(dir.path()).await.unwrap();
        ledger.add("s3://b/c", &stored("c"), version).await.unwrap();
        let ledger = Ledger::open(dir.path()).await.unwrap();
        assert_eq!(ledger.find("s3://b/a", "a", version), Some(stored("a")));
        assert_eq!(ledger.find("s3://b/b", "b", version), None);
        assert_eq!(ledger.find("s3://b/c", "c", version), Some(stored("c")));

        std::fs::write(&file, "changed").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::options().append(true).open(&file).unwrap().set_modified(later).unwrap();
        let changed = Version::of(&file).await.unwrap();
        assert_eq!(ledger.find("s3://b/a", "a", changed), None);
    }
}
