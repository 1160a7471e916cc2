//! The chat: `chat.txt` to be read and `chat.json` for everything else.
//!
//! Invariants of the text: each message begins a line with its time, and nothing that somebody wrote begins a line, so that
//! nobody can write in another's name. The JSON has each text as Zoom sent it. Neither has anything of what was deleted.

use super::plain;
use super::time::{rfc3339, rfc3339_option};
use super::transcript::Missing;
use crate::ids::{Person, UserId};
use crate::media::{Pts, Timestamp};
use serde::Serialize;

/// The version of the format that is written.
pub const SCHEMA_VERSION: u32 = 1;

/// The format as a JSON Schema (draft 2020-12).
pub const SCHEMA: &str = include_str!("chat.schema.json");

/// What was written, and when. Times ending in `_ms` count from the recording's zero, the others are by Zoom's clock.
#[derive(Clone, Debug, Serialize)]
pub struct Chat {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The wall-clock time of zero.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub zero_at: Option<Timestamp>,
    /// What was written, in order.
    pub messages: Vec<Message>,
    /// When the chat's connection was down. What was written then is not sent again.
    pub missing: Vec<Missing>,
    /// How many messages are left out because they fell into pauses that are cut out.
    pub left_out_in_pauses: u64,
}

/// One message as it stood in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Where it was written; negative if that was before the recording's zero.
    pub at_ms: Pts,
    /// When it was written.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The id of the message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_message_id: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Person>,
    /// To whom, if it was to one person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Person>,
    /// For whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// What it says, as Zoom sent it; none if it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it was edited last.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub deleted_at: Option<Timestamp>,
    /// Files that came with it. Zoom does not deliver what is in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Reactions that were not taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
}

/// For whom a message is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Of what kind.
    #[serde(rename = "type")]
    pub kind: SessionKind,
    /// Which, if it is a group or the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Kinds of recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// Everyone.
    Everyone,
    /// One person.
    Individual,
    /// A group.
    Group,
    /// A webinar's hosts and panelists.
    HostsAndPanelists,
    /// One person, and the hosts and panelists get a copy.
    IndividualAndHosts,
    /// A kind that we do not know.
    Other,
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// Its name as the sender has it, which is no path to be followed; none if it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Whether it was deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// A reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reaction {
    /// The emoji, as Zoom sent it.
    pub emoji: String,
    /// Whose it is.
    #[serde(flatten)]
    pub by: Person,
}

impl Chat {
    /// The content of `chat.json`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a chat has only string keys and no failing types");
        json.push(b'\n');
        json
    }

    /// The content of `chat.txt`.
    pub fn to_txt(&self) -> String {
        let mut txt = String::new();
        let mut missing = self.missing.iter().peekable();
        for message in &self.messages {
            while let Some(down) = missing.next_if(|down| down.start_ms <= message.at_ms) {
                txt += &note(down);
            }
            self.write(message, &mut txt);
        }
        missing.for_each(|down| txt += &note(down));
        txt
    }

    fn write(&self, message: &Message, txt: &mut String) {
        let sender = shown(message.sender.as_ref());
        txt.push_str(&format!("[{}] {sender}", time(message.at_ms)));
        txt.push_str(&to_whom(message));
        if let Some(parent) = &message.parent_message_id {
            txt.push_str(&self.answered(parent));
        }
        txt.push(':');
        let mut lines = message.text.as_deref().map(plain::lines).unwrap_or_default().into_iter();
        if let Some(first) = lines.next() {
            txt.push(' ');
            txt.push_str(&first);
        }
        lines.for_each(|line| txt.push_str(&format!("\n    {line}")));
        match (message.deleted_at, message.edited_at) {
            (Some(_), _) => txt.push_str(" (deleted)"),
            (None, Some(_)) => txt.push_str(" (edited)"),
            (None, None) => {}
        }
        txt.push('\n');
        for file in &message.files {
            let name = file.file_name.as_deref().map(plain::line).filter(|name| !name.is_empty());
            let size = file.file_size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
            match file.deleted {
                true => txt.push_str("    file (deleted)\n"),
                false => txt.push_str(&format!("    file: {}{size}\n", name.as_deref().unwrap_or("without a name"))),
            }
        }
        for reaction in &message.reactions {
            txt.push_str(&format!("    {} {}\n", plain::line(&reaction.emoji), shown(Some(&reaction.by))));
        }
    }

    /// Which message is answered, in words.
    fn answered(&self, parent: &str) -> String {
        const SHOWN: usize = 40;
        let Some(parent) = self.messages.iter().find(|message| message.message_id.as_deref() == Some(parent)) else {
            return ", answering a message that is not here".to_owned();
        };
        let sender = shown(parent.sender.as_ref());
        let Some(text) = parent.text.as_deref().map(plain::line) else {
            return format!(", answering {sender} (deleted)");
        };
        let mut quote: String = text.chars().take(SHOWN).collect();
        if quote.len() < text.len() {
            quote.push('…');
        }
        format!(", answering {sender} \"{quote}\"")
    }
}

/// What somebody is called, on one line.
fn shown(person: Option<&Person>) -> String {
    let name = person.and_then(|person| person.user_name.as_deref());
    let id = person.and_then(|person| person.user_id.as_ref()).map(UserId::as_str);
    let mut called = [name, id].into_iter().flatten().map(plain::line).filter(|called| !called.is_empty());
    called.next().unwrap_or_else(|| "somebody".to_owned())
}

fn to_whom(message: &Message) -> String {
    let receiver = || shown(message.receiver.as_ref());
    match message.session.as_ref().map(|session| session.kind) {
        Some(SessionKind::Individual) => format!(" to {}", receiver()),
        Some(SessionKind::IndividualAndHosts) => format!(" to {} and the hosts and panelists", receiver()),
        Some(SessionKind::Group) => " to a group".to_owned(),
        Some(SessionKind::HostsAndPanelists) => " to the hosts and panelists".to_owned(),
        Some(SessionKind::Other) => " to some".to_owned(),
        None if message.receiver.is_some() => format!(" to {}", receiver()),
        Some(SessionKind::Everyone) | None => String::new(),
    }
}

fn note(down: &Missing) -> String {
    let (start, end) = (time(down.start_ms), time(down.end_ms));
    format!("[{start}] -- The connection was down until {end}. What was written then is not here.\n")
}

/// `00:00:09`, with a minus before the recording's zero.
fn time(at: Pts) -> String {
    let seconds = at.0.div_euclid(1000);
    let (sign, s) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
    format!("{sign}{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::schema;
    use proptest::prelude::*;

    fn person(name: &str) -> Person {
        Person { user_id: Some(UserId::new("7")), user_name: Some(name.to_owned()) }
    }

    fn message(at: i64, id: &str, name: &str, text: &str) -> Message {
        Message {
            at_ms: Pts(at),
            at: Timestamp(1_795_167_000_000),
            message_id: Some(id.to_owned()),
            parent_message_id: None,
            sender: Some(person(name)),
            receiver: None,
            session: Some(Session { kind: SessionKind::Everyone, id: None }),
            text: Some(text.to_owned()),
            edited_at: None,
            deleted_at: None,
            files: Vec::new(),
            reactions: Vec::new(),
        }
    }

    fn chat(messages: Vec<Message>) -> Chat {
        Chat { schema_version: 1, zero_at: Some(Timestamp(0)), messages, missing: Vec::new(), left_out_in_pauses: 0 }
    }

    fn example() -> Chat {
        let at = Some(Timestamp(1_795_167_009_000));
        let file = |name: Option<&str>, deleted| File {
            file_id: Some("f".to_owned()),
            file_name: name.map(str::to_owned),
            file_size: Some(1234),
            deleted,
        };
        let mut first = message(-1500, "1", "Ada", "two\r\nlines");
        first.reactions.push(Reaction { emoji: "👍".to_owned(), by: person("Bo") });
        let mut reply = message(61_000, "2", "Bo", "yes");
        (reply.parent_message_id, reply.edited_at) = (Some("1".to_owned()), at);
        let mut deleted = message(62_000, "3", "Bo", "");
        (deleted.text, deleted.deleted_at) = (None, at);
        let mut private = message(3_700_000, "4", "Ada", "only you");
        private.session = Some(Session { kind: SessionKind::Individual, id: Some("7".to_owned()) });
        (private.receiver, private.parent_message_id) = (Some(person("Carol")), Some("3".to_owned()));
        private.files = vec![file(Some("../plan.pdf"), false), file(None, true)];
        let mut bare = message(3_800_000, "5", "", "");
        (bare.message_id, bare.sender, bare.session) = (None, None, None);
        bare.parent_message_id = Some("unknown".to_owned());
        let mut chat = chat(vec![first, reply, deleted, private, bare]);
        chat.missing.push(Missing { start_ms: Pts(65_000), end_ms: Pts(70_000) });
        chat
    }

    #[test]
    fn the_text_says_what_became_of_each_message() {
        insta::assert_snapshot!(example().to_txt(), @r#"
        [-00:00:02] Ada: two
            lines
            👍 Bo
        [00:01:01] Bo, answering Ada "two lines": yes (edited)
        [00:01:02] Bo: (deleted)
        [00:01:05] -- The connection was down until 00:01:10. What was written then is not here.
        [01:01:40] Ada to Carol, answering Bo (deleted): only you
            file: ../plan.pdf (1234 bytes)
            file (deleted)
        [01:03:20] somebody, answering a message that is not here:
        "#);
    }

    #[test]
    fn the_json_follows_the_schema_and_the_schema_has_teeth() {
        schema::check(SCHEMA, &example().to_json()).unwrap();
        let text = String::from_utf8(example().to_json()).unwrap();
        for (field, wrong) in [("\"at_ms\"", "\"at\""), ("\"everyone\"", "\"all\""), ("\"emoji\"", "\"smiley\"")] {
            assert!(schema::check(SCHEMA, text.replace(field, wrong).as_bytes()).is_err(), "{field}");
        }
    }

    proptest! {
        #[test]
        fn nobody_can_write_in_anothers_name(name in "(?s).*", text in "(?s).*", quoted in "[\\[\\]0-9: \\n\\r\u{85}\u{2028}a]*", at: i64) {
            let mut mine = message(at, "1", &name, &text);
            let mut reply = message(at, "2", &quoted, &quoted);
            reply.parent_message_id = Some("1".to_owned());
            reply.reactions.push(Reaction { emoji: quoted.clone(), by: person(&text) });
            mine.files.push(File { file_id: None, file_name: Some(text), file_size: None, deleted: false });
            let txt = chat(vec![mine, reply]).to_txt();
            prop_assert_eq!(txt.lines().filter(|line| !line.starts_with("    ")).count(), 2, "{}", txt);
            prop_assert!(!txt.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}
