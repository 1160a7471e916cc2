//! A glance at a recording that is being captured: how loud it is and what its last key frame shows, from the end of
//! its journal. Made when somebody looks, and never for the recording itself.

use super::items::{Item, items};
use crate::ffmpeg::{Ffmpeg, Output, args};
use crate::journal::read::{self, Chunk};
use crate::media::{AccessUnit, PictureCodec};
use crate::timeline::h264;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// How much of a journal's end is read for the sound: a second and more of all media together.
const TAIL_BYTES: u64 = 512 << 10;
/// How long a piece of sound the level is of, in ms.
const LEVEL_MS: i64 = 1000;
/// In how many chunks, from the last one, a key frame is looked for.
const CHUNKS: usize = 12;
/// A picture may come in parts.
const PARTS: usize = 8;
const GRACE: Duration = Duration::from_secs(10);

/// A picture of a meeting.
#[derive(Clone, Debug)]
pub struct Picture {
    /// A JPEG.
    pub jpeg: Bytes,
    /// When its key frame was received, in Unix ms.
    pub received_ms: i64,
}

/// How loud the last second of sound was, in dB below full scale; none if no sound came in the last 2 s before `now_ms`. Blocks.
pub fn level(journal: &Path, now_ms: i64) -> Option<f64> {
    let mut packets = Vec::new();
    for chunk in read::chunks(journal).ok()?.iter().rev().take(2) {
        let tail = tail(chunk).ok()?;
        packets.extend(of_conn(&tail, &[r#""c":"audio""#]).into_iter().filter_map(|received| match received.item {
            Item::Sound { bytes, .. } => Some((received.t_ms, bytes)),
            _ => None,
        }));
        if packets.iter().any(|(t_ms, _)| now_ms - t_ms > LEVEL_MS) {
            break;
        }
    }
    let last = packets.iter().map(|(t_ms, _)| *t_ms).max().filter(|last| now_ms - last <= 2 * LEVEL_MS)?;
    let heard = packets.iter().filter(|(t_ms, _)| last - t_ms < LEVEL_MS);
    let (mut sum, mut count) = (0.0, 0_u32);
    for sample in heard.flat_map(|(_, bytes)| bytes.chunks_exact(2)) {
        let sample = f64::from(i16::from_le_bytes([sample[0], sample[1]])) / f64::from(i16::MAX);
        sum += sample * sample;
        count += 1;
    }
    // Sixteen bits reach no lower.
    (count > 0).then(|| (10.0 * (sum / f64::from(count)).log10()).max(-96.0))
}

/// The last key frame of the camera or of the shared screen, whichever came later; none if there is none near the journal's end,
/// or ffmpeg cannot decode it.
pub async fn picture(ffmpeg: &Ffmpeg, journal: &Path) -> Option<Picture> {
    let journal = journal.to_owned();
    let (received_ms, units) = tokio::task::spawn_blocking(move || key_frame(&journal)).await.ok()??;
    let codec = units.first()?.codec;
    let decoding = async {
        let mut child = ffmpeg.spawn("taking a look at a meeting", &args::glance(codec), Output::Collect)?;
        for unit in &units {
            child.write(&unit.data).await?;
        }
        child.finish(GRACE).await
    };
    match decoding.await {
        Ok(jpeg) if !jpeg.is_empty() => Some(Picture { jpeg, received_ms }),
        Ok(_) => None,
        Err(err) => {
            tracing::debug!(err = %err, "a picture for the status page could not be made");
            None
        }
    }
}

fn key_frame(journal: &Path) -> Option<(i64, Vec<AccessUnit>)> {
    for chunk in read::chunks(journal).ok()?.iter().rev().take(CHUNKS) {
        let bytes = chunk.read().ok()?;
        let pictures = of_conn(&bytes, &[r#""c":"video""#, r#""c":"share""#]).into_iter();
        let pictures: Vec<_> = pictures
            .filter_map(|received| match received.item {
                Item::Picture(medium, unit) => Some((received.t_ms, medium, unit)),
                _ => None,
            })
            .collect();
        let begins = |(_, _, unit): &(i64, _, AccessUnit)| match unit.codec {
            PictureCodec::H264 => h264::inspect(&unit.data).sps,
            PictureCodec::Jpg | PictureCodec::Png => true,
        };
        let Some(at) = pictures.iter().rposition(begins) else { continue };
        let (received_ms, medium, codec) = (pictures[at].0, pictures[at].1, pictures[at].2.codec);
        let parts = if codec == PictureCodec::H264 { PARTS } else { 1 };
        let same = pictures.into_iter().skip(at).filter(|(_, of, unit)| *of == medium && unit.codec == codec);
        return Some((received_ms, same.map(|(.., unit)| unit).take(parts).collect()));
    }
    None
}

/// The items of these connections.
fn of_conn(chunk: &[u8], labels: &[&str]) -> Vec<super::items::Received> {
    // The label stands in front; what is not wanted is not parsed.
    let wanted = |line: &&[u8]| {
        let head = &line[..line.len().min(48)];
        labels.iter().any(|label| memchr::memmem::find(head, label.as_bytes()).is_some())
    };
    let lines: Vec<&[u8]> = chunk.split_inclusive(|b| *b == b'\n').filter(wanted).collect();
    items(&lines.concat(), true)
}

/// The end of a chunk, from the beginning of a line on.
fn tail(chunk: &Chunk) -> io::Result<Vec<u8>> {
    let mut file = File::open(&chunk.path)?;
    let skipped = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(2 * TAIL_BYTES).read_to_end(&mut bytes)?;
    if skipped > 0 {
        let line = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |at| at + 1);
        bytes.drain(..line);
    }
    Ok(bytes)
}
