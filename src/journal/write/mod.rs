//! Writing journals: one thread gives all of them to the kernel, one forces them to the disk.
//!
//! Whoever appends takes a lock for the time of a copy into memory, and no task ever waits for a file.

mod threads;

use super::files::{close_leftovers, create, sync_dir};
use super::note::Note;
use super::read::Chunk;
use super::{EVENT, Error, PENDING_BYTES};
use crate::telemetry::metrics;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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

/// The disk refused to make a journal durable, and the log says why; or the journal had ended before.
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
    phase: Phase,
}

/// How far a journal is from its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Open,
    /// It ends once all is written.
    Ending,
    /// It is not written any more: who waits now would wait for ever.
    Ended,
    /// The same, and what is not written never will be.
    Discarded,
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

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), bell: Condvar::new() });
        threads::start(&shared)?;
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
            let wait = slot.wait(true);
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
    /// When the disk refused to make it durable; it may be lost in a power loss. Or when the journal was closed before.
    pub async fn sync(&self) -> Result<(), NotDurable> {
        let wait = self.slot.wait(false);
        self.disk.ring();
        wait.await.map_err(|_| NotDurable)
    }

    /// Closes the last chunk and waits until it is. What is appended later is lost.
    ///
    /// # Errors
    /// As [`Journal::sync`]; the journal is closed all the same.
    pub async fn close(&self) -> Result<(), NotDurable> {
        let wait = self.slot.wait(true);
        self.disk.ring();
        wait.await.map_err(|_| NotDurable)
    }

    /// Ends it without waiting for a disk: nobody wants what is in it, and its directory may go. Whoever waits for it is told
    /// that it is not durable.
    pub fn discard(&self) {
        *lock(&self.slot.pending) = Pending { phase: Phase::Discarded, ..Pending::default() };
        self.disk.ring();
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
        if pending.phase >= Phase::Ended {
            return;
        }
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

impl Slot {
    /// What tells when all that was appended until now is on the disk. It is closed without a word if that is not to be:
    /// the disk refused, or the journal has ended.
    fn wait(&self, ending: bool) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        let mut pending = lock(&self.pending);
        if ending && pending.phase == Phase::Open {
            pending.phase = Phase::Ending;
        }
        if pending.phase < Phase::Ended {
            pending.waiters.push(done);
        }
        wait
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
