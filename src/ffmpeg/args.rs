//! What ffmpeg is told, step by step. Pure: paths and numbers in, arguments out; nothing is looked at.
//!
//! Every list is for ffmpeg 5.1 and later. Common to all: no reading from the terminal, warnings and errors only,
//! input from files and pipes only, and output that depends on the input alone (`-bitexact`, one thread for what is
//! encoded). A step that copies stops at the first error (`-xerror`); one that decodes goes on, since pictures that
//! were damaged on their way are a part of life.
//!
//! An output file that exists is overwritten. It is whole only if the step succeeded.
#![deny(clippy::disallowed_methods)]

use crate::media::PictureCodec;
use std::ffi::OsString;
use std::path::Path;

/// What [`check`](super::Ffmpeg::check) looks for: the list that ffmpeg prints, the kind, the names.
pub(super) const NEEDED: [(&str, &str, &[&str]); 7] = [
    ("-encoders", "encoder", &["aac", "libx264", "mjpeg"]),
    ("-decoders", "decoder", &["aac", "h264", "mjpeg", "png"]),
    ("-muxers", "muxer", &["mp4", "ipod", "flv", "h264", "framecrc", "image2pipe"]),
    ("-demuxers", "demuxer", &["matroska", "mov", "s16le"]),
    ("-devices", "input device", &["lavfi"]),
    ("-filters", "filter", &["scale", "pad", "color", "select", "setsar", "format", "setparams"]),
    ("-bsfs", "bitstream filter", &["setts", "filter_units"]),
];

/// How a finished file is written. Without `-copyts` a late start is lost.
///
/// Pictures come in the order in which they are shown. Matroska does not say so, and in a track of a few pictures ffmpeg would
/// guess otherwise: its times of decoding would lag by a picture, and the last one would have no length.
const COPY: &str = "-copyts -c copy -bsf:v setts=pts=PTS:dts=PTS -map_metadata -1 -bitexact -f mp4";

/// How the index of a copy gets in front of its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// It goes where so many bytes are kept for it; if they are too few, the step fails and says so.
    Within(u64),
    /// All media are moved once more, which takes as long as the copy.
    MadeRoom,
}

impl Index {
    fn words(self) -> String {
        match self {
            Self::Within(bytes) => format!("-moov_size {bytes}"),
            Self::MadeRoom => "-movflags +faststart".to_owned(),
        }
    }
}

/// A picture to start from at least so often, in seconds, where pictures are encoded.
const KEY_INTERVAL_S: u32 = 4;

/// The picture that every encoded picture is fitted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Canvas {
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
}

/// Sound on standard input (`i16` little-endian, mono, 16 kHz) into AAC of `bitrate` bit/s in the finished M4A `out`.
///
/// No fragments: on the way from a fragmented file into another, ffmpeg loses the duration of the last frame, and the
/// sound gets up to 64 ms longer. The index is kept in memory for that, some 2 MB an hour.
pub fn sound(out: &Path, bitrate: u32) -> Vec<OsString> {
    Args::new().words(PCM).words("-i pipe:0").words(&aac(bitrate)).file(out).0
}

/// The same from a file of such samples.
pub fn sound_file(input: &Path, out: &Path, bitrate: u32) -> Vec<OsString> {
    Args::new().words(PCM).words("-i").file(input).words(&aac(bitrate)).file(out).0
}

/// Raw samples at [`SAMPLE_RATE`](crate::media::SAMPLE_RATE).
const PCM: &str = "-xerror -f s16le -ar 16000 -ac 1";

fn aac(bitrate: u32) -> String {
    format!("-c:a aac -aac_coder fast -b:a {bitrate} -threads 1 -bitexact -movflags +faststart -f ipod")
}

/// A track of [`container::matroska`](crate::container::matroska) on standard input, copied into the fragmented MP4
/// `out`. The duration of the last frame is lost on the way from there to [`assemble`]; from a Matroska file it is not.
pub fn pictures(out: &Path) -> Vec<OsString> {
    Args::new()
        .words("-xerror -protocol_whitelist file,pipe -f matroska -i pipe:0 -map 0:v:0 -copyts -c copy -bitexact")
        .words("-movflags +empty_moov+delay_moov+default_base_moof -frag_duration 1000000 -f mp4")
        .file(out)
        .0
}

/// The file of a picture track (Matroska) and that of a sound track, copied into one MP4 with its index in front.
pub fn assemble(video: &Path, audio: &Path, index: Index, out: &Path) -> Vec<OsString> {
    // Sound starts before zero by the encoder's delay, pictures start when they start: both are kept as they are.
    Args::new()
        .words("-xerror -protocol_whitelist file,pipe -i")
        .file(video)
        .words("-protocol_whitelist file,pipe -i")
        .file(audio)
        .words("-map 0:v:0 -map 1:a:0")
        .words(COPY)
        .words(&index.words())
        .file(out)
        .0
}

/// The file of one track (Matroska), copied into an MP4 with its index in front.
pub fn remux(input: &Path, index: Index, out: &Path) -> Vec<OsString> {
    Args::new()
        .words("-xerror -protocol_whitelist file,pipe -i")
        .file(input)
        .words("-map 0")
        .words(COPY)
        .words(&index.words())
        .file(out)
        .0
}

/// A track of [`container::matroska`](crate::container::matroska) on standard input, scaled and letterboxed onto the
/// canvas and encoded. Standard output is for [`flv::Reader`](crate::container::flv::Reader): each picture that could be
/// decoded, with its own time.
pub fn encode(input: PictureCodec, canvas: Canvas) -> Vec<OsString> {
    let Canvas { width, height } = canvas;
    let (matrix, label) = match input {
        // What Zoom's encoders mean is not said in the stream; copied pictures do not say it either.
        PictureCodec::H264 => ("", ""),
        // Images are full-range, by their own matrix; the filters tell players what came of it.
        PictureCodec::Jpg | PictureCodec::Png => (
            ":out_color_matrix=bt709:out_range=tv",
            ",setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
        ),
    };
    let filters = format!(
        "scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2{matrix},\
         pad={width}:{height}:-1:-1,setsar=1,format=yuv420p{label}"
    );
    // By time, as the rate of pictures may be anything; relative to the last one, as a track may start late.
    let key_frames = format!("expr:isnan(prev_forced_t)+gte(t,prev_forced_t+{KEY_INTERVAL_S})");
    Args::new()
        .words("-protocol_whitelist file,pipe -threads 1 -f matroska -i pipe:0 -map 0:v:0 -copyts -filter_threads 1")
        .words("-vf")
        .word(filters)
        .words("-fps_mode passthrough -enc_time_base 1:1000 -force_key_frames")
        .word(key_frames)
        .words("-c:v libx264 -preset veryfast -crf 23 -bf 0 -threads 1 -level:v")
        .words(level(canvas))
        .words("-x264-params rc-lookahead=0:sync-lookahead=0:mbtree=0 -bitexact")
        .words("-flvflags no_duration_filesize -f flv pipe:1")
        .0
}

/// One black IDR with its SPS and PPS as Annex B on standard output, some 250 bytes at 1280 by 720.
pub fn slate(canvas: Canvas) -> Vec<OsString> {
    let Canvas { width, height } = canvas;
    Args::new()
        .words(&format!("-f lavfi -i color=black:s={width}x{height}:r=25 -frames:v 1"))
        .words("-c:v libx264 -preset veryfast -bf 0 -threads 1 -pix_fmt yuv420p -level:v")
        .words(level(canvas))
        // x264's note about itself is larger than the picture.
        .words("-bsf:v filter_units=remove_types=6 -bitexact -f h264 pipe:1")
        .0
}

/// An MP4 or M4A with its index in front on standard input, decoded from its first packet to its last. Standard output
/// lists (as `framecrc` does) the decoded pictures and sounds, and the packets of the pictures beside them.
///
/// Unlike in the other steps that decode, the first error ends it.
pub fn decode() -> Vec<OsString> {
    Args::new()
        .words("-loglevel error -xerror -threads 1 -protocol_whitelist pipe -f mov -i pipe:0")
        .words("-map 0:v? -map 0:a? -map 0:v? -c:v:1 copy -copyts")
        .words("-fps_mode:v:0 passthrough -enc_time_base:v:0 1:1000 -bitexact -f framecrc pipe:1")
        .0
}

/// One picture of an MP4 as a JPEG on standard output: of those that are shown `after_ms` or later behind the last key frame
/// at or before `at_ms`, the first. No wider than `PICTURE_WIDTH`. Nothing if the file ends before.
///
/// From a key frame, as the next one may be an hour away.
pub fn picture(input: &Path, at_ms: i64, after_ms: u32) -> Vec<OsString> {
    let (at, after) = (at_ms.max(0) as f64 / 1000.0, f64::from(after_ms) / 1000.0);
    let filters = format!(
        "select=gte(t-start_t\\,{after}),scale=min({PICTURE_WIDTH}\\,iw):-2:out_color_matrix=bt601:out_range=pc,\
         setsar=1,format=yuvj420p"
    );
    Args::new()
        .words("-loglevel error -protocol_whitelist file -threads 1 -noaccurate_seek -ss")
        .word(format!("{at:.3}"))
        .words("-f mov -i")
        .file(input)
        .words("-map 0:v:0 -filter_threads 1 -vf")
        .word(filters)
        .words("-fps_mode passthrough -frames:v 1 -c:v mjpeg -q:v 4 -threads 1 -bitexact -f image2pipe pipe:1")
        .0
}

/// The first picture on standard input, as it came from Zoom, as a small JPEG on standard output.
pub fn glance(codec: PictureCodec) -> Vec<OsString> {
    let format = match codec {
        PictureCodec::H264 => "h264",
        PictureCodec::Jpg => "mjpeg",
        PictureCodec::Png => "png_pipe",
    };
    Args::new()
        .words("-loglevel error -protocol_whitelist pipe -threads 1 -f")
        .word(format)
        .words("-i pipe:0 -map 0:v:0 -filter_threads 1 -vf")
        // The rest of the input is read, too: whoever writes it would take an early end for a failure.
        .word("select=eq(n\\,0),scale=min(640\\,iw):-2:out_color_matrix=bt601:out_range=pc,setsar=1,format=yuvj420p")
        .words("-fps_mode passthrough -c:v mjpeg -q:v 5 -threads 1 -f image2pipe pipe:1")
        .0
}

/// How wide a picture of a recording may be.
const PICTURE_WIDTH: u32 = 1280;

/// A level limits the pictures per second, which x264 takes from the 1 ms time base and gets wrong: 30 are enough.
fn level(canvas: Canvas) -> &'static str {
    if canvas.width * canvas.height <= 1920 * 1088 { "4.0" } else { "5.1" }
}

/// A list of arguments in the making.
struct Args(Vec<OsString>);

impl Args {
    fn new() -> Self {
        Self(Vec::new()).words("-nostdin -hide_banner -loglevel warning -y")
    }

    /// Arguments that are known to contain no space.
    fn words(mut self, words: &str) -> Self {
        self.0.extend(words.split_ascii_whitespace().map(OsString::from));
        self
    }

    fn word(mut self, word: impl Into<OsString>) -> Self {
        self.0.push(word.into());
        self
    }

    /// A file, whatever its name looks like.
    fn file(self, path: &Path) -> Self {
        let mut file = OsString::from("file:");
        file.push(path);
        self.word(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_never_taken_for_an_option_or_a_protocol() {
        let args = remux(Path::new("-i"), Index::MadeRoom, Path::new("http://a b/c.mp4"));
        assert!(args.contains(&"file:-i".into()));
        assert_eq!(args.last(), Some(&"file:http://a b/c.mp4".into()));
    }

    #[test]
    fn what_has_spaces_stays_one_argument() {
        for args in [
            encode(PictureCodec::Jpg, Canvas { width: 1280, height: 720 }),
            slate(Canvas { width: 1280, height: 720 }),
            picture(Path::new("a"), 61_500, 500),
            sound(Path::new("a"), 64_000),
        ] {
            assert!(args.iter().all(|arg| !arg.is_empty() && !arg.to_string_lossy().contains(' ')), "{args:?}");
        }
    }
}
