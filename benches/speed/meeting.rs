//! Rows 1, 4 and 5: one meeting from its first packet to its last object, many times as fast as a real one, and the
//! same bytes to a bare ffmpeg.

use crate::play::{Meetings, Recorder};
use crate::process::{Sample, settled_pss};
use crate::rival::Rival;
use crate::table::Row;
use crate::{Options, say};
use rtms_recorder::journal::read::{self, Chunk};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// What a meeting took.
pub(crate) struct Meeting {
    pub(crate) length_s: f64,
    pub(crate) speed: f64,
    pub(crate) cpu_s_per_hour: f64,
    /// From the last packet to the manifest.
    end_s: f64,
    samples: Vec<Sample>,
}

pub(crate) fn measure(options: &Options, rival: &mut Rival) -> Meeting {
    let (length_s, speed) = if options.quick { (600.0, 30.0) } else { (3600.0, 30.0) };
    record(length_s, speed, rival)
}

/// Plays a meeting; its rival is measured with the same bytes.
pub(crate) fn record(length_s: f64, speed: f64, rival: &mut Rival) -> Meeting {
    say(&format!("a meeting of {length_s} s, {speed} times as fast"));
    let recorder = Recorder::start();
    let kept = tempfile::tempdir().expect("a temporary directory");
    let keeper = Keeper::start(recorder.spool(), kept.path().join("journal"));
    let watch = recorder.watch(Duration::from_secs(1));
    let meetings = Meetings { speed, ..Meetings::new(1, length_s) };
    let played = meetings.start(recorder.webhook()).finish();
    recorder.await_published(1);
    let cpu_s = recorder.cpu_s();
    let samples = watch.stop();
    let journal = keeper.stop();
    let manifest = recorder.manifests().remove(0).0.join("manifest.json");
    let written = fs::metadata(manifest).and_then(|meta| meta.modified()).expect("a manifest");
    let written_ms = written.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    drop((played, recorder));
    let end_s = (written_ms - last_packet_ms(&journal)) as f64 / 1000.0;
    rival.run(&journal, kept.path(), meetings.media_hours());
    Meeting { length_s, speed, cpu_s_per_hour: cpu_s / meetings.media_hours(), end_s, samples }
}

impl Meeting {
    /// Each with the name by which it is asked for.
    pub(crate) fn rows(&self, rival: &Rival) -> Vec<(&'static str, Row)> {
        let batch = rival.measured();
        let minutes = self.length_s / 60.0;
        let cpu = self.cpu_s_per_hour;
        let ratio = cpu / batch.cpu_s_per_hour;
        let wall_s = batch.wall_s_per_hour * self.length_s / 3600.0;
        let mib = |bytes: f64| bytes / 1048576.0;
        let pss = settled_pss(&self.samples);
        vec![
            (
                "cost",
                Row::new(
                    format!("1 CPU s per recorded hour ({minutes:.0} min at {} x)", self.speed),
                    format!("{cpu:.1}"),
                )
                .rival(format!("{:.1} bare ffmpeg, batch", batch.cpu_s_per_hour), ratio)
                .target("1.5 x, aim 20 s", ratio <= 1.5),
            ),
            (
                "end",
                Row::new(format!("4 end of {minutes:.0} min to verified objects"), format!("{:.1} s", self.end_s))
                    .rival(format!("{wall_s:.1} s bare ffmpeg, batch"), self.end_s / wall_s)
                    .target("10 s, aim 5", self.end_s <= 10.0),
            ),
            (
                "memory",
                Row::new(
                    format!("5 memory of a single recording, {} x as fast", self.speed),
                    format!("{:.1} MiB PSS", mib(pss)),
                )
                .rival(format!("{:.1} MiB bare ffmpeg", mib(batch.peak_pss as f64)), pss / batch.peak_pss as f64),
            ),
        ]
    }
}

/// Keeps a journal that the recorder removes when its recording is published, by links to its chunks.
struct Keeper {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
    into: PathBuf,
}

impl Keeper {
    fn start(spool: PathBuf, into: PathBuf) -> Self {
        fs::create_dir_all(&into).expect("a directory");
        let stop = Arc::new(AtomicBool::new(false));
        let (until, to) = (Arc::clone(&stop), into.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for entry in fs::read_dir(&spool).into_iter().flatten().flatten() {
                    link(&entry.path().join("journal"), &to);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, thread, into }
    }

    fn stop(self) -> PathBuf {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic");
        self.into
    }
}

fn link(journal: &Path, into: &Path) {
    for chunk in read::chunks(journal).into_iter().flatten().filter(|chunk| !chunk.open) {
        // It is there already, or has just gone.
        fs::hard_link(&chunk.path, Chunk::path(into, chunk.number, false)).ok();
    }
}

/// When the last packet of a journal was received, in Unix ms.
fn last_packet_ms(journal: &Path) -> i64 {
    let chunks = read::chunks(journal).expect("a journal");
    let of = |chunk: &Chunk| {
        let bytes = chunk.read().expect("a chunk");
        read::lines(&bytes, chunk.open).flatten().filter(|line| line.conn == "audio").map(|line| line.t).last()
    };
    chunks.iter().rev().find_map(of).expect("a packet")
}
