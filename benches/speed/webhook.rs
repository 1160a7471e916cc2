//! Row 7: how fast webhooks are answered beside streams that run, while hundreds start.
//!
//! An answer means that the event is on the disk, so the rival is the disk: one small file written and forced there,
//! with its directory, in the same seconds.

use crate::play::{Meetings, Recorder};
use crate::table::Row;
use crate::{Options, say};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const TARGET_MS: f64 = 50.0;
/// In which the streams start.
const WITHIN_S: f64 = 5.0;

pub(crate) fn measure(options: &Options) -> Vec<Row> {
    let (live, starts) = if options.quick { (10, 50) } else { (50, 200) };
    say(&format!("{starts} starts within {WITHIN_S} s beside {live} streams"));
    let recorder = Recorder::start();
    let beside = Meetings { stagger_s: 0.1, ..Meetings::new(live, 40.0) }.start(recorder.webhook());
    std::thread::sleep(Duration::from_secs(15));
    // Sound alone: the question is what answering takes, not how many streams fit.
    let stagger_s = WITHIN_S / starts as f64;
    let args = vec!["--media", "audio"];
    let starting = Meetings { stagger_s, args, ..Meetings::new(starts, 8.0) }.start(recorder.webhook());
    let disk = tempfile::tempdir().expect("a temporary directory");
    let mut synced = Vec::new();
    while !starting.is_over() {
        synced.push(sync_ms(disk.path(), synced.len()));
        std::thread::sleep(Duration::from_millis(25));
    }
    let meetings = starting.finish().meetings;
    beside.finish();
    recorder.await_published(live + starts);
    let answers = meetings.iter().flat_map(|meeting| meeting["webhooks"].as_array().into_iter().flatten());
    let mut answered: Vec<f64> = answers
        .filter(|answer| answer["event"].as_str().is_some_and(|event| event.ends_with("started")))
        .map(|answer| answer["status"].as_u64().and_then(|_| answer["after_ms"].as_f64()).unwrap_or(f64::INFINITY))
        .collect();
    let ((p50, p99), (disk50, disk99)) = (quantiles(&mut answered), quantiles(&mut synced));
    let name =
        |what: &str| format!("7 webhook answered, {what}, {starts} starts in {WITHIN_S} s beside {live} streams");
    vec![
        Row::new(name("p50"), format!("{p50:.1} ms"))
            .rival(format!("{disk50:.1} ms one file and its directory synced"), p50 / disk50),
        Row::new(name("p99"), format!("{p99:.1} ms"))
            .rival(format!("{disk99:.1} ms one file and its directory synced"), p99 / disk99)
            .target("50 ms", p99 <= TARGET_MS),
    ]
}

fn sync_ms(dir: &Path, number: usize) -> f64 {
    let begun = Instant::now();
    let synced = File::create(dir.join(number.to_string()))
        .and_then(|mut file| file.write_all(&[b'x'; 600]).and_then(|()| file.sync_all()))
        .and_then(|()| File::open(dir)?.sync_all());
    synced.expect("the disk takes it");
    begun.elapsed().as_secs_f64() * 1000.0
}

/// The median, and what 99 of 100 do not exceed.
fn quantiles(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)));
    (at(0.5).copied().unwrap_or(f64::NAN), at(0.99).copied().unwrap_or(f64::NAN))
}
