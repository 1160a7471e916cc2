//! Pictures made once by ffmpeg and shared by every meeting: a short loop, cut into messages' payloads.
//!
//! A loop is a whole number of beep periods long and made of closed GOPs of 1 s, so it can be played over and over
//! and joined to a loop of another size at any second. The base64 is made once too; a message adds a timestamp.

use super::frames::{self, Frame};
use super::replay::Replay;
use super::script::Size;
use super::sound::{MARK_EVERY_MS, MARK_MS, MARK_PHASE_MS};
use super::{DEFAULT_LENGTH, Error, Progress, Settings};
use crate::media::PictureCodec;
use crate::protocol::message::Medium;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};
use tokio::sync::OnceCell;

/// The longest loop; longer meetings repeat it.
const LOOP_MS: i64 = 20_000;

/// What a loop looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Look {
    pub(super) share: bool,
    pub(super) size: Size,
    pub(super) fps: u32,
    pub(super) codec: PictureCodec,
    pub(super) kbit_per_s: u32,
    pub(super) length_ms: i64,
}

/// One picture, ready to be sent.
#[derive(Debug)]
pub(super) struct Picture {
    /// Base64 of the whole picture.
    pub(super) base64: String,
    /// Bytes before base64.
    pub(super) length: usize,
    /// The same without SPS and PPS, for key frames.
    pub(super) bare: Option<(String, usize)>,
    pub(super) key: bool,
    /// The first white picture of a flash.
    pub(super) flash: bool,
}

/// Pictures at a steady rate.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) fps: u32,
    pub(super) codec: PictureCodec,
    pub(super) pictures: Vec<Picture>,
}

/// Where media comes from.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) replay: Option<Replay>,
    kbit_per_s: u32,
    loop_ms: i64,
}

type Cache = Mutex<HashMap<Look, Arc<OnceCell<Arc<Loop>>>>>;

/// Loops live as long as the process: tests run many meetings in one.
static LOOPS: LazyLock<Cache> = LazyLock::new(Cache::default);

impl Material {
    /// Reads the journal, or makes the loop that the meetings are most likely to need.
    pub(super) async fn prepare(settings: &Settings, progress: &Progress) -> Result<Self, Error> {
        let length = settings.length.unwrap_or(DEFAULT_LENGTH).as_millis() as i64;
        let mut material = Self {
            replay: None,
            kbit_per_s: settings.kbit_per_s,
            loop_ms: ((length + MARK_EVERY_MS - 1) / MARK_EVERY_MS * MARK_EVERY_MS).min(LOOP_MS),
        };
        if let Some(journal) = &settings.journal {
            let journal = journal.clone();
            progress.note(&format!("reading {}", journal.display()));
            let read = tokio::task::spawn_blocking(move || Replay::read(&journal)).await;
            material.replay = Some(read.map_err(|e| Error::Settings(format!("reading the journal failed: {e}")))??);
        } else {
            // What a recorder most likely asks for; the rest is made when it is asked for.
            progress.note("making pictures with ffmpeg");
            if settings.media.contains(&Medium::Video) {
                material.pictures(false, settings.size, settings.fps, PictureCodec::H264).await?;
            }
            if settings.media.contains(&Medium::Share) && !settings.script.share.is_empty() {
                material.pictures(true, settings.size, 1, PictureCodec::Jpg).await?;
            }
        }
        Ok(material)
    }

    /// How long the meetings are.
    pub(super) fn length_ms(&self, settings: &Settings) -> i64 {
        let asked = settings.length.map(|l| l.as_millis() as i64);
        match &self.replay {
            Some(replay) => asked.map_or(replay.length_ms, |l| l.min(replay.length_ms)),
            None => asked.unwrap_or(DEFAULT_LENGTH.as_millis() as i64),
        }
    }

    /// The loop of this look, made now if nobody asked for it before.
    pub(super) async fn pictures(
        &self,
        share: bool,
        size: Size,
        fps: u32,
        codec: PictureCodec,
    ) -> Result<Arc<Loop>, Error> {
        let look = Look { share, size, fps, codec, kbit_per_s: self.kbit_per_s, length_ms: self.loop_ms };
        let cell = LOOPS.lock().entry(look).or_default().clone();
        cell.get_or_try_init(|| async { make(look).await.map(Arc::new) }).await.cloned()
    }
}

async fn make(look: Look) -> Result<Loop, Error> {
    let output = tokio::process::Command::new("ffmpeg")
        .args(arguments(look))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(Error::FfmpegMissing)?;
    let bytes = &output.stdout;
    let cut = match look.codec {
        PictureCodec::H264 => frames::access_units(bytes),
        PictureCodec::Jpg => frames::jpegs(bytes),
        PictureCodec::Png => frames::pngs(bytes),
    };
    let expected = look.length_ms * i64::from(look.fps) / 1000;
    if !output.status.success() || cut.len() as i64 != expected {
        let said = String::from_utf8_lossy(&output.stderr);
        let tail = said.trim_end();
        return Err(Error::Ffmpeg {
            status: format!("{}, {} of {expected} pictures", output.status, cut.len()),
            stderr: tail[tail.ceil_char_boundary(tail.len().saturating_sub(1000))..].to_owned(),
        });
    }
    let pictures = cut.iter().enumerate().map(|(n, frame)| picture(n, frame, look)).collect();
    Ok(Loop { fps: look.fps, codec: look.codec, pictures })
}

fn picture(n: usize, frame: &Frame<'_>, look: Look) -> Picture {
    let encode = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
    let bare = &frame.data[frame.headers..];
    // Exact at every whole frame rate: the mark is a whole number of frames.
    let since_mark = n as i64 * 1000 - MARK_PHASE_MS * i64::from(look.fps);
    Picture {
        base64: encode(frame.data),
        length: frame.data.len(),
        bare: (frame.headers > 0).then(|| (encode(bare), bare.len())),
        key: frame.key,
        flash: !look.share && since_mark.rem_euclid(MARK_EVERY_MS * i64::from(look.fps)) == 0,
    }
}

fn arguments(look: Look) -> Vec<String> {
    let Size { width, height } = look.size;
    let fps = i64::from(look.fps);
    let source = if look.share {
        format!("testsrc=s={width}x{height}:r={fps}")
    } else {
        let (period, phase) = (MARK_EVERY_MS * fps / 1000, (MARK_EVERY_MS - MARK_PHASE_MS) * fps / 1000);
        let white = (MARK_MS * fps + 999) / 1000;
        format!(
            "testsrc2=s={width}x{height}:r={fps},drawbox=x=0:y=0:w=iw:h=ih:color=white:t=fill:\
             enable='lt(mod(n+{phase},{period}),{white})'"
        )
    };
    let frames = look.length_ms * fps / 1000;
    let rate = format!("{}k", look.kbit_per_s);
    let mut args =
        vec!["-nostdin", "-v", "error", "-f", "lavfi", "-i"].into_iter().map(str::to_owned).collect::<Vec<_>>();
    args.extend([source, "-frames:v".into(), frames.to_string()]);
    let coding: &[&str] = match look.codec {
        PictureCodec::H264 => &[
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-bf",
            "0",
            "-sc_threshold",
            "0",
            "-flags",
            "+cgop",
            "-x264-params",
            "repeat-headers=1:slices=1",
        ],
        PictureCodec::Jpg => &["-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "5"],
        PictureCodec::Png => &["-c:v", "png"],
    };
    args.extend(coding.iter().map(|s| (*s).to_owned()));
    if look.codec == PictureCodec::H264 {
        for (key, value) in [
            ("-g", fps.to_string()),
            ("-keyint_min", fps.to_string()),
            ("-b:v", rate.clone()),
            ("-maxrate", rate.clone()),
            ("-bufsize", rate),
        ] {
            args.extend([key.to_owned(), value]);
        }
    }
    let container = if look.codec == PictureCodec::H264 { "h264" } else { "image2pipe" };
    args.extend(["-f", container, "pipe:1"].map(str::to_owned));
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loops_have_closed_gops_and_flashes_where_they_belong() {
        let material = Material { replay: None, kbit_per_s: 300, loop_ms: 4000 };
        let size = Size { width: 160, height: 90 };
        let camera = material.pictures(false, size, 15, PictureCodec::H264).await.unwrap();
        let numbers = |pick: fn(&Picture) -> bool| {
            let found = camera.pictures.iter().enumerate().filter(|(_, p)| pick(p));
            found.map(|(n, _)| n).collect::<Vec<_>>()
        };
        assert_eq!(numbers(|p| p.key), [0, 15, 30, 45]);
        assert_eq!(numbers(|p| p.flash), [15, 45]);
        assert_eq!(numbers(|p| p.bare.is_some()), [0, 15, 30, 45]);
        let share = material.pictures(true, size, 1, PictureCodec::Jpg).await.unwrap();
        assert_eq!(share.pictures.len(), 4);
        let png = material.pictures(true, size, 1, PictureCodec::Png).await.unwrap();
        assert!(png.pictures.iter().all(|p| p.base64.starts_with("iVBOR")));
    }
}
