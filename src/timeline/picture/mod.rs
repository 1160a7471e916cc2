//! One track of pictures: access units and images in order of arrival in, frames without a hole out.
//!
//! It owns when each picture is shown, which can be decoded, what is shown while none comes, and whether a picture is
//! copied or encoded. It leaves to others how a slate looks, encoding, containers, and why something is missing.
//!
//! **Order.** PTS strictly increase: a picture that is not newer than the last is shown 1 ms after it if it is behind by
//! a frame interval at most, and dropped as late if by more. There is one exception: a key frame that ends the wait after a
//! lost connection may be behind by up to [`CATCH_UP_MS`]; it and its successors then follow by 1 ms each until they have
//! caught up, because dropping it would make them undecodable until the next key frame, however far off that is.
//!
//! **Key frames.** An IDR with SPS and PPS is waited for at the start, after a lost connection, after an SPS whose content
//! is not that in force and which came without an IDR, and after an image; nowhere else. SPS and PPS are remembered, and
//! put in front of each IDR that comes without. What is dropped meanwhile is a gap from the first dropped picture to
//! the next one shown.
//!
//! **Holes.** The track starts at zero, with a slate until the first picture. A hole is more than 1 s (or 2.5 frame
//! intervals, if that is longer) from one picture to the next; where a connection was lost in between, 2.5 frame intervals
//! are missing already. If the next is a key frame, or the track ends, the last
//! picture is held for that time and a slate follows; else it is held throughout, because a slate within a run would break its
//! decoding. A shared screen is held throughout unless sharing stopped: then the slate starts there, if the next
//! picture is a key frame. Shared images may come once a second. Slates are repeated every 2 s.
//!
//! **Encoding.** Decided at key frames only, for the whole run that follows: [`EncodePolicy`].
//!
//! Invariants: frames follow each other exactly (`pts + duration_ms` is the next `pts`), the first is at zero, the last
//! ends with the track; whatever follows a slate, an image or a change between copied and encoded is a key frame.
//! A frame is handed over when the next is known, and an access unit when the next message has come.

use super::gaps::Missing;
use super::image::{Size, size, sniff};
use super::sets::{ParameterSets, Slice, Sps};
use super::spans::SpanSet;
use super::units::Units;
use super::{MAX_JUMP_MS, Span};
use crate::media::{PictureCodec, Pts};
use bytes::Bytes;
use std::num::NonZeroU32;

/// How far behind the last picture (in ms) a key frame may be that follows a lost connection.
pub const CATCH_UP_MS: i64 = 5000;

/// From one slate to the next, in ms.
pub const SLATE_EVERY_MS: i64 = 2000;

/// A hole is longer than this (in ms), and than 2.5 frame intervals.
const HOLE_MS: i64 = 1000;

/// A step between pictures of this many ms or less says how long the frame interval is.
const INTERVAL_MAX_MS: i64 = 1000;

/// The frame interval (in ms) of a shared screen sent as images: Zoom's default is one a second.
const SHARED_IMAGE_INTERVAL_MS: i64 = 1000;

/// A picture this long (in ms) after sharing stopped proves that somebody shares again.
const STRAGGLER_MS: i64 = 2000;

/// Where the pictures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Cameras: without pictures, a slate.
    Camera,
    /// A shared screen: without pictures, the last one.
    Share,
}

/// Which pictures are encoded anew. Images (JPG, PNG) always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodePolicy {
    /// H.264 is copied if it has the canvas's aspect ratio within 1 %.
    Auto,
    /// H.264 is always copied.
    Copy,
    /// Everything is encoded.
    Always,
}

/// What a track is made for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where the pictures come from.
    pub mode: Mode,
    /// Which are encoded.
    pub encode: EncodePolicy,
    /// The size of slates and of encoded pictures.
    pub canvas: Size,
    /// Pictures per second to expect, until they tell themselves.
    pub fps: NonZeroU32,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An H.264 access unit in Annex B, as it came (a key frame has SPS and PPS).
    Copy(Bytes),
    /// A picture to be scaled onto the canvas and encoded.
    Encode(Bytes, PictureCodec),
    /// The slate.
    Slate,
}

/// A picture and when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it appears.
    pub pts: Pts,
    /// Until the next one, or the end of the track; at least 1.
    pub duration_ms: i64,
    /// Whether decoding can start here.
    pub key: bool,
    /// What it is.
    pub what: What,
}

/// What became of the pictures of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pictures: `shown + no_key_frame + late`, and at most one that is held back.
    pub received: u64,
    /// Became a frame.
    pub shown: u64,
    /// Dropped for want of a key frame.
    pub no_key_frame: u64,
    /// Dropped because the track had gone past them.
    pub late: u64,
    /// Messages dropped because their timestamp was more than [`MAX_JUMP_MS`] ahead.
    pub bad_time: u64,
    /// Messages or units without a picture: parameter sets alone, or what cannot be read.
    pub no_picture: u64,
    /// Those of them that are images whose head cannot be read.
    pub broken_images: u64,
    /// Messages that continued a picture of the message before.
    pub joined: u64,
    /// Pictures that came in one message with another.
    pub split: u64,
    /// Slates.
    pub slates: u64,
}

/// A track that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Where it ends.
    pub end: Pts,
    /// Where pictures were missing.
    pub missing: Missing,
    /// Where pictures came when the track had gone past them, and were dropped; ascending.
    pub late: Vec<Span>,
    /// What became of the pictures.
    pub counts: Counts,
}

/// A track of pictures in the making.
#[derive(Debug)]
pub struct Track {
    settings: Settings,
    units: Units,
    sets: ParameterSets,
    chain: Chain,
    connection: Connection,
    order: Order,
    route: Route,
    sharing: Sharing,
    /// The latest time of any message.
    newest: Option<Pts>,
    /// The last picture shown: where it was put, and its own time.
    last: Option<(Pts, Pts)>,
    /// From one picture to the next.
    interval_ms: i64,
    /// The frame whose duration is not known yet.
    open: Option<Frame>,
    first_undecodable: Option<Pts>,
    late: SpanSet,
    missing: Missing,
    counts: Counts,
}

/// Whether the next H.264 picture has what it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Whole,
    Broken,
}

/// Whether the connection was lost since the last picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Unbroken,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Regular,
    /// Behind the last picture since a reconnect.
    CatchingUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Copy,
    Encode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    On,
    Stopped(Pts),
    /// Stopped, then on again; no picture yet.
    Restarted {
        stop: Pts,
        again: Pts,
    },
}

/// What ends a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Key,
    Dependent,
    End,
}

impl Track {
    /// A track that starts at zero.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            units: Units::default(),
            sets: ParameterSets::default(),
            chain: Chain::Broken,
            connection: Connection::Unbroken,
            order: Order::Regular,
            route: Route::Encode,
            sharing: Sharing::On,
            newest: None,
            last: None,
            interval_ms: 1000 / i64::from(settings.fps.get()),
            open: None,
            first_undecodable: None,
            late: SpanSet::default(),
            missing: Missing::default(),
            counts: Counts::default(),
        }
    }

    /// Takes the next message and appends the frames that are complete now. The first bytes count for more than `codec`,
    /// which only says what was asked for.
    pub fn push(&mut self, pts: Pts, codec: PictureCodec, data: Bytes, out: &mut Vec<Frame>) {
        let newest = self.newest.unwrap_or(Pts(0));
        if pts.0.saturating_sub(newest.0) > MAX_JUMP_MS {
            self.counts.bad_time += 1;
            return;
        }
        self.newest = Some(pts.max(newest));
        match sniff(&data).unwrap_or(codec) {
            PictureCodec::H264 => {
                let mut units = Vec::new();
                self.units.push(pts, data, &mut units);
                for (pts, unit) in units {
                    self.unit(pts, unit, out);
                }
            }
            image => {
                self.flush(out);
                if size(&data).is_some() {
                    self.picture(pts, Next::Key, image, data, out);
                    // The next H.264 picture cannot refer to what was before the image.
                    self.chain = Chain::Broken;
                } else {
                    self.counts.no_picture += 1;
                    self.counts.broken_images += 1;
                }
            }
        }
    }

    /// The connection was lost here: what follows may lack what it refers to.
    pub fn connection_lost(&mut self, out: &mut Vec<Frame>) {
        self.units.lose_rest();
        self.flush(out);
        self.chain = Chain::Broken;
        self.connection = Connection::Broken;
    }

    /// Somebody began to share at `at`.
    pub fn sharing_started(&mut self, at: Pts) {
        if let Sharing::Stopped(stop) = self.sharing {
            let shown_already = self.last.is_some_and(|(last, _)| last >= at);
            self.sharing = if shown_already { Sharing::On } else { Sharing::Restarted { stop, again: at } };
        }
    }

    /// Nobody shares any more since `at`.
    pub fn sharing_stopped(&mut self, at: Pts) {
        let since = match self.sharing {
            Sharing::On => at,
            Sharing::Stopped(stop) | Sharing::Restarted { stop, .. } => stop,
        };
        self.sharing = Sharing::Stopped(since);
    }

    /// Where the last message ends: its time and a frame interval.
    pub fn last_end(&self) -> Pts {
        let newest = self.newest.max(self.last.map(|(last, _)| last));
        newest.map_or(Pts(0), |pts| Pts(pts.0.saturating_add(self.interval_ms)))
    }

    /// What became of the pictures so far.
    pub fn counts(&self) -> Counts {
        Counts { joined: self.units.joined(), split: self.units.split(), ..self.counts }
    }

    /// Ends the track at `end` and appends the remaining frames. The end is moved behind the last picture if it is before
    /// that, and to [`MAX_JUMP_MS`] behind the last message if it is later.
    pub fn finish(mut self, end: Pts, out: &mut Vec<Frame>) -> Summary {
        self.flush(out);
        let earliest = self.last.map_or(0, |(last, _)| last.0.saturating_add(1));
        let latest = self.last_end().0.saturating_add(MAX_JUMP_MS).max(earliest);
        let end = Pts(end.0.clamp(earliest, latest));
        self.fill(end, Next::End, out);
        self.decodable_from(end);
        self.close(end, out);
        let late = self.late.iter().map(|(start, end)| Span::new(Pts(start), Pts(end))).collect();
        Summary { end, late, counts: self.counts(), missing: self.missing }
    }

    fn flush(&mut self, out: &mut Vec<Frame>) {
        if let Some((pts, unit)) = self.units.flush() {
            self.unit(pts, unit, out);
        }
    }

    /// Takes an H.264 access unit.
    fn unit(&mut self, pts: Pts, unit: Bytes, out: &mut Vec<Frame>) {
        let look = self.sets.look(&unit);
        if look.sps == Sps::Replaced && look.slice != Slice::Idr {
            self.chain = Chain::Broken;
        }
        let completed = match look.slice {
            Slice::Idr if look.self_contained => Some(unit.clone()),
            Slice::Idr => self.sets.complete(&unit),
            Slice::Other => None,
            Slice::None => {
                self.counts.no_picture += 1;
                return;
            }
        };
        match completed {
            Some(key) => self.picture(pts, Next::Key, PictureCodec::H264, key, out),
            None => self.picture(pts, Next::Dependent, PictureCodec::H264, unit, out),
        }
    }

    /// Takes a picture.
    fn picture(&mut self, pts: Pts, next: Next, codec: PictureCodec, data: Bytes, out: &mut Vec<Frame>) {
        self.counts.received += 1;
        let Some(at) = self.place(pts, next) else {
            self.counts.late += 1;
            self.late.insert(pts.0, pts.0.saturating_add(self.interval_ms));
            return;
        };
        if next == Next::Key {
            self.route = self.choose(codec);
            self.chain = Chain::Whole;
        } else if self.chain == Chain::Broken {
            self.counts.no_key_frame += 1;
            self.first_undecodable.get_or_insert(at);
            return;
        }
        if self.settings.mode == Mode::Share && codec != PictureCodec::H264 {
            self.interval_ms = self.interval_ms.max(SHARED_IMAGE_INTERVAL_MS);
        }
        self.order = if at == pts { Order::Regular } else { self.order };
        self.fill(at, next, out);
        self.connection = Connection::Unbroken;
        self.decodable_from(at);
        self.show(
            Frame {
                pts: at,
                duration_ms: 1,
                key: next == Next::Key,
                what: match self.route {
                    Route::Copy => What::Copy(data),
                    Route::Encode => What::Encode(data, codec),
                },
            },
            out,
        );
        if let Some((_, last)) = self.last {
            let step = pts.0.saturating_sub(last.0);
            if (2..=INTERVAL_MAX_MS).contains(&step) {
                self.interval_ms = step;
            }
        }
        self.last = Some((at, pts));
        self.counts.shown += 1;
        self.note_sharing(at);
    }

    /// Where a picture is shown; `None` if it comes too late.
    fn place(&mut self, pts: Pts, next: Next) -> Option<Pts> {
        let last = self.last.map_or(-1, |(last, _)| last.0);
        if pts.0 > last {
            return Some(pts);
        }
        let behind = last.saturating_sub(pts.0);
        if self.chain == Chain::Broken && next == Next::Key && behind <= CATCH_UP_MS {
            self.order = Order::CatchingUp;
        }
        let near = behind <= self.interval_ms || self.order == Order::CatchingUp;
        near.then_some(Pts(last.saturating_add(1)))
    }

    fn choose(&self, codec: PictureCodec) -> Route {
        let fits = |size: Size| size.has_aspect_of(self.settings.canvas);
        match (codec, self.settings.encode) {
            (PictureCodec::H264, EncodePolicy::Copy) => Route::Copy,
            (PictureCodec::H264, EncodePolicy::Auto) if self.sets.size().is_some_and(fits) => Route::Copy,
            _ => Route::Encode,
        }
    }

    /// Judges the time from the last picture to `until`: whether it is a hole, and what is shown in it.
    fn fill(&mut self, until: Pts, next: Next, out: &mut Vec<Frame>) {
        let hole_ms = HOLE_MS.max(self.interval_ms.saturating_mul(5) / 2);
        let Some((last, _)) = self.last else {
            self.slates(Pts(0), until, out);
            if until.0 > 0 {
                self.missing.media.push(Span::new(Pts(0), until));
            }
            return;
        };
        let last_end = Pts(last.0.saturating_add(self.interval_ms));
        let apart_ms = until.0.saturating_sub(last.0);
        // Pictures that were lost with a connection are missing, however few they are.
        let missing_ms = match self.connection {
            Connection::Unbroken => hole_ms,
            Connection::Broken => self.interval_ms.saturating_mul(5) / 2,
        };
        if apart_ms > missing_ms {
            self.missing.media.push(Span::new(last_end, until));
        }
        if apart_ms <= hole_ms {
            return;
        }
        let slates_from = match (self.settings.mode, self.sharing) {
            (Mode::Camera, _) => Some(Pts(last.0.saturating_add(hole_ms))),
            (Mode::Share, Sharing::On) => None,
            (Mode::Share, Sharing::Stopped(stop) | Sharing::Restarted { stop, .. }) => Some(stop.max(last_end)),
        };
        if let (Some(from), Next::Key | Next::End) = (slates_from, next) {
            self.slates(from, until, out);
        }
    }

    fn slates(&mut self, from: Pts, until: Pts, out: &mut Vec<Frame>) {
        let mut at = from;
        while at < until {
            let slate = Frame { pts: at, duration_ms: 1, key: true, what: What::Slate };
            self.show(slate, out);
            self.counts.slates += 1;
            at = Pts(at.0.saturating_add(SLATE_EVERY_MS));
        }
    }

    /// Pictures can be decoded again from `at` on.
    fn decodable_from(&mut self, at: Pts) {
        if let Some(first) = self.first_undecodable.take().filter(|&first| first < at) {
            self.missing.key_frame.push(Span::new(first, at));
        }
    }

    /// A picture is shown at `at`: is it of a new share, or one that was on its way when sharing stopped?
    fn note_sharing(&mut self, at: Pts) {
        let on_its_way = match self.sharing {
            Sharing::On => false,
            Sharing::Stopped(stop) => at.0.saturating_sub(stop.0) <= STRAGGLER_MS,
            Sharing::Restarted { stop, again } => at.0.saturating_sub(stop.0) <= STRAGGLER_MS && at < again,
        };
        if !on_its_way {
            self.sharing = Sharing::On;
        }
    }

    fn show(&mut self, frame: Frame, out: &mut Vec<Frame>) {
        self.close(frame.pts, out);
        self.open = Some(frame);
    }

    fn close(&mut self, until: Pts, out: &mut Vec<Frame>) {
        if let Some(mut frame) = self.open.take() {
            frame.duration_ms = until.0.saturating_sub(frame.pts.0);
            out.push(frame);
        }
    }
}

#[cfg(test)]
mod tests;
