//! The soak: meeting after meeting for half an hour, and what the recorder holds whenever none runs: memory of its own, open
//! files, children.

use crate::play::{Meetings, Recorder};
use crate::process::Sample;
use crate::table::Row;
use crate::{Options, say};
use std::time::{Duration, Instant};

pub(crate) fn measure(options: &Options) -> Vec<Row> {
    let minutes = if options.quick { 3.0 } else { 30.0 };
    let count = options.streams.first().copied().unwrap_or(5);
    let recorder = Recorder::start();
    let begun = Instant::now();
    let (mut samples, mut published) = (Vec::new(), 0);
    while begun.elapsed().as_secs_f64() < minutes * 60.0 {
        // Unlike each other in length, with lost connections and pauses.
        let args = vec!["--cut", "all@20", "--pause", "30..35", "--silence", "5..15"];
        let meetings = Meetings { speed: 4.0, stagger_s: 1.0, args, ..Meetings::new(count, 90.0) };
        meetings.start(recorder.webhook()).finish();
        published += count;
        recorder.await_published(published);
        // Idle threads end; then what is not used goes back to the system.
        std::thread::sleep(Duration::from_secs(15));
        let sample = Sample { at_s: begun.elapsed().as_secs_f64(), ..Sample::of(recorder.pid()) };
        say(&format!(
            "soak: {:.0} s, {published} recordings, {:.1} MiB ({:.1} MiB with its executable), {} files, {} children",
            sample.at_s,
            mib(sample.own_anon),
            mib(sample.own_pss),
            sample.fds,
            sample.children
        ));
        samples.push(sample);
    }
    // The first quarter fills caches and grows stacks; one round more or less says little.
    let settled = &samples[samples.len() / 4..];
    let third = settled.len().div_ceil(3);
    let (first, last) = (mean(&settled[..third]), mean(&settled[settled.len() - third..]));
    let grown = last.own_anon as f64 / first.own_anon as f64;
    let flat = grown <= 1.1 && last.fds <= first.fds && last.children <= first.children;
    let shown =
        |s: Sample| format!("{:.1} MiB, {} files, {} children at {:.0} s", mib(s.own_anon), s.fds, s.children, s.at_s);
    vec![
        Row::new(format!("8 soak: {minutes:.0} min, {published} recordings"), shown(last))
            .rival(shown(first), grown)
            .target("no growth", flat),
    ]
}

/// Their mean memory, and as many files and children as the one that has most.
fn mean(samples: &[Sample]) -> Sample {
    Sample {
        at_s: samples.iter().map(|sample| sample.at_s).sum::<f64>() / samples.len() as f64,
        own_anon: samples.iter().map(|sample| sample.own_anon).sum::<u64>() / samples.len() as u64,
        fds: samples.iter().map(|sample| sample.fds).max().unwrap_or_default(),
        children: samples.iter().map(|sample| sample.children).max().unwrap_or_default(),
        ..Sample::default()
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1048576.0
}
