//! The soak: meeting after meeting for half an hour, and what the recorder holds whenever none runs.

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
        // Timers of the last connections.
        std::thread::sleep(Duration::from_secs(2));
        let sample = Sample { at_s: begun.elapsed().as_secs_f64(), ..Sample::of(recorder.pid()) };
        say(&format!(
            "soak: {:.0} s, {published} recordings, {:.1} MiB, {} files, {} children",
            sample.at_s,
            sample.own_pss as f64 / 1048576.0,
            sample.fds,
            sample.children
        ));
        samples.push(sample);
    }
    // The first rounds fill caches and grow stacks.
    let settled = &samples[samples.len() / 4..];
    let (first, last) = (settled[0], settled[settled.len() - 1]);
    let mib = |sample: Sample| sample.own_pss as f64 / 1048576.0;
    let grown = mib(last) / mib(first);
    let flat = grown <= 1.1 && last.fds <= first.fds && last.children <= first.children;
    let shown = |s: Sample| format!("{:.1} MiB, {} files, {} children at {:.0} s", mib(s), s.fds, s.children, s.at_s);
    vec![
        Row::new(format!("8 soak: {minutes:.0} min, {published} recordings"), shown(last))
            .rival(shown(first), grown)
            .target("no growth", flat),
    ]
}
