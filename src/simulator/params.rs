//! The media handshake's parameters: what is asked for, checked and completed as Zoom does.
//!
//! Sources: Zoom's "Data type definitions", "Event reference" and "Media parameter definitions" (2026). Where they
//! disagree the stricter reading counts, so that what passes here passes there.

use super::script::Size;
use crate::media::PictureCodec;
use crate::protocol::message::Medium;
use serde_json::{Value, json};

/// A refusal: status code and reason.
pub(super) type Refusal = (i64, &'static str);

/// Sound as it will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SoundParams {
    pub(super) rate: u32,
    pub(super) channels: u32,
    pub(super) send_rate_ms: i64,
    /// One stream for each participant.
    pub(super) multi: bool,
}

/// Pictures as they will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PictureParams {
    pub(super) codec: PictureCodec,
    pub(super) ceiling: Size,
    pub(super) fps: u32,
    /// Only after a subscription to one participant.
    pub(super) individual: bool,
}

/// What one medium will be sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Params {
    Sound(SoundParams),
    Pictures(PictureParams),
    Text,
}

/// Checks the parameters asked for one medium; gives them complete, for us and for the answer.
pub(super) fn effective(medium: Medium, asked: &Value) -> Result<(Params, Value), Refusal> {
    let asked = match asked.get(medium.params_key()) {
        None | Some(Value::Null) => &Value::Null,
        Some(part) if part.is_object() => part,
        Some(_) => {
            return Err(match medium {
                Medium::Audio => (18, "INVALID_MEDIA_AUDIO_PARAMS"),
                Medium::Video => (25, "INVALID_MEDIA_VIDEO_PARAMS"),
                Medium::Share => (31, "INVALID_MEDIA_DESKSHARE_PARAMS"),
                Medium::Transcript => (36, "INVALID_MEDIA_TRANSCRIPT_PARAMS"),
                Medium::Chat => (38, "INVALID_MEDIA_CHAT_PARAMS"),
            });
        }
    };
    match medium {
        Medium::Audio => sound(asked),
        Medium::Video => pictures(asked, &VIDEO),
        Medium::Share => pictures(asked, &SHARE),
        Medium::Transcript => transcript(asked),
        Medium::Chat => {
            within(asked, "content_type", 5, 5..=5, (39, "INVALID_MEDIA_CHAT_CONTENT_TYPE"))?;
            Ok((Params::Text, json!({"content_type": 5})))
        }
    }
}

/// A number that was asked for, or its default; anything outside of `range` is refused.
fn within(
    asked: &Value,
    key: &str,
    default: i64,
    range: std::ops::RangeInclusive<i64>,
    refusal: Refusal,
) -> Result<i64, Refusal> {
    match asked.get(key) {
        None => Ok(default),
        Some(value) => value.as_i64().filter(|n| range.contains(n)).ok_or(refusal),
    }
}

fn sound(asked: &Value) -> Result<(Params, Value), Refusal> {
    const CONTENT: Refusal = (19, "INVALID_MEDIA_AUDIO_CONTENT_TYPE");
    let content_type = within(asked, "content_type", 2, 1..=2, CONTENT)?;
    let codec = within(asked, "codec", 1, 1..=4, (22, "INVALID_MEDIA_AUDIO_CODEC"))?;
    let rate = within(asked, "sample_rate", 1, 0..=3, (20, "INVALID_MEDIA_AUDIO_SAMPLE_RATE"))?;
    let channel = within(asked, "channel", 1, 1..=2, (21, "INVALID_MEDIA_AUDIO_CHANNEL"))?;
    let data_opt = within(asked, "data_opt", 1, 1..=2, (23, "INVALID_MEDIA_AUDIO_DATA_OPT"))?;
    const SEND_RATE: Refusal = (24, "INVALID_MEDIA_AUDIO_SEND_RATE");
    let send_rate = within(asked, "send_rate", 20, 20..=i64::MAX, SEND_RATE)?.min(1000);
    if send_rate % 20 != 0 {
        return Err(SEND_RATE);
    }
    if codec != 1 {
        return Err((22, "INVALID_MEDIA_AUDIO_CODEC: this simulator sends L16 only"));
    }
    if content_type != 2 {
        // Not in the matrix, although many samples of 2025 send it.
        return Err(CONTENT);
    }
    let params = SoundParams {
        rate: [8_000, 16_000, 32_000, 48_000][rate as usize],
        channels: channel as u32,
        send_rate_ms: send_rate,
        multi: data_opt == 2,
    };
    let echo = json!({
        "content_type": content_type, "sample_rate": rate, "channel": channel, "codec": codec,
        "data_opt": data_opt, "send_rate": send_rate,
    });
    Ok((Params::Sound(params), echo))
}

struct PictureRules {
    default_resolution: i64,
    /// Still images come at up to this rate, H.264 above it.
    still_fps: i64,
    /// H.264 needs more than this.
    h264_above_fps: i64,
    data_opt: bool,
    content_type: Refusal,
    codec: Refusal,
    resolution: Refusal,
    fps: Refusal,
}

const VIDEO: PictureRules = PictureRules {
    default_resolution: 2,
    still_fps: 5,
    h264_above_fps: 5,
    data_opt: true,
    content_type: (26, "INVALID_MEDIA_VIDEO_CONTENT_TYPE"),
    codec: (27, "INVALID_MEDIA_VIDEO_CODEC"),
    resolution: (28, "INVALID_MEDIA_VIDEO_RESOLUTION"),
    fps: (30, "INVALID_MEDIA_VIDEO_FPS"),
};

const SHARE: PictureRules = PictureRules {
    default_resolution: 3,
    still_fps: 1,
    // One page says above 1, another above 5.
    h264_above_fps: 5,
    data_opt: false,
    content_type: (32, "INVALID_MEDIA_DESKSHARE_CONTENT_TYPE"),
    codec: (33, "INVALID_MEDIA_DESKSHARE_CODEC"),
    resolution: (34, "INVALID_MEDIA_DESKSHARE_RESOLUTION"),
    fps: (35, "INVALID_MEDIA_DESKSHARE_FPS"),
};

fn pictures(asked: &Value, rules: &PictureRules) -> Result<(Params, Value), Refusal> {
    within(asked, "content_type", 3, 3..=3, rules.content_type)?;
    let resolution = within(asked, "resolution", rules.default_resolution, 1..=4, rules.resolution)?;
    let (codec, fps) = match asked.get("codec") {
        // No codec means images, however many pictures were asked for.
        None => (5, within(asked, "fps", rules.still_fps, 1..=30, rules.fps)?.min(rules.still_fps)),
        Some(codec) => {
            let codec = codec.as_i64().filter(|c| (5..=7).contains(c)).ok_or(rules.codec)?;
            let (default, range) = match codec {
                7 => (25, rules.h264_above_fps + 1..=30),
                _ => (rules.still_fps, 1..=rules.still_fps),
            };
            (codec, within(asked, "fps", default, range, rules.fps)?)
        }
    };
    let mut echo = json!({"content_type": 3, "codec": codec, "resolution": resolution, "fps": fps});
    let mut individual = false;
    if rules.data_opt {
        let data_opt = within(asked, "data_opt", 3, 3..=4, (29, "INVALID_MEDIA_VIDEO_DATA_OPT"))?;
        echo["data_opt"] = data_opt.into();
        individual = data_opt == 4;
    }
    let (width, height) = [(854, 480), (1280, 720), (1920, 1080), (2560, 1440)][resolution as usize - 1];
    let params = PictureParams {
        codec: match codec {
            5 => PictureCodec::Jpg,
            6 => PictureCodec::Png,
            _ => PictureCodec::H264,
        },
        ceiling: Size { width, height },
        fps: fps as u32,
        individual,
    };
    Ok((Params::Pictures(params), echo))
}

fn transcript(asked: &Value) -> Result<(Params, Value), Refusal> {
    within(asked, "content_type", 5, 5..=5, (37, "INVALID_MEDIA_TRANSCRIPT_CONTENT_TYPE"))?;
    const LANGUAGE: Refusal = (43, "INVALID_MEDIA_TRANSCRIPT_SOURCE_LANGUAGE");
    let language = within(asked, "src_language", 9, -1..=36, LANGUAGE)?;
    let lid = asked.get("enable_lid").and_then(Value::as_bool).unwrap_or(true);
    Ok((Params::Text, json!({"content_type": 5, "src_language": language, "enable_lid": lid})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(medium: Medium, part: Value) -> Result<Value, i64> {
        effective(medium, &json!({ medium.params_key(): part })).map(|(_, echo)| echo).map_err(|(code, _)| code)
    }

    #[test]
    fn defaults_are_filled_in() {
        let all = |medium| effective(medium, &Value::Null).map(|(_, echo)| echo).unwrap();
        assert_eq!(all(Medium::Audio)["send_rate"], 20);
        assert_eq!(
            all(Medium::Video),
            json!({"content_type": 3, "codec": 5, "resolution": 2, "data_opt": 3, "fps": 5})
        );
        assert_eq!(all(Medium::Share)["fps"], 1);
        assert_eq!(all(Medium::Transcript)["src_language"], 9);
    }

    #[test]
    fn values_are_corrected_as_zoom_does() {
        assert_eq!(echo(Medium::Audio, json!({"send_rate": 5000})).unwrap()["send_rate"], 1000);
        let no_codec = echo(Medium::Video, json!({"fps": 25})).unwrap();
        assert_eq!((&no_codec["codec"], &no_codec["fps"]), (&json!(5), &json!(5)));
        assert_eq!(echo(Medium::Share, json!({"fps": 25})).unwrap()["fps"], 1);
    }

    #[test]
    fn each_mistake_has_its_status() {
        for (medium, part, code) in [
            (Medium::Audio, json!(3), 18),
            (Medium::Audio, json!({"content_type": 1}), 19),
            (Medium::Audio, json!({"sample_rate": 4}), 20),
            (Medium::Audio, json!({"channel": 3}), 21),
            (Medium::Audio, json!({"codec": 7}), 22),
            (Medium::Audio, json!({"codec": 4}), 22),
            (Medium::Audio, json!({"data_opt": 3}), 23),
            (Medium::Audio, json!({"send_rate": 30}), 24),
            (Medium::Audio, json!({"send_rate": "100"}), 24),
            (Medium::Video, json!({"codec": 1}), 27),
            (Medium::Video, json!({"resolution": 9}), 28),
            (Medium::Video, json!({"data_opt": 5}), 29),
            (Medium::Video, json!({"codec": 5, "fps": 25}), 30),
            (Medium::Video, json!({"codec": 7, "fps": 5}), 30),
            (Medium::Share, json!({"codec": 5, "fps": 2}), 35),
            (Medium::Transcript, json!({"src_language": 99}), 43),
            (Medium::Chat, json!({"content_type": 2}), 39),
        ] {
            assert_eq!(echo(medium, part.clone()), Err(code), "{medium:?} {part}");
        }
    }
}
