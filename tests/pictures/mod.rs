//! Pictures on the timeline, measured in decoded files: when each is shown, what is shown when none comes, and that what
//! is copied is copied bit for bit.

mod formats;
mod losses;
mod presence;

use crate::common::script::{Clip, Look, Rendered, Script, Shown, Sound, flashes, settings, steady};
use crate::common::truth::{
    self, assert_adds_up, assert_copied, beeps, gaps, largest_offset, pictures, shown_at, slices_of,
};
use rtms_recorder::media::{GapCause, TrackKey};
use rtms_recorder::render::Settings;

/// The largest distance of sound from picture that is allowed.
const OFFSET_MS: f64 = 40.0;
/// Copied pictures have the times that they were sent with.
const EXACT_MS: f64 = 1.0;

fn slices(clip: &Clip, shown: &[Shown]) -> Vec<Vec<u8>> {
    shown.iter().flat_map(|picture| slices_of(&clip.pictures[picture.index])).collect()
}

/// Sound for as long as the recording is, beeping with each flash.
fn sound(script: &mut Script, to: i64, flashes: &[i64]) {
    script.sound(0, to, &Sound { packet_ms: 20, beeps: flashes, ..Sound::default() });
    script.ended(to);
}

/// Every flash and every beep is where it was sent; returns the largest offset of one from the other.
fn assert_in_sync(name: &str, rendered: &Rendered, sent: &[i64]) -> f64 {
    let file = rendered.file("recording.mp4");
    let seen = truth::flashes(&pictures(&file));
    let heard = beeps(&truth::sound(&file));
    let (see, hear) = (largest_offset("flashes", &seen, sent), largest_offset("beeps", &heard, sent));
    let offset = seen.iter().zip(&heard).map(|(seen, heard)| (seen - heard).abs()).fold(0.0, f64::max);
    println!("MEASURED {name}: A/V offset {offset:.2} ms over {} beeps (flash {see:.2}, beep {hear:.2})", sent.len());
    assert!(offset <= OFFSET_MS && see <= EXACT_MS && hear <= 5.0, "{name}: {offset} {see} {hear}");
    offset
}

fn times(file: &std::path::Path) -> Vec<i64> {
    pictures(file).iter().map(|picture| picture.at.round() as i64).collect()
}
