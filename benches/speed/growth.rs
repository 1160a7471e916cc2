//! Row 8: what one more stream costs, and one more hour.

use crate::play::{Meetings, Recorder};
use crate::process::settled_pss;
use crate::table::Row;
use crate::{Options, say};
use std::time::Duration;

/// How much more per stream, or per hour, still counts as flat.
const FLAT: f64 = 1.2;

/// What a number of meetings took.
struct Cost {
    name: String,
    cpu_s_per_hour: f64,
    pss_per_stream: f64,
}

pub(crate) fn measure(options: &Options) -> Vec<Row> {
    let (counts, lengths_s, length_s) = match options.quick {
        true => (vec![1, 10], vec![60.0, 600.0], 20.0),
        false => (vec![1, 10, 100], vec![60.0, 3600.0, 8.0 * 3600.0], 40.0),
    };
    let of_count = |&count: &usize| run(format!("{count} streams"), &Meetings::new(count, length_s));
    let streams: Vec<Cost> = counts.iter().map(of_count).collect();
    let of_length = |&s: &f64| {
        // As fast as a short one can be played without being over before it is looked at.
        let speed = if s < 100.0 { 6.0 } else { 60.0 };
        run(format!("{:.0} min at {speed} x", s / 60.0), &Meetings { speed, ..Meetings::new(1, s) })
    };
    let lengths: Vec<Cost> = lengths_s.iter().map(of_length).collect();
    rows(&streams, &streams[0]).chain(rows(&lengths, &lengths[lengths.len() - 2])).collect()
}

fn run(name: String, meetings: &Meetings) -> Cost {
    say(&format!("growth: {name}"));
    let recorder = Recorder::start();
    let watch = recorder.watch(Duration::from_secs(if meetings.count > 20 { 5 } else { 1 }));
    meetings.start(recorder.webhook()).finish();
    let samples = watch.stop();
    recorder.await_published(meetings.count);
    Cost {
        name,
        cpu_s_per_hour: recorder.cpu_s() / meetings.media_hours(),
        pss_per_stream: settled_pss(&samples) / meetings.count as f64 / 1048576.0,
    }
}

fn rows(costs: &[Cost], base: &Cost) -> impl Iterator<Item = Row> {
    costs.iter().map(|cost| {
        let ratio = cost.cpu_s_per_hour / base.cpu_s_per_hour;
        Row::new(
            format!("8 growth: {}", cost.name),
            format!("{:.1} CPU s per hour, {:.1} MiB per stream", cost.cpu_s_per_hour, cost.pss_per_stream),
        )
        .rival(
            format!("{:.1} CPU s per hour, {:.1} MiB with {}", base.cpu_s_per_hour, base.pss_per_stream, base.name),
            ratio,
        )
        .target("no more", ratio <= FLAT && cost.pss_per_stream <= FLAT * base.pss_per_stream)
    })
}
