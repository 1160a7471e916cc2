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
    length_s: f64,
    cpu_s_per_hour: f64,
    pss_per_stream: f64,
}

pub(crate) fn measure(options: &Options) -> Vec<Row> {
    let (counts, lengths_s, length_s) = match options.quick {
        true => (vec![1, 10], [60.0, 300.0, 900.0], 20.0),
        false => (vec![1, 10, 100], [60.0, 3600.0, 8.0 * 3600.0], 40.0),
    };
    let of_count = |&count: &usize| run(format!("{count} streams"), &Meetings::new(count, length_s));
    let streams: Vec<Cost> = counts.iter().map(of_count).collect();
    let of_length = |s: f64| {
        // As fast as a short one can be played without being over before it is looked at.
        let speed = if s < 100.0 { 6.0 } else { 60.0 };
        run(format!("{:.0} min at {speed} x", s / 60.0), &Meetings { speed, ..Meetings::new(1, s) })
    };
    let [shortest, hour, longest] = &lengths_s.map(of_length);
    // What a meeting costs however short it is, ffmpeg's starts above all, is not what another hour costs.
    let flat = streams.iter().map(|cost| {
        let is_flat = |of: f64, base: f64| of <= FLAT * base;
        let flat = is_flat(cost.cpu_s_per_hour, streams[0].cpu_s_per_hour)
            && is_flat(cost.pss_per_stream, streams[0].pss_per_stream);
        row(cost, &streams[0]).target("no more per stream", flat)
    });
    let times = longest.length_s / hour.length_s;
    let linear = longest.cpu_s_per_hour <= FLAT * hour.cpu_s_per_hour
        && longest.pss_per_stream <= times.max(FLAT) * hour.pss_per_stream;
    let rows_of_lengths = [row(shortest, hour), row(longest, hour).target("linear in time", linear)];
    flat.chain(rows_of_lengths).collect()
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
        length_s: meetings.length_s,
        cpu_s_per_hour: recorder.cpu_s() / meetings.media_hours(),
        pss_per_stream: settled_pss(&samples) / meetings.count as f64 / 1048576.0,
    }
}

fn row(cost: &Cost, base: &Cost) -> Row {
    let figure = |cost: &Cost| format!("{:.1} CPU s per hour, {:.1} MiB", cost.cpu_s_per_hour, cost.pss_per_stream);
    Row::new(format!("8 growth: {}", cost.name), format!("{} per stream", figure(cost)))
        .rival(format!("{} with {}", figure(base), base.name), cost.cpu_s_per_hour / base.cpu_s_per_hour)
}
