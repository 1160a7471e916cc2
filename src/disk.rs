//! What there is to know of a disk beyond its files: how much room it has, and whether it knows a name.

use std::fs::File;
use std::io;
use std::path::Path;

/// The size of a file system, and what of it this user may still fill.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    pub(crate) free_bytes: u64,
    pub(crate) size_bytes: u64,
}

/// The room of the file system that `path` is on.
///
/// # Errors
/// When the system does not say.
pub(crate) fn room(path: &Path) -> io::Result<Room> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Room { free_bytes: bytes(stat.f_bavail), size_bytes: bytes(stat.f_blocks) })
}

/// Free bytes for this user on the file system that `path` is on.
///
/// # Errors
/// When the system does not say.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    room(path).map(|room| room.free_bytes)
}

/// Forces the names in a folder to the disk: a file that is new, or was renamed, is there after a power loss only then.
///
/// # Errors
/// When it cannot be opened, or the disk does not take it.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // The folder of a bare name is the current one.
    File::open(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_synced_and_its_room_told_and_what_is_missing_is_an_error() {
        let tmp = tempfile::tempdir().unwrap();
        sync_dir(tmp.path()).unwrap();
        sync_dir(Path::new("")).unwrap();
        let room = room(tmp.path()).unwrap();
        assert!(room.size_bytes > 0 && room.free_bytes <= room.size_bytes);
        let missing = tmp.path().join("missing");
        assert_eq!(sync_dir(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(free_bytes(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
