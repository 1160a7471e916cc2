//! Meetings as journals, written directly: no sockets, no waiting. Sound carries beeps of 1 kHz and pictures carry white
//! flashes at known times, so that what was rendered can be measured. Times are ms of Zoom's clock since [`ZERO`].
use rtms_recorder::ffmpeg::{self, Ffmpeg};
use rtms_recorder::output::{Manifest, Template};
use rtms_recorder::render::{self, Settings};
use rtms_recorder::timeline::clock::PausePolicy;
use rtms_recorder::timeline::picture::EncodePolicy;
use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// When the media of a script begins, on Zoom's clock.
pub(crate) const ZERO: i64 = 1_795_000_000_000;
/// How long a beep is.
pub(crate) const BEEP_MS: i64 = 60;
/// How loud a beep is.
pub(crate) const BEEP: f64 = 16_000.0;
/// From the sending of a message to its receipt.
const LATENCY_MS: i64 = 40;

/// Standard output of ffmpeg, which must succeed. Arguments are separated by blanks.
pub(crate) fn run_ffmpeg(args: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error"]).args(args.split_whitespace()).output();
    let output = output.expect("ffmpeg is installed");
    assert!(output.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A journal in the making.
pub(crate) struct Script {
    lines: Vec<Line>,
    texts: HashMap<Vec<u8>, Arc<str>>,
}

struct Line {
    t: i64,
    conn: &'static str,
    head: String,
    data: Option<Arc<str>>,
    tail: &'static str,
}

/// How sound is sent.
#[derive(Clone)]
pub(crate) struct Sound<'a> {
    /// Samples per second and channel.
    pub(crate) rate: i64,
    pub(crate) channels: usize,
    pub(crate) packet_ms: i64,
    /// How much slower the sample clock runs than Zoom's, in millionths.
    pub(crate) ppm: f64,
    /// Timestamps are off by up to so much.
    pub(crate) jitter_ms: i64,
    /// Id and name of a participant.
    pub(crate) user: Option<(u32, &'a str)>,
    /// When beeps begin.
    pub(crate) beeps: &'a [i64],
    /// Frequency and amplitude.
    pub(crate) tone: Option<(f64, f64)>,
    /// When all of it is received, in place of shortly after it was said.
    pub(crate) burst: Option<i64>,
}

impl Default for Sound<'_> {
    fn default() -> Self {
        Self {
            rate: 16_000,
            channels: 1,
            packet_ms: 20,
            ppm: 0.0,
            jitter_ms: 0,
            user: None,
            beeps: &[],
            tone: None,
            burst: None,
        }
    }
}

impl Sound<'_> {
    /// What is heard at a time.
    pub(crate) fn at(&self, ms: f64) -> f64 {
        let next = self.beeps.partition_point(|&beep| (beep as f64) <= ms);
        let beep = next.checked_sub(1).map(|last| ms - self.beeps[last] as f64).filter(|&since| since < BEEP_MS as f64);
        let beep = beep.map_or(0.0, |since| BEEP * (since / 1000.0 * 1000.0 * TAU).sin());
        beep + self.tone.map_or(0.0, |(hz, amplitude)| amplitude * (ms / 1000.0 * hz * TAU).sin())
    }

    fn is_quiet(&self, from: f64, to: f64) -> bool {
        let next = self.beeps.partition_point(|&beep| (beep as f64) < from - BEEP_MS as f64);
        self.tone.is_none() && self.beeps.get(next).is_none_or(|&beep| beep as f64 > to)
    }

    /// The samples of a stretch by the sender's clock, which started at `start`.
    fn samples(&self, start: i64, from_sample: i64, count: usize) -> Vec<i16> {
        let ms = |n: i64| start as f64 + (n as f64) * 1000.0 / self.rate as f64 * (1.0 + self.ppm / 1e6);
        if self.is_quiet(ms(from_sample), ms(from_sample + count as i64)) {
            return vec![0; count * self.channels];
        }
        let mut samples = Vec::with_capacity(count * self.channels);
        for n in from_sample..from_sample + count as i64 {
            let at = ms(n);
            let middle = self.at(at).round() as i16;
            if self.channels == 2 {
                // Only the mean of both is what was meant.
                let side = (6000.0 * (at / 1000.0 * 440.0 * TAU).sin()) as i16;
                samples.extend([middle + side, middle - side]);
            } else {
                samples.push(middle);
            }
        }
        samples
    }

    /// What a flawless recorder makes of a stretch: 16 kHz, mono.
    pub(crate) fn ideal(&self, from: i64, to: i64) -> Vec<i16> {
        let count = usize::try_from((to - from) * 16).expect("a stretch");
        Self { rate: 16_000, channels: 1, ppm: 0.0, ..self.clone() }.samples(from, 0, count)
    }
}

/// A picture in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) at: i64,
    /// Which of its clip it is.
    pub(crate) index: usize,
    pub(crate) flash: bool,
}

impl Script {
    /// A stream that starts 1.5 s before the first media.
    pub(crate) fn new() -> Self {
        let mut script = Self { lines: Vec::new(), texts: HashMap::new() };
        let event_ts = ZERO - 1500;
        script.line(
            -1500,
            "event",
            format!(
                r#"{{"event":"meeting.rtms_started","event_ts":{event_ts},"payload":{{"meeting_uuid":"Ab+/cdEFghIJklMNopQRst==","rtms_stream_id":"0123456789abcdef0123456789abcdef","server_urls":"wss://rtms.example.test:443"}}}}"#
            ),
        );
        script.session(-600, 2);
        script
    }

    /// A meeting with the usual connections.
    pub(crate) fn connected_to(media: &[&'static str]) -> Self {
        let mut script = Self::new();
        for medium in media {
            script.connected(-500, medium);
        }
        script
    }

    fn line(&mut self, at: i64, conn: &'static str, json: String) {
        self.lines.push(Line { t: ZERO + at + LATENCY_MS, conn, head: json, data: None, tail: "" });
    }

    /// A connection comes about, with the usual parameters.
    pub(crate) fn connected(&mut self, at: i64, conn: &'static str) {
        self.connected_with(at, conn, "");
    }

    /// A connection comes about; the echo has these parameters in place of the usual ones.
    pub(crate) fn connected_with(&mut self, at: i64, conn: &'static str, params: &str) {
        let usual = match conn {
            "audio" => {
                r#""audio":{"content_type":2,"sample_rate":1,"channel":1,"codec":1,"data_opt":1,"send_rate":20}"#
            }
            "video" => r#""video":{"content_type":3,"codec":7,"resolution":2,"data_opt":3,"fps":25}"#,
            _ => r#""deskshare":{"content_type":3,"codec":5,"resolution":3,"fps":1}"#,
        };
        let params = if params.is_empty() { usual } else { params };
        self.line(
            at,
            conn,
            format!(
                r#"{{"msg_type":4,"protocol_version":1,"status_code":0,"reason":"","sequence":0,"payload_encrypted":false,"media_params":{{{params}}}}}"#
            ),
        );
        self.line(at, "event", format!(r#"{{"note":"connected","conn":"{conn}","run":1}}"#));
    }

    /// A connection breaks.
    pub(crate) fn lost(&mut self, at: i64, conn: &'static str) {
        self.line(at, "event", format!(r#"{{"note":"lost","conn":"{conn}","run":1,"because":"closed with 1006"}}"#));
    }

    /// The disk took nothing of what came in this time.
    pub(crate) fn not_written(&mut self, from: i64, to: i64) {
        let (from_ms, to_ms) = (ZERO + from + LATENCY_MS, ZERO + to + LATENCY_MS);
        self.line(
            to,
            "event",
            format!(r#"{{"note":"dropped","messages":10,"bytes":1000,"from_ms":{from_ms},"to_ms":{to_ms}}}"#),
        );
    }

    /// The stream is over.
    pub(crate) fn ended(&mut self, at: i64) {
        let event_ts = ZERO + at;
        self.line(
            at,
            "event",
            format!(
                r#"{{"event":"meeting.rtms_stopped","event_ts":{event_ts},"payload":{{"meeting_uuid":"Ab+/cdEFghIJklMNopQRst==","rtms_stream_id":"0123456789abcdef0123456789abcdef","stop_reason":6}}}}"#
            ),
        );
        self.line(at, "event", r#"{"note":"ended","source":"event","reason":6}"#.to_owned());
    }

    fn session(&mut self, at: i64, state: u32) {
        let timestamp = ZERO + at;
        self.line(
            at,
            "signaling",
            format!(r#"{{"msg_type":9,"state":{state},"timestamp":{timestamp},"rtms_session_id":"session"}}"#),
        );
    }

    /// A user pauses the session.
    pub(crate) fn paused(&mut self, at: i64) {
        self.session(at, 3);
    }

    /// The session goes on.
    pub(crate) fn goes_on(&mut self, at: i64) {
        self.session(at, 4);
    }

    /// Somebody begins or ceases to share.
    pub(crate) fn sharing(&mut self, at: i64, on: bool) {
        let (kind, timestamp) = (if on { 5 } else { 6 }, ZERO + at);
        self.line(
            at,
            "signaling",
            format!(
                r#"{{"msg_type":6,"event":{{"event_type":{kind},"timestamp":{timestamp},"user_id":16778240,"user_name":"A"}}}}"#
            ),
        );
    }

    fn media(&mut self, t: i64, at: i64, conn: &'static str, user: Option<(u32, &str)>, data: &[u8]) {
        let kind = match conn {
            "audio" => 14,
            "video" => 15,
            _ => 16,
        };
        let mut head = format!(r#"{{"msg_type":{kind},"content":{{"timestamp":{},"length":{},"#, ZERO + at, data.len());
        match user {
            Some((id, name)) => write!(head, r#""user_id":{id},"user_name":"{name}","data":""#),
            None => write!(head, r#""user_id":0,"data":""#),
        }
        .expect("text");
        // Silence is most of a long script.
        let encode = || Arc::from(base64_simd::STANDARD.encode_to_string(data));
        let text = if data.iter().all(|&byte| byte == 0) {
            self.texts.entry(data.to_vec()).or_insert_with(encode).clone()
        } else {
            encode()
        };
        self.lines.push(Line { t, conn, head, data: Some(text), tail: "\"}}" });
    }

    /// Sound from one time to another, in whole packets.
    pub(crate) fn sound(&mut self, from: i64, to: i64, sound: &Sound<'_>) {
        let per_packet = usize::try_from(sound.packet_ms * sound.rate / 1000).expect("a packet");
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        for n in 0.. {
            let true_at = from as f64 + (n * sound.packet_ms) as f64 * (1.0 + sound.ppm / 1e6);
            if true_at.round() as i64 >= to {
                break;
            }
            let samples = sound.samples(from, n * per_packet as i64, per_packet);
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let jitter = (random >> 33) as i64 % (2 * sound.jitter_ms + 1) - sound.jitter_ms;
            let at = true_at.round() as i64 + jitter;
            let received = sound.burst.unwrap_or_else(|| true_at.round() as i64 + sound.packet_ms);
            self.media(ZERO + received + LATENCY_MS, at, "audio", sound.user, &bytes);
        }
    }

    /// A clip's pictures at these times, from its beginning on.
    pub(crate) fn pictures(&mut self, conn: &'static str, clip: &Clip, times: &[i64]) -> Vec<Shown> {
        let shown = |(n, &at): (usize, &i64)| {
            let index = n % clip.pictures.len();
            Shown { at, index, flash: clip.is_flash(index) }
        };
        let shown: Vec<Shown> = times.iter().enumerate().map(shown).collect();
        for picture in &shown {
            self.picture(conn, picture.at, &clip.pictures[picture.index]);
        }
        shown
    }

    /// One picture, or what is to be taken for one.
    pub(crate) fn picture(&mut self, conn: &'static str, at: i64, data: &[u8]) {
        self.media(ZERO + at + LATENCY_MS, at, conn, Some((16_778_240, "A")), data);
    }

    /// A picture that comes at one time and bears another.
    pub(crate) fn misplaced(&mut self, conn: &'static str, comes: i64, at: i64, data: &[u8]) {
        self.media(ZERO + comes + LATENCY_MS, at, conn, Some((16_778_240, "A")), data);
    }

    /// Writes the journal: chunks of 10 s or 16 MiB.
    pub(crate) fn write(mut self, dir: &Path) -> PathBuf {
        self.lines.sort_by_key(|line| line.t);
        let journal = dir.join("journal");
        std::fs::create_dir_all(&journal).expect("a directory");
        let (mut number, mut since, mut bytes) = (0, i64::MIN, 0);
        let mut file: Option<BufWriter<File>> = None;
        for line in &self.lines {
            if file.is_none() || line.t - since >= 10_000 || bytes > 16 << 20 {
                (number, since, bytes) = (number + 1, line.t, 0);
                let chunk = File::create(journal.join(format!("{number:08}.ndjson"))).expect("a chunk");
                file = Some(BufWriter::with_capacity(1 << 20, chunk));
            }
            let out = file.as_mut().expect("a chunk");
            let data = line.data.as_deref().unwrap_or_default();
            writeln!(out, r#"{{"t":{},"c":"{}","m":{}{data}{}}}"#, line.t, line.conn, line.head, line.tail)
                .expect("room on the disk");
            bytes += line.head.len() + data.len() + 40;
        }
        journal
    }

    /// Renders it.
    pub(crate) fn render(self, settings: &Settings) -> Rendered {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = self.write(dir.path());
        render_journal(settings, &journal, dir)
    }
}

/// Renders a journal that lies in `dir` into a folder beside it.
pub(crate) fn render_journal(settings: &Settings, journal: &Path, dir: TempDir) -> Rendered {
    let out = dir.path().join("out");
    let ffmpeg = Ffmpeg::new(ffmpeg::Settings::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let manifest = runtime
        .block_on(render::render_journal(settings, &ffmpeg, journal, &out))
        .unwrap_or_else(|err| panic!("rendering failed: {err} ({err:?})"));
    Rendered { manifest, out, _dir: dir }
}

/// A small canvas, so that tests are quick.
pub(crate) fn settings() -> Settings {
    Settings {
        canvas: (320, 180),
        audio_bitrate: 64_000,
        video_encode: EncodePolicy::Auto,
        paused: PausePolicy::Cut,
        key_template: Template::default(),
        keep_journal: false,
    }
}

/// A rendered recording; its files go when it does.
pub(crate) struct Rendered {
    pub(crate) manifest: Manifest,
    pub(crate) out: PathBuf,
    _dir: TempDir,
}

impl Rendered {
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }
}

/// What pictures look like and how they are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `0xRRGGBB`
    pub(crate) colour: u32,
    /// From one key frame to the next.
    pub(crate) gop: usize,
    /// From one flash to the next, in pictures; the first comes after half of it.
    pub(crate) flash_every: usize,
    pub(crate) count: usize,
    /// `libx264`, `mjpeg` or `png`
    pub(crate) codec: &'static str,
    /// `baseline`, `main`, `high`: each has an SPS of its own.
    pub(crate) profile: &'static str,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            width: 160,
            height: 90,
            colour: 0x20_60_a0,
            gop: 25,
            flash_every: 50,
            count: 250,
            codec: "libx264",
            profile: "high",
        }
    }
}

/// Pictures made by ffmpeg.
pub(crate) struct Clip {
    pub(crate) look: Look,
    /// Access units in Annex B, or images.
    pub(crate) pictures: Vec<Vec<u8>>,
}

impl Clip {
    /// Made once in a process.
    pub(crate) fn get(look: Look) -> Arc<Self> {
        static CLIPS: Mutex<Option<HashMap<Look, Arc<Clip>>>> = Mutex::new(None);
        let mut clips = CLIPS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        clips.get_or_insert_default().entry(look).or_insert_with(|| Arc::new(Self::make(look))).clone()
    }

    fn make(look: Look) -> Self {
        let Look { width, height, colour, gop, flash_every, count, codec, profile } = look;
        // Noise makes each picture another; a flash is a white one.
        let source = format!(
            "-f lavfi -i color=c=0x{colour:06x}:s={width}x{height}:r=25,noise=alls=3:allf=t:all_seed=1,\
             drawbox=c=white:t=fill:enable='eq(mod(n\\,{flash_every})\\,{})',format=yuv420p -frames:v {count}",
            flash_every / 2
        )
        .replace('\'', "");
        let pictures = if codec == "libx264" {
            // The quickest preset leaves out what makes the profiles differ.
            let features = match profile {
                "baseline" => "cabac=0:8x8dct=0",
                "main" => "cabac=1:8x8dct=0",
                _ => "cabac=1:8x8dct=1",
            };
            let stream = run_ffmpeg(&format!(
                "{source} -c:v libx264 -profile:v {profile} -preset ultrafast -crf 30 -bf 0 -g {gop} -keyint_min {gop} \
                 -aud 1 -x264-params scenecut=0:sliced-threads=0:{features} -threads 1 -f h264 pipe:1"
            ));
            units(&stream)
        } else {
            let dir = tempfile::tempdir().expect("a directory");
            let pattern = dir.path().join("%05d");
            // JPEG as cameras send it is full-range.
            let format = if codec == "mjpeg" { "-pix_fmt yuvj420p -q:v 4" } else { "-pix_fmt rgb24" };
            run_ffmpeg(&format!("{source} -c:v {codec} {format} -f image2 {}", pattern.display()));
            (1..=count).map(|n| std::fs::read(dir.path().join(format!("{n:05}"))).expect("an image")).collect()
        };
        assert_eq!(pictures.len(), count, "{look:?}");
        Self { look, pictures }
    }

    pub(crate) fn is_flash(&self, index: usize) -> bool {
        index % self.look.flash_every == self.look.flash_every / 2
    }
}

/// Cuts a stream at its access unit delimiters, which are left out: by hand, so as not to test a parser with itself.
fn units(stream: &[u8]) -> Vec<Vec<u8>> {
    let delimiter = [0, 0, 0, 1, 9];
    let mut starts: Vec<_> = (0..stream.len()).filter(|&at| stream[at..].starts_with(&delimiter)).collect();
    starts.push(stream.len());
    starts.windows(2).map(|span| stream[span[0] + 6..span[1]].to_vec()).collect()
}

/// Times of pictures at a steady rate.
pub(crate) fn steady(from: i64, to: i64, fps: i64) -> Vec<i64> {
    (0..).map(|n| from + n * 1000 / fps).take_while(|&at| at < to).collect()
}

/// When a script's flashes are.
pub(crate) fn flashes(shown: &[Shown]) -> Vec<i64> {
    shown.iter().filter(|picture| picture.flash).map(|picture| picture.at).collect()
}
