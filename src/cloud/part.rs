//! What has come of a file so far.

use super::Failure;
use crate::disk::free_bytes;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

/// So many bytes are written between two moments at which all of it is on the disk.
const SYNC_BYTES: u64 = 4 << 20;

/// How the name of the file ends that has the version of what has come.
const VERSION: &str = ".version";

/// A file that is not complete. What an earlier run left of it is kept as far as it must be on the disk, whatever became of the
/// machine: all but the last `SYNC_BYTES`.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    place: PathBuf,
    file: File,
    len: u64,
    synced: u64,
    checked: u64,
    leave: u64,
}

impl Part {
    /// Opens what there is of the file whose place is `place`, of which `came` bytes are on the disk, if that is known. It takes no room
    /// that would leave less than `leave` bytes.
    ///
    /// # Errors
    /// [`Failure::Room`] if the disk does not take it.
    pub async fn open(place: &Path, leave: u64, came: Option<u64>) -> Result<Self, Failure> {
        let path = beside(place, ".part");
        let opened = async {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).await?;
            }
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).await?;
            let len = file.metadata().await?.len();
            let len = came.map_or_else(|| len.saturating_sub(SYNC_BYTES), |came| len.min(came));
            file.set_len(len).await?;
            file.seek(SeekFrom::Start(len)).await?;
            Ok::<_, std::io::Error>((file, len))
        };
        let (file, len) = opened.await.map_err(disk)?;
        Ok(Self { place: place.to_owned(), path, file, len, synced: len, checked: u64::MAX, leave })
    }

    /// How many bytes have come.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// By what the server tells this content from another of the same file; none if it told nothing of it.
    pub(super) async fn version(&self) -> Option<String> {
        fs::read_to_string(beside(&self.place, VERSION)).await.ok().filter(|version| !version.is_empty())
    }

    /// Begins anew.
    ///
    /// # Errors
    /// [`Failure::Room`].
    pub async fn restart(&mut self) -> Result<(), Failure> {
        self.restart_as(None).await
    }

    /// Begins anew, with this content.
    pub(super) async fn restart_as(&mut self, version: Option<&str>) -> Result<(), Failure> {
        let emptied = async {
            self.file.set_len(0).await?;
            self.file.sync_data().await?;
            // Nothing comes before it is noted what it is of.
            let mut noted = File::create(beside(&self.place, VERSION)).await?;
            noted.write_all(version.unwrap_or_default().as_bytes()).await?;
            noted.sync_all().await?;
            self.file.seek(SeekFrom::Start(0)).await
        };
        emptied.await.map_err(disk)?;
        (self.len, self.synced, self.checked) = (0, 0, u64::MAX);
        Ok(())
    }

    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.file.write_all(piece).await.map_err(disk)?;
        self.len += piece.len() as u64;
        if self.len - self.synced >= SYNC_BYTES {
            self.sync().await?;
        }
        Ok(())
    }

    pub(super) async fn sync(&mut self) -> Result<(), Failure> {
        let synced = async {
            self.file.flush().await?;
            self.file.sync_data().await
        };
        synced.await.map_err(disk)?;
        self.synced = self.len;
        Ok(())
    }

    /// Whether there is room for so many bytes more; looked at once for every piece that is synced.
    ///
    /// # Errors
    /// [`Failure::Room`].
    pub fn check_room(&mut self, more: u64) -> Result<(), Failure> {
        if self.checked == self.synced && more == 0 {
            return Ok(());
        }
        let free = free_bytes(&self.path).map_err(disk)?;
        if free < self.leave.saturating_add(more) {
            return Err(Failure::Room(format!(
                "it lacks {} MiB, the spool has {} MiB free, and an import leaves twice SPOOL_MIN_FREE ({} MiB) to streams; free some \
                 space",
                more >> 20,
                free >> 20,
                self.leave >> 20
            )));
        }
        self.checked = self.synced;
        Ok(())
    }

    /// Puts the file at its place, durably.
    ///
    /// # Errors
    /// [`Failure::Room`].
    pub async fn finish(mut self) -> Result<(), Failure> {
        self.sync().await?;
        let placed = async {
            self.file.sync_all().await?;
            fs::rename(&self.path, &self.place).await?;
            fs::remove_file(beside(&self.place, VERSION)).await.ok();
            match self.place.parent() {
                Some(directory) => File::open(directory).await?.sync_all().await,
                None => Ok(()),
            }
        };
        placed.await.map_err(disk)
    }
}

fn beside(place: &Path, ending: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    place.with_file_name(name)
}

fn disk(err: std::io::Error) -> Failure {
    Failure::Room(format!("the spool does not take it: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_earlier_run_left_is_kept_as_far_as_it_is_on_the_disk() {
        let tmp = tempfile::tempdir().unwrap();
        let place = tmp.path().join("a/video.mp4");
        let mut part = Part::open(&place, 0, None).await.unwrap();
        let piece = vec![7; 3 << 20];
        for _ in 0..3 {
            part.write(&piece).await.unwrap();
        }
        part.sync().await.unwrap();
        assert!(!place.exists());
        drop(part);
        let mut part = Part::open(&place, 0, None).await.unwrap();
        assert_eq!(part.len(), 5 << 20);
        part.write(&piece).await.unwrap();
        part.finish().await.unwrap();
        assert_eq!(std::fs::read(&place).unwrap().len(), 8 << 20);
        assert_eq!(std::fs::read_dir(tmp.path().join("a")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn the_spools_last_room_is_not_taken() {
        let tmp = tempfile::tempdir().unwrap();
        let mut part = Part::open(&tmp.path().join("x"), u64::MAX, None).await.unwrap();
        assert!(matches!(part.check_room(0), Err(Failure::Room(why)) if why.contains("SPOOL_MIN_FREE")));
    }
}
