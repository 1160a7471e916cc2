//! What happens in a simulated meeting and when, and how that is written on the command line.
//!
//! All times are media time in milliseconds since the stream's start: at `--speed 4` second 20 comes after 5 s.

use crate::protocol::message::Medium;
use std::time::Duration;

/// A stretch of media time, from `start_ms` up to and without `end_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
}

impl Span {
    /// Whether `ms` lies in it.
    pub fn contains(self, ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&ms)
    }
}

/// Which sockets a cut takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Signaling, and the media sockets with it.
    Signaling,
    /// The socket that carries this medium.
    Medium(Medium),
    /// Every media socket; signaling stays.
    AllMedia,
}

/// A socket that the simulator closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which.
    pub target: Target,
    /// When.
    pub at_ms: i64,
}

/// Width and height of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// In pixels, even.
    pub width: u32,
    /// In pixels, even.
    pub height: u32,
}

impl Size {
    /// The largest size of the same shape within `limit`.
    pub(super) fn within(self, limit: Self) -> Self {
        if self.width <= limit.width && self.height <= limit.height {
            return self;
        }
        let ratio =
            f64::min(f64::from(limit.width) / f64::from(self.width), f64::from(limit.height) / f64::from(self.height));
        let even = |n: u32| ((f64::from(n) * ratio / 2.0).floor() as u32).max(8) * 2;
        Self { width: even(self.width), height: even(self.height) }
    }
}

/// The script of every meeting of a run. Empty by default: everybody present, camera on, nothing breaks.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// No pictures: nobody's camera is on.
    pub camera_off: Vec<Span>,
    /// No sound packets at all.
    pub silence: Vec<Span>,
    /// Paused by a user: no media, and the states say so.
    pub pause: Vec<Span>,
    /// Somebody shares a screen.
    pub share: Vec<Span>,
    /// Sockets to close.
    pub cuts: Vec<Cut>,
    /// Drop the TCP connection without a close frame.
    pub cut_silently: bool,
    /// The server dies and the stream goes on at another address, told by a new started event.
    pub failover_ms: Vec<i64>,
    /// When the event WebSocket is cut.
    pub events_cut_ms: Vec<i64>,
    /// Zoom takes the connection for broken: the event is posted, and the old sockets stay open but mute.
    pub interrupted_ms: Vec<i64>,
    /// Pictures of another size from the next key frame on.
    pub size_changes: Vec<(i64, Size)>,
}

impl Script {
    /// Whether a packet of `medium` made at `ms` is never sent, whatever the connections do.
    pub(super) fn withholds(&self, medium: Medium, ms: i64) -> bool {
        let within = |spans: &[Span]| spans.iter().any(|s| s.contains(ms));
        within(&self.pause)
            || match medium {
                Medium::Audio => within(&self.silence),
                Medium::Video => within(&self.camera_off),
                Medium::Share => !within(&self.share),
                Medium::Transcript | Medium::Chat => false,
            }
    }
}

/// Reads `10..15` or `10s..1m`.
pub(super) fn parse_span(text: &str) -> Result<Span, String> {
    let (start, end) =
        text.split_once("..").ok_or("a span is START..END in seconds of media time, for example 10..15")?;
    let (start_ms, end_ms) = (parse_ms(start)?, parse_ms(end)?);
    if start_ms >= end_ms {
        return Err("the span ends before it starts".into());
    }
    Ok(Span { start_ms, end_ms })
}

/// Reads `video@12`.
pub(super) fn parse_cut(text: &str) -> Result<Cut, String> {
    let (target, at) = text.split_once('@').ok_or("a cut is SOCKET@SECONDS, for example video@12")?;
    let target = match target {
        "signaling" => Target::Signaling,
        "all" => Target::AllMedia,
        other => Target::Medium(parse_medium(other)?),
    };
    Ok(Cut { target, at_ms: parse_ms(at)? })
}

/// Reads `video`; `deskshare` is Zoom's word for `share`.
pub(super) fn parse_medium(text: &str) -> Result<Medium, String> {
    Medium::ALL
        .into_iter()
        .find(|m| m.as_str() == text || m.params_key() == text)
        .ok_or_else(|| format!("{text:?} is none of audio, video, share, transcript, chat"))
}

/// Reads `1280x720`.
pub(super) fn parse_size(text: &str) -> Result<Size, String> {
    let size = text.split_once('x').and_then(|(w, h)| Some(Size { width: w.parse().ok()?, height: h.parse().ok()? }));
    match size {
        Some(s) if s.width.is_multiple_of(2) && s.height.is_multiple_of(2) && s.width >= 16 && s.height >= 16 => Ok(s),
        _ => Err("a size is WIDTHxHEIGHT in even numbers, for example 1280x720".into()),
    }
}

/// Reads `10:640x360`.
pub(super) fn parse_size_change(text: &str) -> Result<(i64, Size), String> {
    let (at, size) = text.split_once(':').ok_or("a size change is SECONDS:WIDTHxHEIGHT, for example 10:640x360")?;
    Ok((parse_ms(at)?, parse_size(size)?))
}

/// Reads `30`, `2.5`, `30s`, `500ms`, `5m`, `1h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30s, 2.5, 500ms, 5m or 1h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_s = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * unit_s).map_err(|_| wrong())
}

/// Reads a duration into milliseconds.
pub(super) fn parse_ms(text: &str) -> Result<i64, String> {
    let seconds = parse_duration(text)?.as_secs_f64();
    Ok((seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cuts_and_sizes_are_read() {
        let span = parse_span("10..1m").unwrap();
        assert_eq!((span.start_ms, span.end_ms), (10_000, 60_000));
        assert!(span.contains(10_000) && !span.contains(60_000));
        assert_eq!(parse_cut("video@2.5").unwrap(), Cut { target: Target::Medium(Medium::Video), at_ms: 2500 });
        assert_eq!(parse_cut("signaling@1").unwrap().target, Target::Signaling);
        assert_eq!(parse_cut("deskshare@1").unwrap().target, Target::Medium(Medium::Share));
        assert_eq!(parse_size_change("10:640x360").unwrap().0, 10_000);
        assert_eq!(parse_ms("500ms").unwrap(), 500);
        for wrong in ["", "5", "5..", "9..3", "x..y", "-1..2"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
        for wrong in ["video", "film@3", "video@", "1280", "3x3", "é@1"] {
            assert!(parse_cut(wrong).is_err() && parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_is_fitted_into_a_ceiling_and_stays_even() {
        let size = |width, height| Size { width, height };
        assert_eq!(size(1280, 720).within(size(854, 480)), size(852, 480));
        assert_eq!(size(640, 360).within(size(1280, 720)), size(640, 360));
        assert_eq!(size(720, 1280).within(size(1280, 720)), size(404, 720));
    }
}
