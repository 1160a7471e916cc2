//! The last step: track files become the files of the recording, by stream copy.

use super::{Error, poster, sound};
use crate::container::mp4::Listed;
use crate::ffmpeg::args::Index;
use crate::ffmpeg::{self, Ffmpeg, args};
use crate::ids::UserId;
use crate::media::{Gap, GapCause, Pts, TrackKey};
use crate::output::manifest::Manifest;
use crate::output::template::{FolderParts, Template};
use crate::output::timeline::{Filled, Filler};
use crate::output::{Folder, Object};
use crate::protocol::event::Started;
use crate::store::uploader::PlannedFile;
use crate::timeline::Span;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// How long a copy may take: hours of media on a slow disk.
const GRACE: Duration = Duration::from_secs(1800);
/// How many participants' tracks are encoded at the same time.
const PARTICIPANTS_AT_ONCE: usize = 2;
/// How long 1024 samples last at 16 kHz.
const AAC_FRAME_MS: u64 = 64;
/// AAC LC.
const AAC: &str = "mp4a.40.2";

/// Which tracks were made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) has_sound: bool,
    /// Whose sound is there by itself, with their names.
    pub(super) participants: Vec<(UserId, Option<String>)>,
    /// The pictures of cameras, if there are any.
    pub(super) camera: Option<Pictures>,
    /// Those of the shared screen, if there are any.
    pub(super) share: Option<Pictures>,
    pub(super) duration_ms: u64,
    /// Where the camera's track, and where the shared screen's, shows pictures and no slate.
    pub(super) shown: [Vec<Span>; 2],
}

/// A picture track that was made.
#[derive(Debug)]
pub(super) struct Pictures {
    pub(super) codec: String,
    /// Without any sound beside them.
    pub(super) listed: Listed,
}

/// Makes the files of the recording in `out`.
pub(super) async fn run(
    ffmpeg: &Ffmpeg,
    work: &Path,
    out: &Path,
    made: &Made,
    bitrate: u32,
) -> Result<Vec<PlannedFile>, Error> {
    let (sound, camera, share) = (work.join("audio.m4a"), work.join("video.mkv"), work.join("share.mkv"));
    let mut files = Vec::new();
    let mut add = |object: Object, codec: String| {
        let path = out.join(object.name());
        files.push(PlannedFile { object, path: path.clone(), duration_ms: Some(made.duration_ms), codec: Some(codec) });
        path
    };
    if let Some(Pictures { codec, listed }) = &made.camera {
        let step = "assembling recording.mp4";
        if made.has_sound {
            let path = add(Object::Recording, format!("{codec},{AAC}"));
            let listed = Listed { sounds: made.duration_ms / AAC_FRAME_MS + 2, ..*listed };
            copy(ffmpeg, step, listed, |index| args::assemble(&camera, &sound, index, &path)).await?;
        } else {
            let path = add(Object::Recording, codec.clone());
            copy(ffmpeg, step, *listed, |index| args::remux(&camera, index, &path)).await?;
        }
    }
    if made.has_sound {
        let path = add(Object::Audio, AAC.to_owned());
        tokio::fs::rename(&sound, &path).await.map_err(Error::io("moving", &sound))?;
    }
    if !made.participants.is_empty() {
        let dir = out.join("participants");
        tokio::fs::create_dir_all(&dir).await.map_err(Error::io("creating", &dir))?;
    }
    let mut encodings = Vec::new();
    for (user, name) in &made.participants {
        let path = add(Object::Participant { user: user.clone(), name: name.clone() }, AAC.to_owned());
        encodings.push(args::sound_file(&sound::participant_file(work, user), &path, bitrate));
    }
    for some in encodings.chunks(PARTICIPANTS_AT_ONCE) {
        try_join_all(some.iter().map(|args| ffmpeg.run("encoding a participant", args, GRACE))).await?;
    }
    if let Some(Pictures { codec, listed }) = &made.share {
        let path = add(Object::Screenshare, codec.clone());
        copy(ffmpeg, "assembling screenshare.mp4", *listed, |index| args::remux(&share, index, &path)).await?;
    }
    let pictures = [Object::Recording, Object::Screenshare].into_iter().zip(&made.shown);
    let pictures = pictures.filter(|(object, _)| files.iter().any(|file| file.object == *object));
    let pictures: Vec<_> = pictures.map(|(object, shown)| (out.join(object.name()), shown.as_slice())).collect();
    if let Some(jpeg) = poster::choose(ffmpeg, &pictures).await {
        let path = out.join(Object::Poster.name());
        tokio::fs::write(&path, jpeg).await.map_err(Error::io("writing", &path))?;
        files.push(PlannedFile { object: Object::Poster, path, duration_ms: None, codec: None });
    }
    Ok(files)
}

/// Copies tracks into a file with its index in front: in one pass, unless this ffmpeg writes a longer index than others do.
async fn copy(
    ffmpeg: &Ffmpeg,
    step: &str,
    listed: Listed,
    args: impl Fn(Index) -> Vec<OsString>,
) -> Result<(), ffmpeg::Error> {
    let copied = ffmpeg.run(step, &args(Index::Within(listed.index_bytes())), GRACE).await;
    match copied {
        Err(ffmpeg::Error::Exited { tail, .. }) if tail.contains("moov_size is too small") => {
            tracing::warn!(
                step,
                ?listed,
                tail,
                "the index was longer than expected; copying once more; please report this"
            );
            ffmpeg.run(step, &args(Index::MadeRoom), GRACE).await.map(drop)
        }
        copied => copied.map(drop),
    }
}

/// The recording's folder in the bucket.
pub(super) fn folder(template: &Template, manifest: &Manifest, started: &Started) -> Folder {
    template.folder(&FolderParts {
        started_at: manifest.started_at,
        meeting_id: started.meeting_id.as_deref(),
        meeting_uuid: &started.id,
        stream: &started.stream.stream_id,
        ordinal: manifest.recording_id.ordinal(),
        product: started.stream.product,
        account_id: started.account_id.as_deref(),
        operator_id: started.operator_id.as_deref(),
    })
}

/// What is seen in the gaps of a picture track: the slate where it is shown, else the last picture.
pub(super) fn filled(track: &TrackKey, gaps: &[Gap], slates: &[Span]) -> Vec<Filled> {
    let mut filled: Vec<Filled> = Vec::new();
    let mut add = |start: Pts, end: Pts, with: Filler| match filled.last_mut() {
        Some(last) if last.end_ms == start && last.with == with => last.end_ms = end,
        _ if start < end => filled.push(Filled { track: track.clone(), start_ms: start, end_ms: end, with }),
        _ => {}
    };
    for gap in gaps.iter().filter(|gap| gap.track == *track) {
        let mut at = gap.start;
        for slate in slates.iter().filter(|slate| slate.end > gap.start && slate.start < gap.end) {
            let (start, end) = (slate.start.max(at), slate.end.min(gap.end));
            add(at, start, Filler::Held);
            add(start, end, Filler::Slate);
            at = end;
        }
        add(at, gap.end, Filler::Held);
    }
    filled
}

/// Why a recording with these gaps is not complete, a sentence each.
pub(super) fn reasons(gaps: &[Gap]) -> Vec<String> {
    let mut missing: BTreeMap<(GapCause, String), (usize, i64)> = BTreeMap::new();
    for gap in gaps.iter().filter(|gap| !gap.cause.is_complete()) {
        let sum = missing.entry((gap.cause, gap.track.to_string())).or_default();
        sum.0 += 1;
        sum.1 += gap.end.0 - gap.start.0;
    }
    let sentence = |((cause, track), (count, ms)): (&(GapCause, String), &(usize, i64))| {
        let why = match cause {
            GapCause::Connection => "the connection was down",
            GapCause::NoKeyFrame => "pictures could not be decoded before the next key frame",
            GapCause::Disk => "the spool's disk took nothing",
            GapCause::NotSent | GapCause::Paused => "nothing was sent",
        };
        let places = if *count == 1 { "place" } else { "places" };
        format!("{ms} ms of {track} are missing in {count} {places}: {why}.")
    };
    missing.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_with_what_is_seen() {
        let gap = |start, end, cause| Gap { track: TrackKey::Camera, start: Pts(start), end: Pts(end), cause };
        let gaps = [
            gap(0, 500, GapCause::NotSent),
            gap(1000, 4000, GapCause::NotSent),
            gap(4000, 5000, GapCause::Connection),
            gap(9000, 9400, GapCause::Connection),
        ];
        let slates = [Span::new(Pts(0), Pts(500)), Span::new(Pts(2000), Pts(5000))];
        let seen: Vec<_> = filled(&TrackKey::Camera, &gaps, &slates)
            .iter()
            .map(|filled| (filled.start_ms.0, filled.end_ms.0, filled.with))
            .collect();
        use Filler::{Held, Slate};
        assert_eq!(seen, [(0, 500, Slate), (1000, 2000, Held), (2000, 5000, Slate), (9000, 9400, Held)]);
        assert!(filled(&TrackKey::Share, &gaps, &slates).is_empty());
    }

    #[test]
    fn only_gaps_of_ours_make_a_recording_incomplete() {
        let gap = |start, end, cause| Gap { track: TrackKey::Camera, start: Pts(start), end: Pts(end), cause };
        assert!(reasons(&[gap(0, 500, GapCause::NotSent), gap(500, 900, GapCause::Paused)]).is_empty());
        let gaps =
            [gap(0, 500, GapCause::Connection), gap(600, 650, GapCause::Connection), gap(700, 701, GapCause::Disk)];
        assert_eq!(
            reasons(&gaps),
            [
                "550 ms of video are missing in 2 places: the connection was down.",
                "1 ms of video are missing in 1 place: the spool's disk took nothing."
            ]
        );
    }
}
