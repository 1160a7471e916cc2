//! Row 2: how many recordings can be made at once, in real time, with nothing lost and nothing late.
//!
//! All start together, and all end together. If the target does not fit beside the load, what one more stream takes is
//! shown, and the limit that follows.

use crate::play::{Meetings, Recorder};
use crate::process::{Sample, settled_pss};
use crate::rival::Rival;
use crate::table::Row;
use crate::{Options, say};
use rtms_recorder::journal::read;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const TARGET: f64 = 300.0;
/// How late the first packet may be.
const LATE_S: f64 = 5.0;

/// When all have settled, in seconds after the start: the first chunks are rendered, for which children were started.
const SETTLED_S: u64 = 22;

/// What so many streams at once were like.
struct Live {
    count: usize,
    length_s: u64,
    /// CPU of the recorder and its children for a stream and second, while all run.
    steady: f64,
    /// The same for the load.
    load: f64,
    /// CPU of the recorder and its children for a recording, in seconds, for its beginning and its end.
    ends_s: f64,
    peak: Sample,
    pss: f64,
    lost: Lost,
    first_packet_s: f64,
    finish_s: f64,
}

/// What was sent and is not in the files.
#[derive(Debug, Default)]
struct Lost {
    recordings: usize,
    sound_ms: u64,
    pictures: u64,
}

pub(crate) fn measure(options: &Options, rival: &mut Rival) -> Vec<Row> {
    let steps = match (&options.streams[..], options.quick) {
        ([], true) => vec![10, 25],
        ([], false) => vec![50, 100, 200],
        (streams, _) => streams.to_vec(),
    };
    let length_s = if options.quick { 46 } else { 66 };
    let ffmpeg_s = rival.batch().cpu_s_per_hour;
    let mut rows = Vec::new();
    for count in steps {
        say(&format!("{count} recordings at once for {length_s} s"));
        rows.extend(run(count, length_s).rows(ffmpeg_s));
    }
    rows
}

fn run(count: usize, length_s: u64) -> Live {
    let recorder = Recorder::start();
    let watch = recorder.watch(Duration::from_secs(5));
    let simulator = Meetings::new(count, length_s as f64).start(recorder.webhook());
    std::thread::sleep(Duration::from_secs(SETTLED_S));
    let first_packets = first_packets(&recorder.spool());
    // Chunks are rendered every 10 s, those of all streams at about the same time.
    let window_s = (length_s - SETTLED_S - 2) / 10 * 10;
    let before = (recorder.cpu_s(), simulator.cpu_s(), Instant::now());
    std::thread::sleep(Duration::from_secs(window_s));
    let (cpu_s, load_s) = (recorder.cpu_s() - before.0, simulator.cpu_s() - before.1);
    let stream_seconds = before.2.elapsed().as_secs_f64() * count as f64;
    let played = simulator.finish();
    recorder.await_published(count);
    let finish_s = played.ended.elapsed().as_secs_f64();
    let live: Vec<Sample> = watch.stop().into_iter().filter(|sample| sample.at_s < length_s as f64).collect();
    let peak = |pick: fn(&Sample) -> usize| live.iter().map(pick).max().unwrap_or(0);
    let steady = cpu_s / stream_seconds;
    Live {
        count,
        length_s,
        steady,
        load: load_s / stream_seconds,
        ends_s: recorder.cpu_s() / count as f64 - steady * length_s as f64,
        peak: Sample { fds: peak(|sample| sample.fds), children: peak(|sample| sample.children), ..Sample::default() },
        pss: settled_pss(&live),
        lost: lost(&played.meetings, &recorder.manifests()),
        first_packet_s: if first_packets.len() < count {
            f64::INFINITY
        } else {
            first_packets.into_iter().fold(0.0, f64::max)
        },
        finish_s,
    }
}

impl Live {
    fn rows(&self, ffmpeg_s_per_hour: f64) -> Vec<Row> {
        let Self { count, length_s, lost, peak, steady, load, .. } = self;
        let n = *count as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let (alone, beside) = (cores / steady, cores / (steady + load));
        // Without assembling and publishing an hour of media: row 1 has those.
        let per_hour = steady * 3600.0;
        let name = |what: &str| format!("2 {count} at once: {what}");
        let missing = if lost.is_nothing() { "nothing".to_owned() } else { format!("{lost:?}") };
        let mib = self.pss / n / 1048576.0;
        vec![
            Row::new(name("lost; the latest first packet"), format!("{missing}; after {:.2} s", self.first_packet_s))
                .target(format!("nothing; {LATE_S} s"), lost.is_nothing() && self.first_packet_s < LATE_S),
            Row::new(
                name("CPU s an hour while they run, in real time"),
                format!(
                    "{per_hour:.1} (the load {:.1}); {:.2} more to begin and end {length_s} s",
                    load * 3600.0,
                    self.ends_s
                ),
            )
            .rival(format!("{ffmpeg_s_per_hour:.1} bare ffmpeg, batch"), per_hour / ffmpeg_s_per_hour),
            Row::new(name("memory per recording"), format!("{mib:.1} MiB PSS")).target("40 MiB, aim 20", mib <= 40.0),
            Row::new(
                name("files and children per recording"),
                format!("{:.1} and {:.1}", peak.fds as f64 / n, peak.children as f64 / n),
            ),
            Row::new(
                name("limit that follows from CPU while they run"),
                format!("{alone:.0} on {cores} cores ({beside:.0} with the load on them)"),
            )
            .target(format!("{TARGET}"), alone >= TARGET),
            Row::new(
                name(&format!("finished, meetings of {length_s} s")),
                format!("all within {:.1} s of the end, {:.0} a minute", self.finish_s, n / self.finish_s * 60.0),
            ),
        ]
    }
}

impl Lost {
    fn is_nothing(&self) -> bool {
        self.recordings == 0 && self.sound_ms == 0 && self.pictures == 0
    }
}

/// How long after its webhook each stream's first packet of media was journalled, in seconds.
fn first_packets(spool: &Path) -> Vec<f64> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(spool).into_iter().flatten().flatten() {
        let Ok(chunks) = read::chunks(&entry.path().join("journal")) else { continue };
        let Some(bytes) = chunks.first().and_then(|chunk| chunk.read().ok()) else { continue };
        let mut lines = read::lines(&bytes, true).flatten();
        let Some(webhook_ms) = lines.next().map(|line| line.t) else { continue };
        let is_media = |line: &read::Line<'_>| match line.body {
            read::Body::Json(json) if line.conn == "audio" || line.conn == "video" => {
                matches!(rtms_recorder::protocol::message::peek_type(json), Ok(14 | 15))
            }
            _ => false,
        };
        found.extend(lines.find(is_media).map(|line| (line.t - webhook_ms) as f64 / 1000.0));
    }
    found
}

fn lost(meetings: &[Value], manifests: &[(std::path::PathBuf, Value)]) -> Lost {
    let mut lost = Lost::default();
    for meeting in meetings {
        let Some((folder, manifest)) =
            manifests.iter().find(|(_, manifest)| manifest["stream_id"] == meeting["stream_id"])
        else {
            lost.recordings += 1;
            continue;
        };
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let media = &meeting["media"];
        let tracks = manifest["tracks"].as_array().cloned().unwrap_or_default();
        let received = |name: &str| {
            tracks.iter().find(|track| track["track"] == name).map_or(0, |track| number(&track["received_ms"]))
        };
        lost.sound_ms += (number(&media["audio"]["samples"]) / 16).saturating_sub(received("audio"));
        lost.pictures += number(&media["video"]["messages"]).saturating_sub(pictures(&folder.join("recording.mp4")));
        lost.recordings += usize::from(manifest["complete"] != true);
    }
    lost
}

/// How many pictures a file has, slates too.
fn pictures(file: &Path) -> u64 {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=nb_frames", "-of", "csv=p=0"])
        .arg(file)
        .output();
    probe.ok().and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok()).unwrap_or(0)
}
