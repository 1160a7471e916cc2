//! The transcript: `transcript.vtt` for players and `transcript.json` for everything else.
//!
//! Invariants of the WebVTT: whatever was said, a cue is one line of payload, ends after it starts, and starts no earlier
//! than the one before it; no text is markup. The JSON has each text as Zoom sent it.

use super::plain;
use super::time::{rfc3339, rfc3339_option};
use crate::ids::UserId;
use crate::media::{Pts, Timestamp};
use serde::Serialize;
use std::fmt::Write as _;

/// The version of the format that is written.
pub const SCHEMA_VERSION: u32 = 1;

/// The format as a JSON Schema (draft 2020-12).
pub const SCHEMA: &str = include_str!("transcript.schema.json");

/// What was said, and when. Times ending in `_ms` count from the recording's zero, the others are by Zoom's clock.
#[derive(Clone, Debug, Serialize)]
pub struct Transcript {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The wall-clock time of zero.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub zero_at: Option<Timestamp>,
    /// What was said, by where it starts.
    pub cues: Vec<Cue>,
    /// When the transcript's connection was down. What was said then is not sent again.
    pub missing: Vec<Missing>,
    /// How many utterances are left out because they fell into pauses that are cut out.
    pub left_out_in_pauses: u64,
}

/// One utterance. Those of several people may overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cue {
    /// Where it starts; negative if that was before the recording's zero.
    pub start_ms: Pts,
    /// Where it ends.
    pub end_ms: Pts,
    /// When it starts.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// Whether Zoom gave no end that can be right, so that it was estimated from the length of the text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub end_is_estimated: bool,
    /// Who spoke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The language as a BCP 47 tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What was said, as Zoom sent it.
    pub text: String,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Where it starts.
    pub start_ms: Pts,
    /// Where it ends.
    pub end_ms: Pts,
}

impl Transcript {
    /// The content of `transcript.json`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a transcript has only string keys and no failing types");
        json.push(b'\n');
        json
    }

    /// The content of `transcript.vtt`. What was said before the recording's zero has no place in it, but for a remark.
    pub fn to_vtt(&self) -> String {
        let mut vtt = "WEBVTT\n".to_owned();
        let mut shown: Vec<&Cue> = self.cues.iter().filter(|cue| cue.end_ms > Pts(0)).collect();
        shown.sort_by_key(|cue| cue.start_ms.max(Pts(0)));
        let before = self.cues.len() - shown.len();
        if before > 0 {
            vtt += &format!("\nNOTE Said before the recording's zero, and only in transcript.json: {before}\n");
        }
        for missing in &self.missing {
            let (start, end) = (vtt_time(missing.start_ms), vtt_time(missing.end_ms));
            vtt += &format!("\nNOTE The connection was down from {start} to {end}. What was said then is not here.\n");
        }
        for cue in shown {
            let text = plain::line(&cue.text);
            if text.is_empty() {
                continue;
            }
            let start = cue.start_ms.max(Pts(0));
            let end = cue.end_ms.max(Pts(start.0.saturating_add(1)));
            let name = cue.user_name.as_deref().map(plain::line).filter(|name| !name.is_empty());
            let name = name.or_else(|| cue.user_id.as_ref().map(|user| plain::line(user.as_str())));
            write!(vtt, "\n{} --> {}\n", vtt_time(start), vtt_time(end)).expect("a String takes everything");
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                // A name that ends in `--` must not make an arrow with the bracket; players trim the blank.
                let blank = if name.ends_with("--") { " " } else { "" };
                write!(vtt, "<v {}{blank}>", escape(&name)).expect("a String takes everything");
            }
            vtt += &escape(&text);
            vtt.push('\n');
        }
        vtt
    }
}

/// Text that is neither markup nor a character reference.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `00:00:02.500`; more digits for the hours where it takes them, and zero for what is before it.
fn vtt_time(at: Pts) -> String {
    let ms = at.0.max(0);
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::schema;
    use proptest::prelude::*;

    fn cue(start: i64, end: i64, name: Option<&str>, text: &str) -> Cue {
        Cue {
            start_ms: Pts(start),
            end_ms: Pts(end),
            at: Timestamp(1_795_167_000_000_i64.saturating_add(start)),
            end_is_estimated: false,
            user_id: Some(UserId::new("16778240")),
            user_name: name.map(str::to_owned),
            language: Some("en".to_owned()),
            text: text.to_owned(),
        }
    }

    fn transcript(cues: Vec<Cue>) -> Transcript {
        let missing = Vec::new();
        Transcript { schema_version: 1, zero_at: Some(Timestamp(0)), cues, missing, left_out_in_pauses: 0 }
    }

    #[test]
    fn cues_are_in_order_and_voices_have_names() {
        let mut said = transcript(vec![
            cue(-900, -100, None, "before"),
            cue(1000, 3500, Some("Bo"), "over you"),
            cue(-200, 2500, Some("Ada"), "Good morning"),
            cue(3_661_001, 3_661_001, None, "late"),
            cue(4000, 4100, None, " \n "),
        ]);
        said.missing.push(Missing { start_ms: Pts(10_000), end_ms: Pts(12_500) });
        insta::assert_snapshot!(said.to_vtt(), @"
        WEBVTT

        NOTE Said before the recording's zero, and only in transcript.json: 1

        NOTE The connection was down from 00:00:10.000 to 00:00:12.500. What was said then is not here.

        00:00:00.000 --> 00:00:02.500
        <v Ada>Good morning

        00:00:01.000 --> 00:00:03.500
        <v Bo>over you

        01:01:01.001 --> 01:01:01.002
        <v 16778240>late
        ");
    }

    #[test]
    fn hostile_text_is_inert() {
        let said = transcript(vec![cue(
            0,
            1000,
            Some("<script>\n\n00:00 --> 00:01"),
            "a --> b</v><script>alert(1)</script>\r\n\r\nNOTE x\u{0}\u{202e}&lt;\u{2028}STYLE",
        )]);
        insta::assert_snapshot!(said.to_vtt(), @"
        WEBVTT

        00:00:00.000 --> 00:00:01.000
        <v &lt;script&gt; 00:00 --&gt; 00:01>a --&gt; b&lt;/v&gt;&lt;script&gt;alert(1)&lt;/script&gt; NOTE x &amp;lt; STYLE
        ");
    }

    #[test]
    fn the_json_follows_the_schema_and_the_schema_has_teeth() {
        let mut said = transcript(vec![cue(-5, 5, None, "\u{0}<b>")]);
        said.missing.push(Missing { start_ms: Pts(1), end_ms: Pts(2) });
        schema::check(SCHEMA, &said.to_json()).unwrap();
        let text = String::from_utf8(said.to_json()).unwrap();
        for (field, wrong) in [("\"text\"", "\"txt\""), ("\"start_ms\": -5", "\"start_ms\": \"x\""), ("Z\"", "\"")] {
            assert!(schema::check(SCHEMA, text.replace(field, wrong).as_bytes()).is_err(), "{field}");
        }
    }

    /// A reader of WebVTT that knows blocks and nothing else: the cues' times and payloads.
    fn read(vtt: &str) -> Vec<(i64, i64, String)> {
        let mut blocks = vtt.split("\n\n");
        assert_eq!(blocks.next().map(str::trim_end), Some("WEBVTT"));
        let time = |text: &str| {
            let (clock, ms) = text.split_once('.').expect("milliseconds");
            let clock = clock.split(':').map(|n| n.parse::<i64>().expect("a number"));
            clock.fold(0, |sum, n| sum * 60 + n) * 1000 + ms.parse::<i64>().expect("a number")
        };
        let cues = blocks.filter(|block| !block.starts_with("NOTE")).map(|block| {
            let mut lines = block.trim_end().lines();
            let (start, end) = lines.next().expect("times").split_once(" --> ").expect("an arrow");
            let payload = lines.next().expect("a payload").to_owned();
            assert_eq!(lines.next(), None, "{block:?}");
            (time(start), time(end), payload)
        });
        cues.collect()
    }

    proptest! {
        #[test]
        fn any_cues_make_a_file_that_can_be_read(
            cues in prop::collection::vec((-3000i64..9_000_000, -3000i64..9_000_000, proptest::option::of(".*"), ".*"), 0..12),
            wild in prop::collection::vec((any::<i64>(), any::<i64>(), "[\\n\\r<>& a-]*"), 0..4),
        ) {
            let cues: Vec<Cue> = cues
                .iter()
                .map(|(start, end, name, text)| cue(*start, *end, name.as_deref(), text))
                .chain(wild.iter().map(|(start, end, text)| cue(*start, *end, Some(text), text)))
                .collect();
            let expected = cues.iter().filter(|c| c.end_ms.0 > 0 && !plain::line(&c.text).is_empty()).count();
            let read = read(&transcript(cues).to_vtt());
            prop_assert_eq!(read.len(), expected);
            prop_assert!(read.iter().all(|(start, end, _)| start < end));
            prop_assert!(read.is_sorted_by_key(|(start, ..)| *start));
            for (_, _, payload) in read {
                let bare = payload.strip_prefix("<v ").and_then(|rest| rest.split_once('>')).map_or(&payload[..], |p| p.1);
                prop_assert!(!bare.contains(['<', '>']) && !payload.contains("-->"), "{}", payload);
                prop_assert!(!payload.chars().any(char::is_control), "{:?}", payload);
            }
        }
    }
}
