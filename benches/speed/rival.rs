//! The rival of most rows: one bare `ffmpeg` that is given the same pictures and the same sound as files, in one batch.

use crate::process::{self, Sample};
use crate::say;
use rtms_recorder::journal::read;
use rtms_recorder::protocol::message::Message;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the batch took, measured once in a run of the benchmark.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) cpu_s_per_hour: f64,
    /// From its start to its file.
    pub(crate) wall_s_per_hour: f64,
    pub(crate) peak_pss: u64,
}

/// The rival, once it was measured.
#[derive(Debug, Default)]
pub(crate) struct Rival(Option<Batch>);

impl Rival {
    /// Measured now with five minutes of a simulated meeting, if no meeting was recorded before.
    pub(crate) fn batch(&mut self) -> Batch {
        if self.0.is_none() {
            crate::meeting::record(300.0, 30.0, self);
        }
        self.0.unwrap_or_default()
    }

    /// What was measured, if anything was.
    pub(crate) fn measured(&self) -> Batch {
        self.0.unwrap_or_default()
    }

    /// Runs it on a recording's journal.
    pub(crate) fn run(&mut self, journal: &Path, dir: &Path, hours: f64) {
        say("the same as files to a bare ffmpeg");
        let (pictures, sound) = extract(journal, dir);
        let out = dir.join("rival.mp4");
        let (before, begun) = (process::ended_cpu_s(), Instant::now());
        let mut child = Command::new("ffmpeg")
            .args("-nostdin -hide_banner -loglevel error -y -f h264 -framerate 25 -i".split(' '))
            .arg(pictures)
            .args("-f s16le -ar 16000 -ac 1 -i".split(' '))
            .arg(sound)
            .args(
                "-map 0:v -map 1:a -c:v copy -c:a aac -aac_coder fast -b:a 64k -threads 1 -movflags +faststart"
                    .split(' '),
            )
            .arg(&out)
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg starts");
        let mut peak_pss = 0;
        while child.try_wait().expect("it can be waited for").is_none() {
            peak_pss = peak_pss.max(Sample::of(child.id()).pss);
            std::thread::sleep(Duration::from_millis(50));
        }
        let wall_s = begun.elapsed().as_secs_f64();
        let cpu_s = process::ended_cpu_s() - before;
        self.0 = Some(Batch { cpu_s_per_hour: cpu_s / hours, wall_s_per_hour: wall_s / hours, peak_pss });
    }
}

/// The bytes that were sent, without their JSON and base64.
fn extract(journal: &Path, dir: &Path) -> (PathBuf, PathBuf) {
    let (pictures, sound) = (dir.join("pictures.h264"), dir.join("sound.pcm"));
    let create = |path: &Path| BufWriter::new(File::create(path).expect("a file"));
    let (mut video, mut audio) = (create(&pictures), create(&sound));
    for chunk in read::chunks(journal).expect("a journal") {
        let bytes = chunk.read().expect("a chunk");
        for line in read::lines(&bytes, chunk.open).flatten() {
            let read::Body::Json(json) = line.body else { continue };
            let into = match line.conn.as_ref() {
                "video" => &mut video,
                "audio" => &mut audio,
                _ => continue,
            };
            let Ok(message) = Message::parse(json) else { continue };
            let Some(content) = message.content.filter(|_| matches!(message.msg_type, Some(14 | 15))) else { continue };
            let data = base64_simd::STANDARD.decode_to_vec(content.data.as_bytes()).expect("base64");
            into.write_all(&data).expect("the disk takes it");
        }
    }
    video.flush().and_then(|()| audio.flush()).expect("the disk takes it");
    (pictures, sound)
}
