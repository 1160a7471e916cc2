use super::super::{CHUNK_BYTES, FLUSH_EVERY};
use super::threads::{flush, sync_loop};
use super::*;
use crate::journal::read::{self, Body, lines};
use proptest::prelude::*;
use std::sync::mpsc;

fn all_lines(dir: &Path) -> Vec<(i64, String, String)> {
    let mut all = Vec::new();
    for chunk in read::chunks(dir).unwrap() {
        let bytes = chunk.read().unwrap();
        for line in lines(&bytes, chunk.open) {
            let line = line.unwrap();
            let body = match line.body {
                Body::Json(json) => String::from_utf8(json.to_vec()).unwrap(),
                Body::Raw(raw) => format!("raw {raw}"),
            };
            all.push((line.t, line.conn.into_owned(), body));
        }
    }
    all
}

#[tokio::test]
async fn what_is_appended_is_read_back_in_order() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("r/journal");
    let disk = Disk::start().unwrap();
    let journal = disk.open(&dir, 1, r#"{"event":"x"}"#).unwrap();
    journal.append(2, "audio", b" {\"a\":\n\r1} ");
    journal.append_raw(3, "video", b"\0\xff");
    journal.sync().await.unwrap();
    assert_eq!(read::chunks(&dir).unwrap().len(), 1);
    assert!(read::chunks(&dir).unwrap()[0].open);
    journal.note(4, &Note::Resumed);
    journal.close().await.unwrap();
    assert_eq!(*journal.progress().borrow(), Progress { closed: 1, ended: true });
    let line = |t, conn: &str, body: &str| (t, conn.to_owned(), body.to_owned());
    assert_eq!(
        all_lines(&dir),
        [
            line(1, "event", r#"{"event":"x"}"#),
            line(2, "audio", "{\"a\":  1}"),
            line(3, "video", "raw AP8="),
            line(4, "event", r#"{"note":"resumed"}"#),
        ]
    );
    assert!(!read::chunks(&dir).unwrap()[0].open);
}

#[tokio::test]
async fn chunks_close_at_their_size_and_never_change() {
    let tmp = tempfile::tempdir().unwrap();
    let journal = Disk::start().unwrap().open(tmp.path(), 1, "{}").unwrap();
    let big = format!(r#"{{"x":"{}"}}"#, "a".repeat(CHUNK_BYTES as usize * 3 / 8));
    let mut progress = journal.progress();
    for t in 2..5 {
        journal.append(t, "video", big.as_bytes());
        journal.sync().await.unwrap();
    }
    progress.wait_for(|progress| progress.closed == 1).await.unwrap();
    let first = std::fs::read(Chunk::path(tmp.path(), 1, false)).unwrap();
    journal.append(5, "audio", b"{}");
    journal.close().await.unwrap();
    assert_eq!(std::fs::read(Chunk::path(tmp.path(), 1, false)).unwrap(), first);
    assert_eq!(all_lines(tmp.path()).iter().map(|line| line.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(read::chunks(tmp.path()).unwrap().len(), 2);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_counted_messages_and_a_note() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = Disk::start().unwrap();
    let journal = disk.open(tmp.path(), 1, "{}").unwrap();
    let message = format!(r#"{{"x":"{}"}}"#, "a".repeat(8 << 20));
    {
        // Holding the chunk is what a write that hangs does.
        let _hanging = lock(&journal.slot.file);
        for t in 2..8 {
            journal.append(t, "video", message.as_bytes());
        }
        assert_eq!(journal.backlog(1002), Duration::from_secs(1));
    }
    journal.sync().await.unwrap();
    assert_eq!(journal.backlog(1002), Duration::ZERO);
    journal.append(9, "audio", b"{}");
    journal.close().await.unwrap();
    let lines = all_lines(tmp.path());
    let kept: Vec<i64> = lines.iter().map(|line| line.0).collect();
    assert_eq!(kept, [1, 2, 3, 4, 7, 9]);
    let note: Note = serde_json::from_str(&lines[4].2).unwrap();
    let bytes = 3 * message.len() as u64;
    assert_eq!(note, Note::Dropped { messages: 3, bytes, from_ms: 5, to_ms: 7 });
}

#[tokio::test]
async fn what_was_dropped_is_noted_though_nothing_follows() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = Disk::start().unwrap();
    let journal = disk.open(tmp.path(), 1, "{}").unwrap();
    let message = format!(r#"{{"x":"{}"}}"#, "a".repeat(20 << 20));
    let ended = Note::Ended { source: "event".into(), reason: None };
    {
        let _hanging = lock(&journal.slot.file);
        journal.append(2, "video", message.as_bytes());
        journal.append(3, "video", message.as_bytes());
        // Events and notes are kept, however much there is.
        journal.append(4, EVENT, message.as_bytes());
        journal.note(5, &ended);
        journal.append(6, "video", message.as_bytes());
    }
    journal.close().await.unwrap();
    let lines = all_lines(tmp.path());
    let kept: Vec<i64> = lines.iter().map(|line| line.0).collect();
    assert_eq!(kept, [1, 2, 4, 4, 5, 6]);
    let dropped = |line: &(i64, String, String)| serde_json::from_str(&line.2).ok();
    let bytes = message.len() as u64;
    assert_eq!(dropped(&lines[2]), Some(Note::Dropped { messages: 1, bytes, from_ms: 3, to_ms: 3 }));
    assert_eq!(dropped(&lines[4]), Some(ended));
    assert_eq!(dropped(&lines[5]), Some(Note::Dropped { messages: 1, bytes, from_ms: 6, to_ms: 6 }));
}

/// A recorder remembers streams for a day.
#[tokio::test]
async fn a_journal_that_has_ended_holds_no_memory() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = Disk::start().unwrap();
    let journal = disk.open(tmp.path(), 1, "{}").unwrap();
    journal.append(2, "video", format!(r#"{{"data":"{}"}}"#, "x".repeat(300_000)).as_bytes());
    journal.sync().await.unwrap();
    journal.append(3, "video", format!(r#"{{"data":"{}"}}"#, "x".repeat(300_000)).as_bytes());
    journal.close().await.unwrap();
    let held = lock(&journal.slot.pending).lines.capacity() + lock(&journal.slot.file).writing.capacity();
    assert_eq!(held, 0);
}

/// A stop event may arrive while the stream ends by itself. It waited for ever, and with it all that is about the stream.
#[tokio::test]
async fn a_journal_that_has_ended_lets_nobody_wait() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = Disk::start().unwrap();
    let journal = disk.open(tmp.path(), 1, "{}").unwrap();
    journal.close().await.unwrap();
    journal.append(2, EVENT, b"{}");
    assert_eq!(lock(&journal.slot.pending).lines.capacity(), 0, "it is held for nothing");
    let wait = Duration::from_secs(10);
    assert!(tokio::time::timeout(wait, journal.sync()).await.expect("an answer").is_err());
    assert!(tokio::time::timeout(wait, journal.close()).await.expect("an answer").is_err());
    assert_eq!(all_lines(tmp.path()).len(), 1);
}

/// What is to be deleted is not waited for, though its disk takes nothing, and nothing is said of the files that went.
#[tokio::test]
async fn a_journal_that_is_discarded_keeps_nobody() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = Disk::start().unwrap();
    let journal = disk.open(tmp.path(), 1, "{}").unwrap();
    let closing = {
        // Holding the chunk is what a write that hangs does.
        let _hanging = lock(&journal.slot.file);
        journal.append(2, EVENT, b"{}");
        let closing = journal.slot.wait(true);
        disk.ring();
        std::thread::sleep(FLUSH_EVERY * 3);
        journal.discard();
        journal.append(3, EVENT, b"{}");
        closing
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), closing).await.expect("an answer").is_err());
    assert!(journal.sync().await.is_err());
    while !lock(&disk.shared.state).journals.is_empty() {
        tokio::time::sleep(FLUSH_EVERY).await;
    }
    assert_eq!(lock(&journal.slot.pending).lines.capacity(), 0);
}

/// What a failed write left is written first; what arrived since was told to be on the disk one flush too early.
#[tokio::test]
async fn nobody_is_told_of_lines_that_wait_behind_a_failed_write() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = Disk::start().unwrap();
    let journal = disk.open(tmp.path(), 1, "{}").unwrap();
    let (to_sync, syncs) = mpsc::channel();
    // In place of the disk's own threads.
    let slot = lock(&disk.shared.state).journals.drain().next().unwrap().1;
    lock(&slot.file).writing = b"{\"t\":2,\"c\":\"audio\",\"m\":{}}\n".to_vec();
    journal.append(3, EVENT, b"{}");
    let mut synced = slot.wait(false);
    assert!(!flush(&slot, false, &to_sync));
    assert!(syncs.try_recv().is_err(), "nothing is to be told yet");
    assert!(!flush(&slot, false, &to_sync));
    drop(to_sync);
    sync_loop(&syncs);
    synced.try_recv().expect("it is on the disk now");
    assert_eq!(all_lines(tmp.path()).iter().map(|line| line.0).collect::<Vec<_>>(), [1, 2, 3]);
}

/// A chunk may be on its way to be closed when the journal ends with nothing to be added.
#[tokio::test]
async fn the_end_is_told_after_the_last_chunk_was_closed() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = Disk::start().unwrap();
    let journal = disk.open(tmp.path(), 1, "{}").unwrap();
    let (to_sync, syncs) = mpsc::channel();
    let mut progress = journal.progress();
    {
        // In place of the disk's own threads.
        let slot = lock(&disk.shared.state).journals.drain().next().unwrap().1;
        lock(&slot.file).bytes = CHUNK_BYTES;
        assert!(!flush(&slot, false, &to_sync), "the chunk is closed");
        lock(&slot.pending).phase = Phase::Ending;
        assert!(flush(&slot, false, &to_sync), "the journal has ended");
        assert!(!progress.borrow_and_update().ended, "and nobody knows yet");
        drop(to_sync);
        sync_loop(&syncs);
    }
    assert_eq!(*progress.borrow(), Progress { closed: 1, ended: true });
}

#[tokio::test]
async fn any_cut_at_any_byte_loses_at_most_the_last_line() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("whole");
    let disk = Disk::start().unwrap();
    let journal = disk.open(&dir, 1, "{}").unwrap();
    for t in 2..6 {
        journal.append(t, "audio", br#"{"msg_type":14,"content":{"data":"AAEC"}}"#);
    }
    journal.sync().await.unwrap();
    let bytes = std::fs::read(Chunk::path(&dir, 1, true)).unwrap();
    for cut in 0..=bytes.len() {
        let dir = tmp.path().join(cut.to_string());
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(Chunk::path(&dir, 1, true), &bytes[..cut]).unwrap();
        let whole = bytes[..cut].iter().filter(|&&b| b == b'\n').count();
        assert_eq!(all_lines(&dir).len(), whole, "reading as it is, cut at {cut}");
        close_leftovers(&dir).unwrap();
        assert_eq!(all_lines(&dir).len(), whole, "after recovery, cut at {cut}");
        assert!(!read::chunks(&dir).unwrap()[0].open);
    }
}

#[tokio::test]
async fn a_journal_goes_on_in_a_new_chunk_after_a_crash() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(Chunk::path(tmp.path(), 1, false), "{\"t\":1,\"c\":\"event\",\"m\":{}}\n").unwrap();
    std::fs::write(Chunk::path(tmp.path(), 2, true), "{\"t\":2,\"c\":\"event\",\"m\":{}}\n{\"t\":3,\"c").unwrap();
    let journal = Disk::start().unwrap().open(tmp.path(), 4, "{}").unwrap();
    assert_eq!(*journal.progress().borrow(), Progress { closed: 2, ended: false });
    journal.close().await.unwrap();
    assert_eq!(all_lines(tmp.path()).iter().map(|line| line.0).collect::<Vec<_>>(), [1, 2, 4]);
}

proptest! {
    #[test]
    fn any_bytes_survive_as_raw_and_any_json_on_one_line(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut written = Vec::new();
        push_line(&mut written, 7, "chat", &bytes, Form::Raw);
        let text = serde_json::to_string_pretty(&serde_json::json!({"x": [String::from_utf8_lossy(&bytes)]})).unwrap();
        push_line(&mut written, 8, "chat", text.as_bytes(), Form::Json);
        let lines: Vec<_> = lines(&written, false).map(Result::unwrap).collect();
        prop_assert_eq!(lines.len(), 2);
        let Body::Raw(raw) = &lines[0].body else { panic!("not raw") };
        prop_assert_eq!(base64_simd::STANDARD.decode_to_vec(raw.as_bytes()).unwrap(), bytes);
        let Body::Json(json) = &lines[1].body else { panic!("not json") };
        prop_assert_eq!(
            serde_json::from_slice::<serde_json::Value>(json).unwrap(),
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        );
    }
}

/// The task that wrote it is gone, and another takes over in the same process.
#[tokio::test]
async fn a_journal_that_is_still_open_is_closed_before_it_is_opened_again() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("r/journal");
    let disk = Disk::start().unwrap();
    let first = disk.open(&dir, 1, "{}").unwrap();
    first.append(2, "audio", b"{\"n\":1}");
    let again = {
        let (disk, dir) = (disk.clone(), dir.clone());
        tokio::task::spawn_blocking(move || disk.open(&dir, 3, r#"{"note":"resumed"}"#).unwrap()).await.unwrap()
    };
    first.append(4, "audio", b"{\"lost\":true}");
    again.append(5, "audio", b"{\"n\":2}");
    again.close().await.unwrap();
    let times: Vec<i64> = all_lines(&dir).iter().map(|(t, ..)| *t).collect();
    assert_eq!(times, [1, 2, 3, 5]);
    assert!(read::chunks(&dir).unwrap().iter().all(|chunk| !chunk.open));
}
