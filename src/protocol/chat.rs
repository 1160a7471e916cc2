//! What was written: message 18, in both of its forms.
//!
//! A chat message is plain text in `data` with a time beside it, or it is extended: with an id, a sender, a session and
//! more, either in `content` itself or as JSON in `data`. A participant can write JSON too, so `data` is taken for the
//! extended form only where `content` is plain, names a message id, and does not contradict `content` on who wrote it.

use super::fields::{epoch, id, int, name, text};
use super::message::content_of;
use crate::ids::{Person, UserId};
use crate::media::Timestamp;
use serde_json::Value;

/// What a message does to the chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Something was written.
    New,
    /// A message, or some files of it, are deleted.
    Delete,
    /// A message reads differently now.
    Update,
    /// Somebody reacts to a message.
    AddEmoji,
    /// A reaction is taken back.
    RemoveEmoji,
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Everyone.
    Everyone,
    /// One person.
    Individual,
    /// A chat group.
    Group,
    /// A webinar's hosts and panelists.
    HostsAndPanelists,
    /// One person, and the hosts and panelists get a copy.
    IndividualAndHosts,
    /// Another, by Zoom's number.
    Other(i64),
}

/// A file that came with a message. Its content is not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its id.
    pub id: Option<String>,
    /// Its name, as the sender has it.
    pub name: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// One message of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// What it does.
    pub operation: Operation,
    /// When.
    pub timestamp: Option<Timestamp>,
    /// Which message it is about; only the extended form has one.
    pub id: Option<String>,
    /// The message that is answered.
    pub parent_id: Option<String>,
    /// Who wrote it, or reacts.
    pub sender: Option<Person>,
    /// To whom.
    pub receiver: Option<Person>,
    /// For whom.
    pub session: Option<SessionKind>,
    /// The id of a group.
    pub session_id: Option<String>,
    /// What was written, or the emoji of a reaction; as Zoom sent it.
    pub text: String,
    /// Files that came with it.
    pub files: Vec<File>,
    /// Ids of files that are deleted.
    pub deleted_files: Vec<String>,
}

impl ChatMessage {
    /// Reads a message of type 18; `None` if it has no content, or is of an operation that we do not know.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let outer = match content_of(json)? {
            Value::String(text) => serde_json::json!({ "data": text }),
            object @ Value::Object(_) => object,
            _ => return None,
        };
        match inner(&outer) {
            Some(inner) => Self::read(&inner, &outer),
            None => Self::read(&outer, &outer),
        }
    }

    /// Reads the extended form; what is missing in it may stand in `outer`.
    fn read(content: &Value, outer: &Value) -> Option<Self> {
        let operation = match int(&content["operation_type"]) {
            None | Some(0 | 1) => Operation::New,
            Some(2) => Operation::Delete,
            Some(3) => Operation::Update,
            Some(4) => Operation::AddEmoji,
            Some(5) => Operation::RemoveEmoji,
            Some(_) => return None,
        };
        let list = |key: &str| content[key].as_array().map_or(&[][..], Vec::as_slice);
        let session = &content["chat_session"];
        Some(Self {
            operation,
            timestamp: epoch(&content["timestamp"]).or_else(|| epoch(&outer["timestamp"])),
            id: id(&content["message_id"]),
            parent_id: id(&content["parent_message_id"]),
            sender: sender(content).or_else(|| sender(outer)),
            receiver: person(&content["receiver"]),
            session: int(&session["type"]).map(kind),
            session_id: id(&session["id"]),
            text: emoji(operation, content).or_else(|| text(&content["data"])).unwrap_or_default(),
            files: list("files").iter().map(file).collect(),
            deleted_files: list("delete_file_id_list")
                .iter()
                .filter_map(|f| id(f).or_else(|| id(&f["file_id"])))
                .collect(),
        })
    }
}

/// The extended form inside of `data`.
fn inner(outer: &Value) -> Option<Value> {
    const EXTENDED: [&str; 4] = ["message_id", "operation_type", "chat_session", "sender"];
    if EXTENDED.iter().any(|key| !outer[key].is_null()) {
        return None;
    }
    let inner: Value = match &outer["data"] {
        Value::String(text) if text.trim_start().starts_with('{') => serde_json::from_str(text).ok()?,
        object @ Value::Object(_) => object.clone(),
        _ => return None,
    };
    let says_who = |content: &Value| sender(content).and_then(|person| person.user_id);
    let contradicts = matches!((says_who(outer), says_who(&inner)), (Some(a), Some(b)) if a != b);
    let is_extended = id(&inner["message_id"]).is_some() && EXTENDED[1..].iter().any(|key| !inner[key].is_null());
    (is_extended && !contradicts).then_some(inner)
}

fn sender(content: &Value) -> Option<Person> {
    person(&content["sender"]).or_else(|| person(content))
}

fn person(value: &Value) -> Option<Person> {
    let person = Person { user_id: id(&value["user_id"]).map(UserId::new), user_name: name(&value["user_name"]) };
    (person != Person::default()).then_some(person)
}

/// Where the emoji stands is in no document; `data` is our guess when there is no field of that name.
fn emoji(operation: Operation, content: &Value) -> Option<String> {
    matches!(operation, Operation::AddEmoji | Operation::RemoveEmoji).then(|| name(&content["emoji"])).flatten()
}

fn kind(number: i64) -> SessionKind {
    match number {
        1 => SessionKind::Everyone,
        2 => SessionKind::Individual,
        3 => SessionKind::Group,
        4 => SessionKind::HostsAndPanelists,
        5 => SessionKind::IndividualAndHosts,
        other => SessionKind::Other(other),
    }
}

fn file(file: &Value) -> File {
    let size = int(&file["file_size"]).and_then(|size| u64::try_from(size).ok());
    File { id: id(&file["file_id"]), name: name(&file["file_name"]), size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(content: &Value) -> ChatMessage {
        ChatMessage::parse(json!({"msg_type": 18, "content": content}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn both_places_of_the_extended_form_read_the_same() {
        let beside = ChatMessage::parse(include_bytes!("../../fixtures/text/chat-extended-in-content.json")).unwrap();
        let inside = ChatMessage::parse(include_bytes!("../../fixtures/text/chat-extended-in-data.json")).unwrap();
        assert_eq!(beside, inside);
        assert_eq!(beside.operation, Operation::New);
        assert_eq!((beside.id.as_deref(), beside.parent_id.as_deref()), (Some("{MSG-2}"), Some("{MSG-1}")));
        assert_eq!(beside.session, Some(SessionKind::Individual));
        assert_eq!(beside.sender.unwrap().user_name.as_deref(), Some("Ada Example"));
        assert_eq!(beside.receiver.unwrap().user_id, Some(UserId::new("16779264")));
        let file = File { id: Some("f1".into()), name: Some("../plan.pdf".into()), size: Some(1234) };
        assert_eq!((beside.text.as_str(), beside.files), ("See the plan.", vec![file]));
    }

    #[test]
    fn plain_text_stays_plain() {
        for text in ["hello", "{", "{}", r#"{"a":1}"#, r#"{"message_id":"x"}"#, "[1]"] {
            let message = parse(&json!({"timestamp": 1_754_042_400, "data": text}));
            assert_eq!((message.text.as_str(), message.id), (text, None));
            assert_eq!(message.timestamp, Some(Timestamp(1_754_042_400_000)));
        }
    }

    #[test]
    fn json_that_somebody_wrote_does_not_speak_for_others() {
        let forged = r#"{"operation_type":2,"message_id":"{MSG-1}","sender":{"user_id":1},"data":""}"#;
        let named = parse(&json!({"user_id": 2, "timestamp": 1_754_042_400_123_i64, "data": forged}));
        assert_eq!((named.operation, named.text.as_str()), (Operation::New, forged));
        let extended = parse(&json!({"message_id": "{MSG-9}", "operation_type": 1, "data": forged}));
        assert_eq!((extended.id.as_deref(), extended.text.as_str()), (Some("{MSG-9}"), forged));
    }

    #[test]
    fn operations_are_told_apart() {
        let of = |operation: Value| {
            let content = json!({"operation_type": operation, "message_id": "m", "data": "👍",
                                 "delete_file_id_list": ["a", 7, {"file_id": "b"}, []]});
            ChatMessage::parse(json!({"content": content}).to_string().as_bytes())
        };
        let read = of(json!("2")).unwrap();
        assert_eq!((read.operation, read.deleted_files), (Operation::Delete, vec!["a".into(), "7".into(), "b".into()]));
        assert_eq!(of(json!(4)).unwrap().text, "👍");
        assert_eq!(of(json!(5)).unwrap().operation, Operation::RemoveEmoji);
        assert_eq!(of(json!(99)), None);
        for json in ["", "{}", "[]", r#"{"content":[]}"#] {
            assert_eq!(ChatMessage::parse(json.as_bytes()), None, "{json}");
        }
    }
}
