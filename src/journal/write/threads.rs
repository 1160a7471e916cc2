//! The two threads: what is pending goes to the kernel, and from there to the disk. A chunk is closed by the second one, so
//! that a slow fsync keeps nobody from writing.

use super::super::files::{create, sync_dir};
use super::super::read::Chunk;
use super::super::{CHUNK_AGE, CHUNK_BYTES, FLUSH_EVERY, SYNC_EVERY};
use super::{OpenChunk, Pending, Phase, Progress, Shared, Slot, lock};
use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread;
use std::time::Instant;
use tokio::sync::oneshot;

/// Starts both. They end after a last flush when `shared` says so.
///
/// # Errors
/// When the system gives no threads.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let (to_sync, syncs) = mpsc::channel();
    let writer = Arc::clone(shared);
    let work = move || OrAbort.watch(|| write_loop(&writer, &to_sync));
    thread::Builder::new().name("journal-write".into()).spawn(work)?;
    thread::Builder::new().name("journal-sync".into()).spawn(move || OrAbort.watch(|| sync_loop(&syncs)))?;
    Ok(())
}

pub(super) enum Sync {
    /// With the directory if the file's name is new to it; without a file if there is nothing to be done but to tell those
    /// who wait for what was sent before.
    File {
        file: Option<Arc<File>>,
        dir: Option<Arc<Slot>>,
        waiters: Vec<oneshot::Sender<()>>,
    },
    Close {
        slot: Arc<Slot>,
        number: u32,
        file: Arc<File>,
        last: bool,
        waiters: Vec<oneshot::Sender<()>>,
    },
    /// The journal has ended with the chunk that was closed last.
    Ended {
        slot: Arc<Slot>,
        waiters: Vec<oneshot::Sender<()>>,
    },
}

/// Without its threads the recorder would take in media and lose all of it: it ends, and its next start goes on.
struct OrAbort;

impl OrAbort {
    fn watch(self, work: impl FnOnce()) {
        work();
        std::mem::forget(self);
    }
}

impl Drop for OrAbort {
    fn drop(&mut self) {
        tracing::error!("a thread of the journal panicked; the process ends, so that its next start can go on");
        std::process::abort();
    }
}

fn write_loop(shared: &Shared, to_sync: &mpsc::Sender<Sync>) {
    let mut last_sync = Instant::now();
    loop {
        let (slots, stopping) = {
            let mut state = lock(&shared.state);
            if !state.urgent && !state.stopping {
                state = shared.bell.wait_timeout(state, FLUSH_EVERY).unwrap_or_else(PoisonError::into_inner).0;
            }
            state.urgent = false;
            (state.journals.values().cloned().collect::<Vec<_>>(), state.stopping)
        };
        let sync_now = last_sync.elapsed() >= SYNC_EVERY || stopping;
        if sync_now {
            last_sync = Instant::now();
        }
        for slot in slots {
            if flush(&slot, sync_now, to_sync) {
                lock(&shared.state).journals.remove(&slot.id);
            }
        }
        if stopping {
            return;
        }
    }
}

/// Writes what is pending of one journal. Returns whether it has ended.
pub(super) fn flush(slot: &Arc<Slot>, sync_now: bool, to_sync: &mpsc::Sender<Sync>) -> bool {
    let mut chunk = lock(&slot.file);
    let chunk = &mut *chunk;
    let ending = {
        let mut pending = lock(&slot.pending);
        if pending.phase == Phase::Discarded {
            (chunk.file, chunk.writing) = (None, Vec::new());
            chunk.waiters.clear();
            return true;
        }
        if chunk.done == chunk.writing.len() {
            chunk.writing.clear();
            chunk.done = 0;
            std::mem::swap(&mut chunk.writing, &mut pending.lines);
            let since_ms = if chunk.writing.is_empty() { 0 } else { pending.since_ms };
            slot.writing_since_ms.store(since_ms, Ordering::Relaxed);
            // After what came before it; and though nothing else may come.
            if let Some(dropped) = pending.dropped.take() {
                dropped.note(dropped.to_ms, &mut chunk.writing);
            }
        }
        // What a write that failed left comes first; what arrived since is for the next flush, and so is who waits for it.
        let all = pending.lines.is_empty();
        if all {
            chunk.waiters.append(&mut pending.waiters);
        }
        pending.phase == Phase::Ending && all
    };
    if let Err(err) = write_pending(slot, chunk) {
        if !chunk.failing {
            tracing::error!(
                err = %err, dir = %slot.dir.display(),
                "writing a journal failed; what arrives waits in memory and is written when the disk takes it; free some space"
            );
        }
        chunk.failing = true;
        return false;
    }
    slot.writing_since_ms.store(0, Ordering::Relaxed);
    if chunk.failing {
        tracing::info!(dir = %slot.dir.display(), "the journal is written again");
        chunk.failing = false;
    }
    if ending {
        // Whoever still holds the journal holds no more than its name.
        chunk.writing = Vec::new();
        chunk.done = 0;
        // Whoever came since this flush began came too late, and is told by the end of the channel.
        let mut pending = lock(&slot.pending);
        *pending = Pending { phase: pending.phase.max(Phase::Ended), ..Pending::default() };
    }
    let send = |sync| to_sync.send(sync).expect("the sync thread outlives the write thread");
    if ending || chunk.bytes >= CHUNK_BYTES || (chunk.since.elapsed() >= CHUNK_AGE && chunk.bytes > 0) {
        if let Some(file) = chunk.file.take() {
            send(Sync::Close {
                slot: Arc::clone(slot),
                number: chunk.number,
                file,
                last: ending,
                waiters: std::mem::take(&mut chunk.waiters),
            });
        } else if ending {
            // Whatever is still being closed comes first.
            send(Sync::Ended { slot: Arc::clone(slot), waiters: std::mem::take(&mut chunk.waiters) });
        }
        chunk.number += 1;
        chunk.bytes = 0;
        chunk.dirty = false;
    } else if (sync_now && chunk.dirty) || !chunk.waiters.is_empty() {
        send(Sync::File {
            file: chunk.file.clone(),
            dir: (chunk.file.is_some() && !chunk.named).then(|| Arc::clone(slot)),
            waiters: std::mem::take(&mut chunk.waiters),
        });
        chunk.named |= chunk.file.is_some();
        chunk.dirty = false;
    }
    ending
}

fn tell(waiters: Vec<oneshot::Sender<()>>) {
    for waiter in waiters {
        // Whoever waited may have given up.
        waiter.send(()).ok();
    }
}

fn write_pending(slot: &Slot, chunk: &mut OpenChunk) -> io::Result<()> {
    if chunk.done == chunk.writing.len() {
        return Ok(());
    }
    let file = match &chunk.file {
        Some(file) => Arc::clone(file),
        None => {
            let file = Arc::new(create(&Chunk::path(&slot.dir, chunk.number, true))?);
            chunk.file = Some(Arc::clone(&file));
            chunk.named = false;
            chunk.since = Instant::now();
            file
        }
    };
    while chunk.done < chunk.writing.len() {
        match (&*file).write(&chunk.writing[chunk.done..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                chunk.done += n;
                chunk.bytes += n as u64;
                chunk.dirty = true;
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    // One burst must not hold its memory for the rest of the meeting.
    if chunk.writing.capacity() > 1 << 20 {
        chunk.writing = Vec::new();
        chunk.done = 0;
    }
    Ok(())
}

pub(super) fn sync_loop(syncs: &mpsc::Receiver<Sync>) {
    while let Ok(sync) = syncs.recv() {
        let (result, waiters) = match sync {
            Sync::File { file, dir, waiters } => {
                let synced = file.map_or(Ok(()), |file| file.sync_data());
                (synced.and_then(|()| dir.map_or(Ok(()), |slot| sync_dir(&slot.dir))), waiters)
            }
            Sync::Ended { slot, waiters } => {
                slot.progress.send_modify(|progress| progress.ended = true);
                (Ok(()), waiters)
            }
            Sync::Close { slot, number, file, last, waiters } => {
                let result = file
                    .sync_all()
                    .and_then(|()| {
                        fs::rename(Chunk::path(&slot.dir, number, true), Chunk::path(&slot.dir, number, false))
                    })
                    .and_then(|()| sync_dir(&slot.dir));
                slot.progress.send_modify(|progress| *progress = Progress { closed: number, ended: last });
                let is_gone = result.is_err() && lock(&slot.pending).phase == Phase::Discarded;
                (if is_gone { Ok(()) } else { result }, waiters)
            }
        };
        match result {
            Ok(()) => tell(waiters),
            Err(err) => {
                tracing::error!(err = %err, "forcing a journal to the disk failed; a power loss may lose it; check the disk");
            }
        }
    }
}
