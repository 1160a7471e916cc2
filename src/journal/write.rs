//! Writing journals: one thread gives all of them to the kernel, one forces them to the disk.
//!
//! Whoever appends takes a lock for the time of a copy into memory, and no task ever waits for a file.

use super::files::{close_leftovers, create, sync_dir};
use super::note::Note;
use super::read::Chunk;
use super::{CHUNK_AGE, CHUNK_BYTES, EVENT, Error, FLUSH_EVERY, PENDING_BYTES, SYNC_EVERY};
use crate::telemetry::metrics;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// The two threads that write journals. Dropping it ends them after a last flush.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

struct Shared {
    state: Mutex<State>,
    /// Rings when a flush cannot wait for its time.
    bell: Condvar,
}

#[derive(Default)]
struct State {
    journals: HashMap<u64, Arc<Slot>>,
    next_id: u64,
    urgent: bool,
    stopping: bool,
}

struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.0.state).stopping = true;
        self.0.bell.notify_all();
    }
}

/// How far a journal has been closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the last closed chunk.
    pub closed: u32,
    /// Whether it was the last one of all.
    pub ended: bool,
}

/// A journal that is being written. Clones write to the same one.
#[derive(Clone)]
pub struct Journal {
    slot: Arc<Slot>,
    disk: Disk,
}

/// The disk refused to make a journal durable; the log says why.
#[derive(Debug, thiserror::Error)]
#[error("the journal could not be forced to the disk")]
pub struct NotDurable;

/// What appenders and the writing thread share of one journal.
struct Slot {
    id: u64,
    dir: PathBuf,
    pending: Mutex<Pending>,
    /// Only the writing thread touches it, except before the slot is registered.
    file: Mutex<OpenChunk>,
    progress: watch::Sender<Progress>,
    /// When the first of the lines was received that are being written, in Unix ms; 0 if none are.
    writing_since_ms: AtomicI64,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    /// When the first of them was received, in Unix ms.
    since_ms: i64,
    waiters: Vec<oneshot::Sender<()>>,
    dropped: Option<Dropped>,
    ending: bool,
}

struct Dropped {
    messages: u64,
    bytes: u64,
    from_ms: i64,
    to_ms: i64,
}

struct OpenChunk {
    number: u32,
    file: Option<Arc<File>>,
    since: Instant,
    bytes: u64,
    dirty: bool,
    /// Whether its name is on the disk, too.
    named: bool,
    /// Lines taken from `pending` of which `done` bytes are written.
    writing: Vec<u8>,
    done: usize,
    waiters: Vec<oneshot::Sender<()>>,
    failing: bool,
}

enum Sync {
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

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), bell: Condvar::new() });
        let (to_sync, syncs) = mpsc::channel();
        let writer = Arc::clone(&shared);
        let work = move || OrAbort.watch(|| write_loop(&writer, &to_sync));
        thread::Builder::new().name("journal-write".into()).spawn(work)?;
        thread::Builder::new().name("journal-sync".into()).spawn(move || OrAbort.watch(|| sync_loop(&syncs)))?;
        Ok(Self { _guard: Arc::new(Guard(Arc::clone(&shared))), shared })
    }

    /// Opens the journal in `dir`, new or left by an earlier run, and writes `first` into it, durably.
    ///
    /// A torn last line is cut off and chunks left open are closed. If this process has the same journal open still, that
    /// one is closed first. Blocks for a few fsyncs.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be made durable; nothing may be claimed recorded then.
    pub fn open(&self, dir: &Path, t_ms: i64, first: &str) -> Result<Journal, Error> {
        fs::create_dir_all(dir).map_err(Error::new("creating", dir))?;
        self.end(dir);
        let closed = close_leftovers(dir)?;
        let mut lines = Vec::with_capacity(first.len() + 64);
        push_line(&mut lines, t_ms, EVENT, first.as_bytes(), Form::Json);
        let number = closed + 1;
        let path = Chunk::path(dir, number, true);
        let file = create(&path)
            .and_then(|mut file| file.write_all(&lines).and_then(|()| file.sync_all()).map(|()| file))
            .map_err(Error::new("writing", &path))?;
        for dir in dir.ancestors().take(3) {
            sync_dir(dir).map_err(Error::new("syncing", dir))?;
        }

        let mut state = lock(&self.shared.state);
        state.next_id += 1;
        let slot = Arc::new(Slot {
            id: state.next_id,
            dir: dir.to_owned(),
            pending: Mutex::default(),
            file: Mutex::new(OpenChunk {
                number,
                file: Some(Arc::new(file)),
                since: Instant::now(),
                bytes: lines.len() as u64,
                dirty: false,
                named: true,
                writing: Vec::new(),
                done: 0,
                waiters: Vec::new(),
                failing: false,
            }),
            progress: watch::Sender::new(Progress { closed, ended: false }),
            writing_since_ms: AtomicI64::new(0),
        });
        state.journals.insert(slot.id, Arc::clone(&slot));
        Ok(Journal { slot, disk: self.clone() })
    }
}

impl Disk {
    /// Ends the journal in `dir` if it is being written: whoever did has gone without a word.
    fn end(&self, dir: &Path) {
        let slot = lock(&self.shared.state).journals.values().find(|slot| slot.dir == dir).cloned();
        if let Some(slot) = slot {
            let (done, wait) = oneshot::channel();
            {
                let mut pending = lock(&slot.pending);
                pending.waiters.push(done);
                pending.ending = true;
            }
            self.ring();
            // Whether it could be made durable is logged where it is done.
            wait.blocking_recv().ok();
        }
    }
}

impl Journal {
    /// Appends a message that is JSON. Never waits.
    pub fn append(&self, t_ms: i64, conn: &str, message: &[u8]) {
        self.push(t_ms, conn, message, Form::Json);
    }

    /// Appends a message that is not JSON. Never waits.
    pub fn append_raw(&self, t_ms: i64, conn: &str, message: &[u8]) {
        self.push(t_ms, conn, message, Form::Raw);
    }

    /// Appends a note of our own. Never waits.
    pub fn note(&self, t_ms: i64, note: &Note) {
        self.push(t_ms, EVENT, note.to_json().as_bytes(), Form::Json);
    }

    /// Waits until all that was appended is on the disk. While the disk takes nothing it goes on waiting. Cancel safe.
    ///
    /// # Errors
    /// When the disk refused to make it durable; it may be lost in a power loss.
    pub async fn sync(&self) -> Result<(), NotDurable> {
        let (done, wait) = oneshot::channel();
        lock(&self.slot.pending).waiters.push(done);
        self.disk.ring();
        wait.await.map_err(|_| NotDurable)
    }

    /// Closes the last chunk and waits until it is. What is appended later is lost.
    ///
    /// # Errors
    /// As [`Journal::sync`]; the journal is closed all the same.
    pub async fn close(&self) -> Result<(), NotDurable> {
        let (done, wait) = oneshot::channel();
        {
            let mut pending = lock(&self.slot.pending);
            pending.waiters.push(done);
            pending.ending = true;
        }
        self.disk.ring();
        wait.await.map_err(|_| NotDurable)
    }

    /// Follows the closing of chunks.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.slot.progress.subscribe()
    }

    /// How old the oldest message is that is not in a file yet.
    pub fn backlog(&self, now_ms: i64) -> Duration {
        let pending = lock(&self.slot.pending);
        let waiting = (!pending.lines.is_empty()).then_some(pending.since_ms);
        let writing = Some(self.slot.writing_since_ms.load(Ordering::Relaxed)).filter(|since| *since != 0);
        let oldest = writing.into_iter().chain(waiting).min();
        Duration::from_millis(oldest.map_or(0, |since| now_ms.saturating_sub(since).max(0).unsigned_abs()))
    }

    /// The directory that holds the chunks.
    pub fn dir(&self) -> &Path {
        &self.slot.dir
    }

    fn push(&self, t_ms: i64, conn: &str, message: &[u8], form: Form) {
        let mut pending = lock(&self.slot.pending);
        // Events and notes are few and small, and without them nobody knows what the rest is.
        if pending.lines.len() + message.len() > PENDING_BYTES && conn != EVENT {
            let dropped = pending.dropped.get_or_insert(Dropped { messages: 0, bytes: 0, from_ms: t_ms, to_ms: t_ms });
            dropped.messages += 1;
            dropped.bytes += message.len() as u64;
            dropped.to_ms = t_ms;
            metrics().dropped_bytes.inc_by(message.len() as u64);
            return;
        }
        if pending.lines.is_empty() {
            pending.since_ms = t_ms;
        }
        if let Some(dropped) = pending.dropped.take() {
            dropped.note(t_ms, &mut pending.lines);
        }
        push_line(&mut pending.lines, t_ms, conn, message, form);
    }
}

impl Disk {
    fn ring(&self) {
        lock(&self.shared.state).urgent = true;
        self.shared.bell.notify_all();
    }
}

impl Dropped {
    fn note(&self, t_ms: i64, lines: &mut Vec<u8>) {
        let Self { messages, bytes, from_ms, to_ms } = *self;
        let note = Note::Dropped { messages, bytes, from_ms, to_ms };
        push_line(lines, t_ms, EVENT, note.to_json().as_bytes(), Form::Json);
    }
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Raw,
}

fn push_line(lines: &mut Vec<u8>, t_ms: i64, conn: &str, message: &[u8], form: Form) {
    lines.reserve(message.len() + 64);
    let head = match form {
        Form::Json => format!(r#"{{"t":{t_ms},"c":"{conn}","m":"#),
        Form::Raw => format!(r#"{{"t":{t_ms},"c":"{conn}","raw":""#),
    };
    lines.extend_from_slice(head.as_bytes());
    match form {
        Form::Json => {
            let start = lines.len();
            lines.extend_from_slice(message.trim_ascii());
            // A raw line break is never inside a JSON string.
            let mut rest = &mut lines[start..];
            while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
                rest[at] = b' ';
                rest = &mut rest[at + 1..];
            }
        }
        Form::Raw => {
            lines.extend_from_slice(base64_simd::STANDARD.encode_to_string(message).as_bytes());
            lines.push(b'"');
        }
    }
    lines.extend_from_slice(b"}\n");
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
fn flush(slot: &Arc<Slot>, sync_now: bool, to_sync: &mpsc::Sender<Sync>) -> bool {
    let mut chunk = lock(&slot.file);
    let chunk = &mut *chunk;
    let ending = {
        let mut pending = lock(&slot.pending);
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
        chunk.waiters.append(&mut pending.waiters);
        pending.ending && pending.lines.is_empty()
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

fn sync_loop(syncs: &mpsc::Receiver<Sync>) {
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
                (result, waiters)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
