//! L16 as Zoom sends it, to the mono 16 kHz that tracks are made of.
//!
//! It owns the byte format, the mean of two channels and the change of rate. It leaves the place of the samples to
//! [`super::sound`] and other codecs to whoever decodes them.
//!
//! 16 kHz mono passes bit by bit, stereo as the mean of both. Other rates go through a Kaiser-windowed low-pass that
//! looks 4 ms to both sides. Its state goes on from packet to packet, so borders do not click; as it has to wait for
//! 4 ms of the next packet, a frame has the time of its own first sample, not its packet's. When the sound breaks off
//! ([`super::GAP_MS`] between a packet's end and the next one's time) the rest is handed over as a frame of its own.

use super::GAP_MS;
use super::filter::{dot, kaiser, quantize, sinc};
use crate::media::{AudioFrame, SAMPLE_RATE, Timestamp};

/// How far the low-pass looks to both sides.
const HALF_MS: usize = 4;
/// The middle of its slope lies this far (in Hz) below the lower of the two Nyquist frequencies; so does its end above.
const SLOPE_HZ: f64 = 330.0;
const BETA: f64 = 8.0;

/// The rates that Zoom offers for L16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// 8 kHz
    Hz8000,
    /// 16 kHz
    Hz16000,
    /// 32 kHz
    Hz32000,
    /// 48 kHz
    Hz48000,
}

impl Rate {
    /// Samples of one channel in a millisecond.
    pub fn samples_per_ms(self) -> usize {
        match self {
            Self::Hz8000 => 8,
            Self::Hz16000 => 16,
            Self::Hz32000 => 32,
            Self::Hz48000 => 48,
        }
    }
}

/// The channels that Zoom offers for L16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channels {
    /// One.
    Mono,
    /// Two, interleaved.
    Stereo,
}

/// Signed 16-bit little-endian PCM without a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// Samples per second and channel.
    pub rate: Rate,
    /// Channels per sample.
    pub channels: Channels,
}

/// Turns the packets of one source into [`AudioFrame`]s.
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    converter: Option<Converter>,
    dropped_bytes: u64,
}

impl Decoder {
    /// A decoder for packets of one format.
    pub fn new(format: Format) -> Self {
        Self { format, converter: Converter::new(format.rate), dropped_bytes: 0 }
    }

    /// The format that it decodes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Takes a packet and appends the frames that are complete now: none to two. What is left at its end of an
    /// incomplete sample is dropped and counted.
    pub fn push(&mut self, timestamp: Timestamp, bytes: &[u8], out: &mut Vec<AudioFrame>) {
        let samples = self.mono(bytes);
        match &mut self.converter {
            None if samples.is_empty() => {}
            None => out.push(AudioFrame { timestamp, samples }),
            Some(converter) => converter.push(timestamp, &samples, out),
        }
    }

    /// Hands over what still waits for a next packet.
    pub fn finish(&mut self, out: &mut Vec<AudioFrame>) {
        if let Some(converter) = &mut self.converter {
            converter.finish(out);
        }
    }

    /// Bytes dropped so far because they were no whole sample.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    fn mono(&mut self, bytes: &[u8]) -> Vec<i16> {
        let (samples, rest) = match self.format.channels {
            Channels::Mono => {
                let (samples, rest) = bytes.as_chunks::<2>();
                (samples.iter().map(|&s| i16::from_le_bytes(s)).collect(), rest)
            }
            Channels::Stereo => {
                let (samples, rest) = bytes.as_chunks::<4>();
                (samples.iter().map(mean).collect(), rest)
            }
        };
        self.dropped_bytes += rest.len() as u64;
        samples
    }
}

fn mean(&[l0, l1, r0, r1]: &[u8; 4]) -> i16 {
    let sum = i32::from(i16::from_le_bytes([l0, l1])) + i32::from(i16::from_le_bytes([r0, r1]));
    (sum / 2) as i16
}

/// Changes the rate of one source to [`SAMPLE_RATE`].
#[derive(Debug)]
struct Converter {
    per_ms: usize,
    /// For each place between two input samples at which output may fall, the weights of the samples around.
    rows: Vec<Vec<f32>>,
    /// Input: `half` samples before the next output, and all after. Empty between runs.
    window: Vec<f32>,
    /// The place of the next output in `window`, in units of `1 / rows.len()` samples.
    place: usize,
    /// Where the last packet ended.
    end: Timestamp,
}

impl Converter {
    /// `None` if there is nothing to convert.
    fn new(rate: Rate) -> Option<Self> {
        let places = match rate {
            Rate::Hz16000 => return None,
            Rate::Hz8000 => 2,
            Rate::Hz32000 | Rate::Hz48000 => 1,
        };
        let per_ms = rate.samples_per_ms();
        Some(Self {
            per_ms,
            rows: (0..places).map(|row| low_pass(per_ms, row as f64 / places as f64)).collect(),
            window: Vec::new(),
            place: 0,
            end: Timestamp(0),
        })
    }

    fn push(&mut self, timestamp: Timestamp, samples: &[i16], out: &mut Vec<AudioFrame>) {
        if samples.is_empty() {
            return;
        }
        if timestamp.ms_since(self.end).saturating_abs() >= GAP_MS {
            self.finish(out);
        }
        if self.window.is_empty() {
            self.window.resize(self.half(), 0.0);
            self.place = self.half() * self.rows.len();
        }
        let waiting_ms = self.waiting() / self.per_ms;
        self.window.extend(samples.iter().map(|&s| f32::from(s)));
        self.end = timestamp.plus_ms((samples.len() / self.per_ms) as i64);
        let reach = self.window.len().saturating_sub(self.half());
        self.convert(timestamp.plus_ms(-(waiting_ms as i64)), reach, out);
    }

    fn finish(&mut self, out: &mut Vec<AudioFrame>) {
        if self.window.is_empty() {
            return;
        }
        let reach = self.window.len();
        let start = self.end.plus_ms(-((self.waiting() / self.per_ms) as i64));
        self.window.resize(reach + self.half() + 1, 0.0);
        self.convert(start, reach, out);
        self.window.clear();
    }

    /// Makes all output that falls before the input sample `reach`.
    fn convert(&mut self, timestamp: Timestamp, reach: usize, out: &mut Vec<AudioFrame>) {
        let (half, places) = (self.half(), self.rows.len());
        let step = self.per_ms * places / (SAMPLE_RATE as usize / 1000);
        let mut samples = Vec::with_capacity(reach.saturating_sub(self.place / places) * places / step + 1);
        while self.place / places < reach {
            let whole = self.place / places;
            let row = &self.rows[self.place % places];
            samples.push(quantize(dot(&self.window[whole - half..=whole + half], row)));
            self.place += step;
        }
        // The next place may lie beyond what has come.
        let unneeded = (self.place / places - half).min(self.window.len());
        self.window.drain(..unneeded);
        self.place -= unneeded * places;
        if !samples.is_empty() {
            out.push(AudioFrame { timestamp, samples });
        }
    }

    /// Input samples that no output was made for yet.
    fn waiting(&self) -> usize {
        self.window.len().saturating_sub(self.place / self.rows.len())
    }

    fn half(&self) -> usize {
        HALF_MS * self.per_ms
    }
}

/// The weights of `2 * half + 1` input samples for an output that lies `fraction` behind the middle one.
fn low_pass(per_ms: usize, fraction: f64) -> Vec<f32> {
    let half = (HALF_MS * per_ms) as f64;
    let rate = per_ms as f64 * 1000.0;
    let cutoff = (rate.min(f64::from(SAMPLE_RATE)) / 2.0 - SLOPE_HZ) / rate;
    let weights: Vec<f64> = (0..=2 * HALF_MS * per_ms)
        .map(|tap| tap as f64 - half - fraction)
        .map(|x| sinc(2.0 * cutoff * x) * kaiser(x / (half + 1.0), BETA))
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::filter::testing::{purity_db, tone};
    use proptest::prelude::*;

    const RATES: [Rate; 4] = [Rate::Hz8000, Rate::Hz16000, Rate::Hz32000, Rate::Hz48000];
    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn bytes(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    /// Packets of `ms`, converted; frames have to follow each other without a hole.
    fn converted(rate: Rate, source: &[i16], ms: usize) -> Vec<i16> {
        let mut decoder = Decoder::new(Format { rate, channels: Channels::Mono });
        let mut frames = Vec::new();
        for (i, packet) in source.chunks(ms * rate.samples_per_ms()).enumerate() {
            decoder.push(NOW.plus_ms((i * ms) as i64), &bytes(packet), &mut frames);
        }
        decoder.finish(&mut frames);
        let mut out = Vec::new();
        for frame in frames {
            assert_eq!(frame.timestamp, NOW.plus_ms(out.len() as i64 / 16), "{rate:?}");
            out.extend(frame.samples);
        }
        out
    }

    #[test]
    fn mono_16_khz_passes_bit_by_bit() {
        let source: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        assert!(converted(Rate::Hz16000, &source, 20) == source);
    }

    #[test]
    fn a_tone_stays_pure_and_in_place_at_every_rate() {
        for rate in RATES {
            for hz in [250.0, 1000.0, 3000.0] {
                let hertz = rate.samples_per_ms() as f64 * 1000.0;
                let out = converted(rate, &tone(hz, hertz, rate.samples_per_ms() * 2000), 20);
                assert_eq!(out.len(), 32_000, "{rate:?}");
                let middle = &out[8000..24_000];
                let db = purity_db(middle, hz, 16_000.0);
                assert!(db > 75.0, "{rate:?} {hz} Hz: {db:.1} dB");
                // The same tone at the same place: the delay of the filter is compensated.
                let ideal = tone(hz, 16_000.0, 32_000);
                let worst = middle.iter().zip(&ideal[8000..]).map(|(a, b)| (a - b).abs()).max();
                assert!(worst < Some(20), "{rate:?} {hz} Hz: {worst:?}");
            }
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_gone() {
        for (rate, hz) in [(Rate::Hz32000, 9000.0), (Rate::Hz48000, 9000.0), (Rate::Hz48000, 20_000.0)] {
            let hertz = rate.samples_per_ms() as f64 * 1000.0;
            let out = converted(rate, &tone(hz, hertz, rate.samples_per_ms() * 1000), 20);
            let loudest = out[1000..15_000].iter().map(|s| s.abs()).max();
            assert!(loudest < Some(10), "{rate:?} {hz} Hz: {loudest:?}");
        }
    }

    #[test]
    fn stereo_becomes_the_mean_and_odd_bytes_are_counted() {
        let mut decoder = Decoder::new(Format { rate: Rate::Hz16000, channels: Channels::Stereo });
        let mut frames = Vec::new();
        let mut packet = bytes(&[100, 200, i16::MAX, i16::MAX, i16::MIN, i16::MIN]);
        packet.extend([1, 2, 3]);
        decoder.push(NOW, &packet, &mut frames);
        assert_eq!(frames[0].samples, [150, i16::MAX, i16::MIN]);
        assert_eq!(decoder.dropped_bytes(), 3);
        decoder.push(NOW, &[1, 2, 3], &mut frames);
        decoder.push(NOW, &[], &mut frames);
        assert_eq!((frames.len(), decoder.dropped_bytes()), (1, 6));
    }

    #[test]
    fn sound_before_a_gap_is_complete() {
        let mut decoder = Decoder::new(Format { rate: Rate::Hz48000, channels: Channels::Mono });
        let mut frames = Vec::new();
        decoder.push(NOW, &bytes(&[1000; 960]), &mut frames);
        decoder.push(NOW.plus_ms(1000), &bytes(&[1000; 960]), &mut frames);
        decoder.finish(&mut frames);
        let shape: Vec<_> = frames.iter().map(|f| (f.timestamp.ms_since(NOW), f.samples.len())).collect();
        assert_eq!(shape, [(0, 256), (16, 64), (1000, 256), (1016, 64)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn borders_of_packets_leave_no_trace(rate in 0usize..4, ms in 1usize..60) {
            let rate = RATES[rate];
            let source = tone(700.0, rate.samples_per_ms() as f64 * 1000.0, rate.samples_per_ms() * 300);
            prop_assert!(converted(rate, &source, ms) == converted(rate, &source, 300));
        }

        #[test]
        fn any_packets_do_no_harm(
            rate in 0usize..4, stereo: bool,
            packets in prop::collection::vec((any::<i64>(), prop::collection::vec(any::<u8>(), 0..500)), 0..20),
        ) {
            let channels = if stereo { Channels::Stereo } else { Channels::Mono };
            let mut decoder = Decoder::new(Format { rate: RATES[rate], channels });
            let mut frames = Vec::new();
            for (timestamp, bytes) in packets {
                decoder.push(Timestamp(timestamp), &bytes, &mut frames);
                decoder.push(Timestamp(timestamp % 50), &bytes, &mut frames);
            }
            decoder.finish(&mut frames);
            prop_assert!(frames.iter().all(|frame| !frame.samples.is_empty()));
        }
    }
}
