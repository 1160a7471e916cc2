//! `recording.mp4` in real browsers: it plays and seeks across every change of size, slate and speaker, and shows the right
//! picture each time. The browsers are headless, and the page that they open tests itself and reports by HTTP.

use crate::common::browser::{chromium, firefox, launch};
use crate::common::hosting::host_and_hear;
use crate::common::script::{Clip, Look, Rendered, Script, Sound, settings, steady};
use crate::common::truth;
use rtms_recorder::render::Settings;
use rtms_recorder::timeline::picture::EncodePolicy;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// How long a browser may take for a file, start and all.
const LIMIT: Duration = Duration::from_secs(90);
/// A clip of each speaker is this long.
const CLIP_MS: i64 = 3000;

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>test</title><video id="v" muted playsinline></video>
<script>
const points = POINTS, changes = CHANGES, video = document.getElementById("v"), errors = [];
const until = (name, ms) => new Promise(done => {
    const timer = setTimeout(() => { errors.push(`no ${name} in ${ms} ms at ${video.currentTime}`); done(); }, ms);
    video.addEventListener(name, () => { clearTimeout(timer); done(); }, { once: true });
});
const painted = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
const look = () => {
    const canvas = document.createElement("canvas");
    canvas.width = 16; canvas.height = 9;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0, 16, 9);
    return { time: video.currentTime, colour: Array.from(context.getImageData(8, 4, 1, 1).data.slice(0, 3)) };
};
const seek = async time => {
    const seeked = until("seeked", 10000);
    video.currentTime = time;
    await seeked;
    await painted();
};
window.addEventListener("error", event => errors.push(String(event.message)));
video.addEventListener("error", () => errors.push(`${video.error.code} ${video.error.message}`));
(async () => {
    const report = { seeks: [], plays: [] };
    try {
        const ready = until("canplay", 20000);
        video.src = "/recording.mp4";
        await ready;
        report.duration = video.duration;
        for (const point of points) {
            await seek(point);
            report.seeks.push(look());
        }
        // Backwards too: a browser keeps what it has decoded.
        for (const point of points.slice().reverse()) {
            await seek(point);
            report.seeks.push(look());
        }
        for (const change of changes) {
            await seek(change - 0.3);
            await video.play();
            const since = performance.now();
            while (video.currentTime < change + 0.4 && performance.now() - since < 8000) {
                await new Promise(done => setTimeout(done, 20));
            }
            video.pause();
            await painted();
            report.plays.push(look());
        }
        const ended = until("ended", 8000);
        await seek(video.duration - 0.5);
        await video.play();
        await ended;
        report.end = video.currentTime;
    } catch (error) { errors.push(String(error)); }
    report.errors = errors;
    await fetch("/report", { method: "POST", body: JSON.stringify(report) });
})();
</script>"#;

/// What is to be seen when.
struct Meeting {
    rendered: Rendered,
    /// Seconds, and the colour.
    points: Vec<(f64, u32)>,
    changes: Vec<(f64, u32)>,
    length: f64,
}

fn meeting(policy: EncodePolicy, codec: &'static str, fps: i64) -> Meeting {
    let look = |colour, width, height, profile| {
        Some(Look { colour, width, height, profile, codec, flash_every: 1000, gop: 50, count: 75 })
    };
    // `None`: all cameras are off.
    let clips = [
        look(0xb0_20_20, 320, 180, "high"),
        look(0x20_b0_20, 320, 180, "baseline"),
        look(0x20_20_b0, 160, 90, "high"),
        None,
        look(0xa0_a0_20, 90, 160, "main"),
        look(0x20_a0_a0, 640, 360, "high"),
        look(0xa0_20_a0, 320, 240, "main"),
        None,
        look(0xc0_60_20, 640, 360, "main"),
        look(0x60_20_c0, 160, 90, "baseline"),
        look(0x80_80_80, 180, 320, "high"),
    ];
    let mut script = Script::connected_to(&["audio", "video"]);
    let (mut at, mut points, mut changes) = (0, Vec::new(), Vec::new());
    for look in clips {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        match look {
            Some(look) => {
                let clip = Clip::get(look);
                script.pictures("video", &clip, &steady(at, at + CLIP_MS, fps));
                // In its key frame, amid its pictures, and just before it ends.
                points.extend([20, 1500, CLIP_MS - 30].map(|ms| (seconds(at + ms), look.colour)));
                if at > 0 {
                    changes.push((seconds(at), look.colour));
                }
                at += CLIP_MS;
            }
            None => {
                // The last picture is held for a second first.
                points.extend([1100, 2500, 3950].map(|ms| (seconds(at + ms), 0)));
                changes.push((seconds(at + 1000), 0));
                at += 4000;
            }
        }
    }
    script.sound(0, at, &Sound { packet_ms: 100, tone: Some((440.0, 3000.0)), ..Sound::default() });
    script.ended(at);
    let rendered = script.render(&Settings { video_encode: policy, ..settings() });
    Meeting { rendered, points, changes, length: at as f64 / 1000.0 }
}

/// Lets a browser look at a recording.
fn report(browser: fn(&Path, &str) -> Command, meeting: &Meeting) -> Value {
    let seconds = |all: &[(f64, u32)]| json!(all.iter().map(|(at, _)| at).collect::<Vec<_>>()).to_string();
    let page = PAGE.replace("POINTS", &seconds(&meeting.points)).replace("CHANGES", &seconds(&meeting.changes));
    let page_file = meeting.rendered.file("test.html");
    std::fs::write(&page_file, page).expect("room on the disk");
    let (sender, receiver) = mpsc::channel();
    let hear = move |report: Vec<u8>| drop(sender.send(serde_json::from_slice(&report).unwrap_or_default()));
    let url = host_and_hear(page_file.parent().expect("a directory"), hear) + "/test.html";
    let home = tempfile::tempdir().expect("a directory");
    let _browser = launch(home.path(), browser(home.path(), &url));
    receiver.recv_timeout(LIMIT).unwrap_or_else(|_| {
        let log = std::fs::read_to_string(home.path().join("log")).unwrap_or_default();
        panic!("no report after {LIMIT:?}; the browser said: {}", log.chars().take(4000).collect::<String>())
    })
}

fn check(name: &str, browser: fn(&Path, &str) -> Command) {
    let kinds = [
        (EncodePolicy::Auto, "libx264", 25),
        (EncodePolicy::Copy, "libx264", 25),
        (EncodePolicy::Always, "libx264", 25),
        (EncodePolicy::Auto, "mjpeg", 5),
    ];
    for (policy, codec, fps) in kinds {
        let name = &format!("{name}, {codec}");
        let meeting = meeting(policy, codec, fps);
        let report = report(browser, &meeting);
        assert_eq!(report["errors"], json!([]), "{name}, {policy:?}: {report}");
        let seen = |key: &str| -> Vec<(f64, [u8; 3])> {
            let colour = |value: &Value| serde_json::from_value(value.clone()).expect("a colour");
            let all = report[key].as_array().expect("a list").iter();
            all.map(|one| (one["time"].as_f64().expect("a time"), colour(&one["colour"]))).collect()
        };
        let there_and_back: Vec<_> = meeting.points.iter().chain(meeting.points.iter().rev()).collect();
        let seeks = seen("seeks");
        assert_eq!(seeks.len(), there_and_back.len(), "{name}, {policy:?}");
        for ((time, found), (at, colour)) in seeks.iter().zip(there_and_back) {
            let right = (time - at).abs() < 0.01 && truth::is_colour(*found, *colour);
            assert!(right, "{name}, {policy:?}: {found:?} at {time} in place of {colour:06x} at {at}");
        }
        let plays = seen("plays");
        assert_eq!(plays.len(), meeting.changes.len(), "{name}, {policy:?}");
        for ((time, found), (at, colour)) in plays.iter().zip(&meeting.changes) {
            let right = *time > at + 0.3 && *time < at + 2.0 && truth::is_colour(*found, *colour);
            assert!(right, "{name}, {policy:?}: played to {time}, {found:?} in place of {colour:06x} after {at}");
        }
        for key in ["duration", "end"] {
            let found = report[key].as_f64().expect("a number");
            assert!((found - meeting.length).abs() < 0.05, "{name}, {policy:?}: {key} {found} of {}", meeting.length);
        }
        println!("MEASURED {name}, {policy:?}: {} seeks, {} changes played through", seeks.len(), plays.len());
    }
}

#[test]
fn chromium_plays_and_seeks_across_every_change() {
    check("Chromium", chromium);
}

#[test]
fn firefox_plays_and_seeks_across_every_change() {
    check("Firefox", firefox);
}
