//! The texts of a recording, from the simulator's sockets to the bucket: is what was said and written there, at its time,
//! by whom, and nothing of what was taken back?

use crate::common::{Home, Recording, meeting, play_one};
use rtms_recorder::protocol::message::Medium;
use rtms_recorder::simulator::{Cut, MeetingSummary, Settings, Span, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

async fn record(settings: impl FnOnce(&mut Settings)) -> (MeetingSummary, Recording) {
    let home = Home::new();
    let recorder = home.start().await;
    let mut meeting = meeting(&recorder.webhook, 28);
    settings(&mut meeting);
    let sent = play_one(meeting).await;
    recorder.published(1).await;
    let said = sent.transcript.iter().chain(&sent.chat).map(|line| line.text.as_str());
    let log = recorder.raw_log();
    for text in said.filter(|text| text.len() > 8) {
        assert!(!log.contains(text), "the log shows what was said or written: {text}");
    }
    (sent, home.bucket().recording().await)
}

fn read(recording: &Recording, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(recording.file(name)).expect("a file")).expect("JSON")
}

fn text(recording: &Recording, name: &str) -> String {
    String::from_utf8(std::fs::read(recording.file(name)).expect("a file")).expect("UTF-8")
}

fn contents(lines: &[rtms_recorder::simulator::Line]) -> Vec<Value> {
    lines.iter().map(|line| line.content.clone().expect("it was generated")).collect()
}

/// What the simulator said in the end: start, end, speaker, text; by its own numbers, not the recorder's.
fn said(sent: &MeetingSummary, zero: i64) -> Vec<(i64, i64, String, String)> {
    let mut lines: BTreeMap<(i64, String), Option<Value>> = BTreeMap::new();
    for content in contents(&sent.transcript) {
        let key = (content["timestamp"].as_i64().unwrap(), content["user_id"].to_string());
        lines.insert(key, (content["attribute"] != 3).then_some(content));
    }
    let line = |content: Value| {
        let ms = |key: &str| content[key].as_i64().unwrap() - zero;
        let text = |key: &str| content[key].as_str().unwrap().to_owned();
        (ms("start_time"), ms("end_time"), text("user_name"), text("data"))
    };
    lines.into_values().flatten().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_is_there_as_text() {
    let (sent, recording) = record(|meeting| {
        meeting.script.share = vec![Span { start_ms: 3000, end_ms: 9000 }];
        meeting.script.camera_off = vec![Span { start_ms: 18_000, end_ms: 21_000 }];
    })
    .await;
    assert!(recording.manifest.complete, "{:#?}", recording.manifest);
    let zero = recording.manifest.zero_at.expect("there are media").0;

    let transcript = read(&recording, "transcript.json");
    let cue = |cue: &Value| {
        let text = |key: &str| cue[key].as_str().unwrap().to_owned();
        (cue["start_ms"].as_i64().unwrap(), cue["end_ms"].as_i64().unwrap(), text("user_name"), text("text"))
    };
    let cues: Vec<_> = transcript["cues"].as_array().unwrap().iter().map(cue).collect();
    assert_eq!(cues, said(&sent, zero));
    assert!(cues.windows(2).any(|pair| pair[1].0 < pair[0].1 && pair[0].2 != pair[1].2), "two speak at once");
    assert!(transcript["cues"].as_array().unwrap().iter().all(|cue| cue["language"] == "en"));

    let vtt = text(&recording, "transcript.vtt");
    assert!(!vtt.contains("<script") && !vtt.contains("taken back"), "{vtt}");
    assert!(vtt.contains("<v 李 &lt;Carol&gt; &amp; Co>") || !cues.iter().any(|cue| cue.2.contains("Carol")), "{vtt}");
    // What ffprobe makes of it: the same times, and one line each.
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=pts_time,duration_time", "-of", "json"])
        .arg(recording.file("transcript.vtt"))
        .output()
        .expect("ffprobe runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let packets: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let ms = |value: &Value| (value.as_str().unwrap().parse::<f64>().unwrap() * 1000.0).round() as i64;
    let seen = packets["packets"].as_array().unwrap().iter().map(|p| (ms(&p["pts_time"]), ms(&p["duration_time"])));
    let expected: Vec<_> = cues.iter().map(|cue| (cue.0, cue.1 - cue.0)).collect();
    assert_eq!(seen.collect::<Vec<_>>(), expected);

    chat_is_there(&sent, &recording, zero);
    people_are_there(&sent, &recording, zero);
    for (name, kind) in [
        ("transcript.vtt", "text/vtt; charset=utf-8"),
        ("transcript.json", "application/json"),
        ("chat.txt", "text/plain; charset=utf-8"),
        ("chat.json", "application/json"),
    ] {
        let object = recording.manifest.objects.iter().find(|object| object.name == name).expect("it is listed");
        assert_eq!(object.content_type, kind);
    }
}

fn chat_is_there(sent: &MeetingSummary, recording: &Recording, zero: i64) {
    let chat = read(recording, "chat.json");
    let messages = chat["messages"].as_array().unwrap();
    let written: Vec<Value> = contents(&sent.chat)
        .into_iter()
        .map(|content| {
            let inner = content["data"].as_str().and_then(|data| serde_json::from_str::<Value>(data).ok());
            inner.filter(Value::is_object).unwrap_or(content)
        })
        .collect();
    let new: Vec<&Value> = written.iter().filter(|m| m["operation_type"].as_i64().unwrap_or(1) == 1).collect();
    assert_eq!(messages.len(), new.len());
    for (message, new) in messages.iter().zip(&new) {
        assert_eq!(message["at_ms"].as_i64().unwrap(), new["timestamp"].as_i64().unwrap() - zero);
        assert_eq!(message["sender"]["user_name"], new["user_name"]);
        let same = |m: &&Value| new["message_id"].is_string() && m["message_id"] == new["message_id"];
        let last = |operation: i64| written.iter().filter(same).rfind(|m| m["operation_type"] == operation);
        if last(2).is_some() {
            assert!(message["text"].is_null() && message["deleted_at"].is_string(), "{message}");
        } else {
            assert_eq!(message["text"], last(3).unwrap_or(new)["data"]);
            assert_eq!(message["edited_at"].is_string(), last(3).is_some());
        }
        let is_private = new["chat_session"]["type"] == 2;
        assert_eq!(message["session"]["type"] == "individual", is_private);
    }
    let all = |key: &str| messages.iter().filter(|m| m[key].is_string() || m[key].is_array()).count();
    assert!(all("deleted_at") >= 1 && all("edited_at") >= 1 && all("parent_message_id") >= 1, "{chat:#}");
    assert!(all("files") >= 1 && all("reactions") >= 1, "{chat:#}");
    assert!(messages.iter().all(|m| m["reactions"][0]["emoji"] != "❤"), "it was taken back, or not yet given");

    let txt = text(recording, "chat.txt");
    for wanted in ["(edited)", "(deleted)", ", answering Bo/b", "    file: ../plan.pdf (1234 bytes)\n", "    👍 李"]
    {
        assert!(txt.contains(wanted), "{wanted:?} in\n{txt}");
    }
    assert!(!txt.contains("secret") && !chat.to_string().contains("secret"), "{txt}");
    let heads = txt.lines().filter(|line| line.starts_with('[')).count();
    assert_eq!(heads, messages.len(), "nothing that somebody wrote begins a line\n{txt}");
}

fn people_are_there(sent: &MeetingSummary, recording: &Recording, zero: i64) {
    let timeline = read(recording, "timeline.json");
    let list = |key: &str| timeline[key].as_array().unwrap().clone();
    let position = |ms: i64| sent.start_ms + ms - zero;
    // Events are sent at a tick of the simulator's driver.
    let near = |found: &Value, ms: i64| (found.as_i64().unwrap() - position(ms)).abs() < 1500;
    let people = list("participants");
    let names: Vec<_> = people.iter().map(|p| p["user_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Ada Example", "Bo/b \"Ops\" Ünal", "李 <Carol> & Co", "דנה (guest)"]);
    assert!(people.iter().all(|p| p["present"].as_array().unwrap().len() == 1), "{people:#?}");
    let (carol, guest) = (&people[2]["present"][0], &people[3]["present"][0]);
    assert!(near(&carol["start_ms"], 5000), "{carol}");
    assert!(near(&guest["start_ms"], 7000) && near(&guest["end_ms"], 14_000), "{guest}");
    let speakers = list("speakers");
    let of: Vec<_> = speakers.iter().map(|s| s["user_name"].as_str().unwrap()).collect();
    assert_eq!(of, &names[..3]);
    assert!(near(&speakers[1]["start_ms"], 10_000) && near(&speakers[1]["end_ms"], 20_000), "{speakers:#?}");
    let sharing = list("sharing");
    assert!(sharing.len() == 1 && near(&sharing[0]["start_ms"], 3000) && near(&sharing[0]["end_ms"], 9000));
    assert_eq!(sharing[0]["user_name"], names[1]);
    let cameras = list("cameras");
    let whose = |name: &str| cameras.iter().filter(|c| c["user_name"] == name).cloned().collect::<Vec<_>>();
    for name in &names[..2] {
        let [first, second] = &whose(name)[..] else { panic!("{cameras:#?}") };
        assert!(near(&first["end_ms"], 18_000) && near(&second["start_ms"], 21_000), "{cameras:#?}");
        assert!(second["until"].is_string(), "everybody leaves in the end");
    }
    assert!(near(&whose(names[2])[0]["start_ms"], 5000), "{cameras:#?}");
    assert!(whose(names[3]).len() == 1 && near(&whose(names[3])[0]["end_ms"], 14_000), "{cameras:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_connection_cost_is_said() {
    let (sent, recording) = record(|meeting| {
        meeting.length = Some(std::time::Duration::from_secs(20));
        meeting.script.cuts = vec![Cut { target: Target::Medium(Medium::Transcript), at_ms: 7000 }];
    })
    .await;
    assert_eq!(sent.losses.len(), 1, "{sent}");
    let missing = read(&recording, "transcript.json")["missing"].as_array().unwrap().clone();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let because = &recording.manifest.incomplete_because;
    assert!(because.iter().any(|why| why.starts_with("The transcript's connection was down once")), "{because:?}");
    assert!(text(&recording, "transcript.vtt").contains("NOTE The connection was down from"));
    assert_eq!(read(&recording, "chat.json")["missing"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_texts_there_are_no_files_of_them() {
    let mut home = Home::new();
    home.set("MEDIA", "audio");
    let recorder = home.start().await;
    play_one(meeting(&recorder.webhook, 4)).await;
    recorder.published(1).await;
    assert_eq!(home.bucket().recording().await.names(), ["audio.m4a", "timeline.json", "index.html"]);
}
