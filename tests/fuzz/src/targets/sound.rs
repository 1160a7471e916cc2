//! The tracks of sound, and what stands before them: a track is as long as the time it stands for, and every sample
//! that came is accounted for.

use crate::input::{Input, Seed};
use rtms_recorder::ids::UserId;
use rtms_recorder::media::{Pts, SAMPLES_PER_MS, Timestamp};
use rtms_recorder::timeline::admit::Admission;
use rtms_recorder::timeline::clock::{Clock, PausePolicy, Place};
use rtms_recorder::timeline::mix::{DELAY_MS, Mix};
use rtms_recorder::timeline::pcm::{Channels, Decoder, Format, Rate};
use rtms_recorder::timeline::sound::{Piece, Sound};
use rtms_recorder::timeline::{GAP_MS, Span};

const ZERO: i64 = 1_795_000_000_000;
/// The longest packet, in samples.
const LONGEST: u16 = 4000;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => sound(&mut input),
        1 => mix(&mut input),
        2 => decoder(&mut input),
        _ => clock(&mut input),
    }
}

/// What a track hands over, counted.
#[derive(Default)]
struct Sink {
    samples: u64,
    silence: u64,
}

impl Sink {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Samples(samples) => self.samples += samples.len() as u64,
            Piece::Silence(samples) => self.silence += samples,
        }
    }

    fn length(&self) -> u64 {
        self.samples + self.silence
    }
}

/// The times of packets that mostly follow each other.
#[derive(Default)]
struct Times(i64);

impl Times {
    fn next(&mut self, input: &mut Input, samples: usize) -> i64 {
        let at = match input.u8() {
            0..160 => self.0,
            160..220 => self.0.saturating_add(i64::from(input.u8()) - 128),
            220..250 => self.0.saturating_add(input.step_ms()),
            _ => input.step_ms(),
        };
        if (0..1 << 40).contains(&at) {
            self.0 = at + samples as i64 / SAMPLES_PER_MS;
        }
        at
    }
}

fn packet(input: &mut Input) -> Vec<i16> {
    let len = match input.u8() % 8 {
        0 => input.below(LONGEST),
        1 => 1,
        2 => 0,
        3 => LONGEST,
        4 => 1600,
        _ => 320,
    };
    vec![i16::from(input.u8()) << 4; len.into()]
}

fn end_of(input: &mut Input, last_end: Pts) -> Pts {
    match input.u8() {
        0..128 => last_end,
        128..250 => Pts(last_end.0.saturating_add(input.step_ms())),
        _ => Pts(i64::from(input.u16())),
    }
}

fn sound(input: &mut Input) {
    let (mut track, mut sink, mut times) = (Sound::default(), Sink::default(), Times::default());
    let mut received = 0;
    for _ in 0..150 {
        if input.is_empty() {
            break;
        }
        let samples = packet(input);
        let at = times.next(input, samples.len());
        track.push(Pts(at), &samples, &mut |piece| sink.take(piece));
        received += samples.len() as u64;
        let counts = track.counts();
        assert_eq!(counts.received, received);
        assert_eq!(received, counts.used + counts.overlap + counts.bad_time, "{counts:?}");
        assert_eq!(sink.silence, counts.filled, "{counts:?}");
        let stand = counts.used + counts.filled + counts.inserted - counts.removed;
        assert_eq!(track.stand().unsigned_abs(), stand, "{counts:?}");
        assert!((0..=256).contains(&(track.stand() - sink.length() as i64)), "more is held back than is needed");
    }
    let end = end_of(input, track.last_end());
    let expected = (track.stand()).max(end.0.saturating_mul(SAMPLES_PER_MS));
    let summary = track.finish(end, &mut |piece| sink.take(piece));
    assert_eq!(summary.length, sink.length());
    assert_eq!(summary.length, expected.unsigned_abs());
    assert_eq!(summary.counts.filled, sink.silence);
    check_gaps(&summary.gaps, summary.length);
}

fn check_gaps(gaps: &[Span], length: u64) {
    for gap in gaps {
        assert!(gap.start.0 >= 0 && gap.ms() >= GAP_MS, "{gap:?}");
        assert!((gap.end.0 - 1).saturating_mul(SAMPLES_PER_MS).unsigned_abs() <= length, "{gap:?}");
    }
    assert!(gaps.windows(2).all(|pair| pair[0].end <= pair[1].start), "{gaps:?}");
}

fn mix(input: &mut Input) {
    let (mut mix, mut sink) = (Mix::default(), Sink::default());
    let mut times: [Times; 4] = Default::default();
    let mut received = 0;
    for _ in 0..150 {
        if input.is_empty() {
            break;
        }
        let user = usize::from(input.below(4));
        let samples = packet(input);
        let at = times[user].next(input, samples.len());
        mix.push(&UserId::new(user.to_string()), Pts(at), &samples, &mut |piece| sink.take(piece));
        received += samples.len() as u64;
        let behind = mix.last_end().0 * SAMPLES_PER_MS - sink.length() as i64;
        let most = DELAY_MS * SAMPLES_PER_MS + 2 * i64::from(LONGEST);
        assert!((0..=most).contains(&behind), "{behind} samples are held back");
    }
    let last_end = mix.last_end();
    let end = end_of(input, last_end);
    let summary = mix.finish(end, &mut |piece| sink.take(piece));
    assert_eq!(summary.length, sink.length());
    let exact = end.0.saturating_mul(SAMPLES_PER_MS).unsigned_abs();
    let least = (last_end.0 * SAMPLES_PER_MS - (SAMPLES_PER_MS - 1)).max(0).unsigned_abs();
    if end >= last_end {
        assert_eq!(summary.length, exact);
    } else {
        assert!(summary.length >= least, "cut off: {} of {least}", summary.length);
    }
    let counts = summary.counts;
    assert!(counts.late + counts.overlap + counts.bad_time <= received + 1000, "{counts:?}");
    check_gaps(&summary.gaps, summary.length);
}

fn decoder(input: &mut Input) {
    let rate = input.pick(&[Rate::Hz8000, Rate::Hz16000, Rate::Hz32000, Rate::Hz48000]);
    let channels = input.pick(&[Channels::Mono, Channels::Stereo]);
    let mut decoder = Decoder::new(Format { rate, channels });
    let width = if channels == Channels::Mono { 2 } else { 4 };
    let mut times = Times::default();
    let (mut frames, mut bytes, mut whole, mut packets) = (Vec::new(), 0, 0, 0);
    while !input.is_empty() && packets < 60 {
        let mut data = input.chunk().to_vec();
        data.resize(data.len() + usize::from(input.u8()) * 4, 7);
        let at = times.next(input, data.len() / width * 16 / rate.samples_per_ms());
        let before = frames.len();
        decoder.push(Timestamp(at), &data, &mut frames);
        assert!(frames.len() - before <= 2);
        bytes += data.len();
        whole += data.len() / width;
        packets += 1;
    }
    decoder.finish(&mut frames);
    assert_eq!(decoder.dropped_bytes() as usize, bytes - whole * width);
    assert!(frames.iter().all(|frame| !frame.samples.is_empty()));
    let made: usize = frames.iter().map(|frame| frame.samples.len()).sum();
    let (per_ms, exact) = (rate.samples_per_ms(), whole * 16);
    if rate == Rate::Hz16000 {
        assert_eq!(made, whole);
    } else {
        // A sample more for each run that ends between two.
        assert!(
            made * per_ms >= exact && made * per_ms <= exact + packets * per_ms,
            "{made} out of {whole} at {rate:?}"
        );
    }
}

fn clock(input: &mut Input) {
    let policy = input.pick(&[PausePolicy::Cut, PausePolicy::Keep]);
    let zero = if input.u8() < 250 { ZERO } else { input.i64() };
    let mut clock = Clock::new(Timestamp(zero), policy);
    let mut admission = Admission::default();
    let mut passed = Vec::new();
    let mut asked = Vec::new();
    let mut at = zero;
    for count in 0..60 {
        if input.is_empty() {
            break;
        }
        at = if input.u8() < 250 { at.saturating_add(input.step_ms()) } else { input.i64() };
        let now = Timestamp(at);
        match input.u8() % 4 {
            0 => clock.pause(now),
            1 => clock.resume(now),
            _ => {
                admission.push(now, asked.len(), &mut passed);
                asked.push(now);
            }
        }
        let samples = vec![1i16; usize::from(input.u8()) * 8];
        let (mut kept, mut next) = (0, None);
        let cut = clock.cut(now, &samples, |pts, piece| {
            // What is cut takes no time.
            let is_sane = at >= zero && at.saturating_sub(zero) < 1 << 50;
            assert!(!is_sane || next.is_none_or(|next| next == pts.0 * SAMPLES_PER_MS), "{pts:?} after {next:?}");
            next = is_sane.then(|| pts.0 * SAMPLES_PER_MS + piece.len() as i64);
            kept += piece.len();
        });
        assert_eq!(kept + cut, samples.len());
        if policy == PausePolicy::Keep {
            assert_eq!(cut, 0);
        }
        assert!(asked.len() <= count + 1);
    }
    passed.extend(admission.finish());
    assert_eq!(passed.len() as u64 + admission.dropped(), asked.len() as u64);
    assert!(passed.windows(2).all(|pair| pair[0].1 < pair[1].1), "packets changed places");
    assert!(passed.iter().all(|&(time, index)| asked[index] == time));

    crate::trace!("zero {zero}, {policy:?}, pauses {:?}", clock.pauses());
    // Beyond that, differences saturate.
    asked.retain(|now| now.0.checked_sub(zero).is_some_and(|ms| ms.abs() < 1 << 50));
    asked.sort_unstable();
    for &now in &asked {
        crate::trace!("{now:?} {:?} {:?}", clock.place(now), clock.pts(now));
    }
    assert!(asked.windows(2).all(|pair| clock.pts(pair[0]) <= clock.pts(pair[1])), "time goes back");
    for now in asked {
        match clock.place(now) {
            Place::At(pts) => {
                assert!(pts.0 >= 0 && now.0 >= zero && pts == clock.pts(now));
                assert_eq!(clock.timestamp(pts), now);
            }
            Place::BeforeZero => assert!(now.0 < zero),
            Place::Paused => assert_eq!(policy, PausePolicy::Cut),
        }
    }
    let pauses = clock.pauses();
    let closed: Vec<_> = pauses.iter().filter_map(|&(start, end)| Some((start, end?))).collect();
    assert!(closed.iter().all(|(start, end)| start < end));
    assert!(closed.windows(2).all(|pair| pair[0].1 < pair[1].0), "{pauses:?}");
}

pub fn seeds() -> Vec<Vec<u8>> {
    // Length, value, time.
    let steady = [5, 40, 0].repeat(60);
    let late = [&[4, 9, 0][..], &[4, 9, 180, 148], &[4, 9, 0].repeat(80)].concat();
    let gaps = [&[5, 9, 0][..], &[5, 9, 230, 210, 200, 0], &[5, 9, 250, 0], &[5, 9, 230, 250, 10, 0]].concat();
    let mut seeds = Vec::new();
    for packets in [&steady, &late, &gaps] {
        seeds.push(Seed::default().u8(0).raw(packets).0);
        let users = packets.chunks(3).enumerate().flat_map(|(i, packet)| [&[(i % 3) as u8][..], packet].concat());
        seeds.push(Seed::default().u8(1).raw(&users.collect::<Vec<u8>>()).0);
    }
    for rate in 0..4 {
        let packets = [&[4, 1, 2, 3, 4, 100, 0][..], &[0, 200, 0], &[3, 1, 2, 3, 40, 190, 255], &[0, 10, 0]].concat();
        seeds.push(Seed::default().raw(&[2, rate, rate]).raw(&packets).0);
    }
    let clock =
        [&[0, 20, 2, 100][..], &[0, 20, 0, 100], &[0, 100, 2, 100], &[0, 20, 1, 255], &[0, 50, 2, 255]].concat();
    seeds.push(Seed::default().raw(&[3, 0, 0]).raw(&clock).0);
    seeds
}
