//! What is logged of an ordinary meeting: few lines, each naming its recording, and nothing of what was said.

use crate::common::{CLIENT_SECRET, Home, SECRET_TOKEN, meeting, play_one};
use serde_json::Value;

/// All texts of a recording's files, by line or by field: what no log may show.
fn contents(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text)
                        if ["text", "user_name", "name", "message", "content"].contains(&name.as_str()) =>
                    {
                        found.push(text.clone());
                    }
                    _ => contents(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| contents(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_meeting_is_a_handful_of_lines_that_tell_nothing_of_it() {
    let home = Home::new();
    let recorder = home.start().await;
    recorder.wait_for("found ffmpeg").await;
    let before = recorder.log().len();
    play_one(meeting(&recorder.webhook, 12)).await;
    recorder.published(1).await;
    let lines: Vec<Value> = recorder.log().split_off(before);
    assert!((3..=6).contains(&lines.len()), "{} lines:\n{lines:#?}", lines.len());
    assert_eq!(recorder.raw_log().lines().count(), recorder.log().len(), "each line is JSON");

    let recording = home.bucket().recording().await;
    let id = recording.manifest.recording_id.as_str();
    for line in &lines {
        let named = line["recording"] == id || line["span"]["id"] == id;
        assert!(named, "it does not name its recording: {line}");
        assert!(line["timestamp"].is_string() && line["level"] == "INFO", "{line}");
    }
    let mut texts = Vec::new();
    for name in ["transcript.json", "chat.json", "timeline.json"] {
        let json = std::fs::read(recording.file(name)).expect("a file");
        contents(&serde_json::from_slice(&json).expect("JSON"), &mut texts);
    }
    texts.retain(|text| text.len() > 3);
    assert!(texts.len() > 5, "there is something that could be told: {texts:?}");
    texts.extend([CLIENT_SECRET, SECRET_TOKEN].map(str::to_owned));
    for text in texts {
        assert!(!recorder.raw_log().contains(&text), "the log tells {text:?}:\n{}", recorder.raw_log());
    }
}
