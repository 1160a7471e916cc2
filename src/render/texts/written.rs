//! From the chat's messages to the chat as it stood in the end.

use super::{is_cut, is_plausible};
use crate::ids::Person;
use crate::media::Timestamp;
use crate::output::chat::{Chat, File, Message, Reaction, SCHEMA_VERSION, Session, SessionKind};
use crate::output::transcript::Missing;
use crate::protocol::chat::{self, ChatMessage, Operation};
use crate::timeline::clock::Clock;
use std::collections::{HashMap, HashSet};

/// What was written so far, in the order in which it came. It is put together at the end: what is done during a pause
/// counts only if it takes something away.
#[derive(Debug, Default)]
pub(super) struct Written(Vec<ChatMessage>);

impl Written {
    pub(super) fn push(&mut self, message: &ChatMessage) {
        self.0.push(message.clone());
    }

    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(|message| message.timestamp).min()
    }

    /// The chat; none if there never was anything to be in it.
    pub(super) fn finish(self, clock: &Clock, zero: Option<Timestamp>, missing: Vec<Missing>) -> Option<Chat> {
        let (mut fold, mut left_out, mut last) = (Fold::default(), 0, clock.zero());
        let (mut new, mut later) = (Vec::new(), Vec::new());
        for message in self.0 {
            // Without a time that can be right it stands where the one before it stood.
            let at = message.timestamp.filter(|at| is_plausible(clock, *at)).unwrap_or(last);
            last = at;
            if is_cut(clock, at)
                && matches!(message.operation, Operation::New | Operation::Update | Operation::AddEmoji)
            {
                left_out += u64::from(message.operation == Operation::New);
                continue;
            }
            if message.operation == Operation::New { &mut new } else { &mut later }.push((message, at));
        }
        // What becomes of a message may overtake the message and what became of it before.
        later.sort_by_key(|(_, at)| *at);
        for (message, at) in new.into_iter().chain(later) {
            fold.apply(message, at, clock);
        }
        let mut messages = fold.messages;
        messages.sort_by_key(|message| message.at_ms);
        let there_is = !messages.is_empty() || left_out > 0;
        let chat =
            || Chat { schema_version: SCHEMA_VERSION, zero_at: zero, messages, missing, left_out_in_pauses: left_out };
        there_is.then(chat)
    }
}

#[derive(Default)]
struct Fold {
    messages: Vec<Message>,
    by_id: HashMap<String, usize>,
    /// Deleted, but never seen.
    deleted: HashSet<String>,
}

impl Fold {
    fn apply(&mut self, message: ChatMessage, at: Timestamp, clock: &Clock) {
        let known = message.id.as_ref().and_then(|id| self.by_id.get(id)).copied();
        match (message.operation, known.map(|index| &mut self.messages[index])) {
            // Sent twice.
            (Operation::New, Some(_)) => {}
            (Operation::New, None) => self.add(message, at, clock),
            (Operation::Update, Some(old)) => {
                // An edit is its author's; whoever else claims to make one does not.
                let author = old.sender.as_ref().and_then(|sender| sender.user_id.as_ref());
                let editor = message.sender.as_ref().and_then(|sender| sender.user_id.as_ref());
                let is_foreign = matches!((author, editor), (Some(author), Some(editor)) if author != editor);
                if old.deleted_at.is_none() && !is_foreign {
                    edit(old, message, at);
                }
            }
            (Operation::Update, None) => {
                self.add(message, at, clock);
                if let Some(new) = self.messages.last_mut().filter(|new| new.deleted_at.is_none()) {
                    new.edited_at = Some(at);
                }
            }
            (Operation::Delete, Some(old)) => delete(old, &message.deleted_files, at),
            (Operation::Delete, None) => self.deleted.extend(message.id),
            (Operation::AddEmoji, Some(old)) if old.deleted_at.is_none() => {
                let reaction = reaction(message);
                if !old.reactions.contains(&reaction) {
                    old.reactions.push(reaction);
                }
            }
            (Operation::RemoveEmoji, Some(old)) => {
                let gone = reaction(message);
                let same = |r: &Reaction| {
                    r.emoji == gone.emoji && (r.by.user_id == gone.by.user_id || gone.by == Person::default())
                };
                old.reactions.retain(|reaction| !same(reaction));
            }
            (Operation::AddEmoji | Operation::RemoveEmoji, _) => {}
        }
    }

    fn add(&mut self, message: ChatMessage, at: Timestamp, clock: &Clock) {
        let was_deleted = message.id.as_ref().is_some_and(|id| self.deleted.contains(id));
        if let Some(id) = &message.id {
            self.by_id.insert(id.clone(), self.messages.len());
        }
        let session = message.session.as_ref().map(|kind| Session { kind: session(kind), id: message.session_id });
        let mut new = Message {
            at_ms: clock.pts(at),
            at,
            message_id: message.id,
            parent_message_id: message.parent_id,
            sender: message.sender,
            receiver: message.receiver,
            session,
            text: Some(message.text),
            edited_at: None,
            deleted_at: None,
            files: message.files.into_iter().map(file).collect(),
            reactions: Vec::new(),
        };
        if was_deleted {
            delete(&mut new, &[], at);
        }
        self.messages.push(new);
    }
}

fn edit(old: &mut Message, new: ChatMessage, at: Timestamp) {
    delete_files(old, &new.deleted_files);
    let has_text = !new.text.is_empty();
    // A file that is taken away leaves the text as it was.
    if has_text || new.deleted_files.is_empty() {
        old.text = Some(new.text);
    }
    for file in new.files.into_iter().map(file) {
        if file.file_id.is_none() || old.files.iter().all(|known| known.file_id != file.file_id) {
            old.files.push(file);
        }
    }
    old.edited_at = Some(at);
}

/// Deletes the files that are named, or all of the message if they are all that it has, or none is named.
fn delete(message: &mut Message, files: &[String], at: Timestamp) {
    delete_files(message, files);
    if !files.is_empty() && message.files.iter().any(|file| !file.deleted) {
        return;
    }
    message.files.iter_mut().for_each(|file| (file.deleted, file.file_name) = (true, None));
    message.reactions.clear();
    message.text = None;
    message.deleted_at.get_or_insert(at);
}

fn delete_files(message: &mut Message, ids: &[String]) {
    let listed = |file: &&mut File| file.file_id.as_ref().is_some_and(|id| ids.contains(id));
    message.files.iter_mut().filter(listed).for_each(|file| (file.deleted, file.file_name) = (true, None));
}

fn reaction(message: ChatMessage) -> Reaction {
    Reaction { emoji: message.text, by: message.sender.unwrap_or_default() }
}

fn file(file: chat::File) -> File {
    File { file_id: file.id, file_name: file.name, file_size: file.size, deleted: false }
}

fn session(kind: &chat::SessionKind) -> SessionKind {
    match kind {
        chat::SessionKind::Everyone => SessionKind::Everyone,
        chat::SessionKind::Individual => SessionKind::Individual,
        chat::SessionKind::Group => SessionKind::Group,
        chat::SessionKind::HostsAndPanelists => SessionKind::HostsAndPanelists,
        chat::SessionKind::IndividualAndHosts => SessionKind::IndividualAndHosts,
        chat::SessionKind::Other(_) => SessionKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::clock::PausePolicy;
    use serde_json::{Value, json};

    const ZERO: i64 = 1_795_000_000_000;

    fn fold(contents: &[Value]) -> Option<Chat> {
        let mut clock = Clock::new(Timestamp(ZERO), PausePolicy::Cut);
        clock.pause(Timestamp(ZERO + 50_000));
        clock.resume(Timestamp(ZERO + 60_000));
        let mut written = Written::default();
        for content in contents {
            written.push(&ChatMessage::parse(json!({"content": content}).to_string().as_bytes()).unwrap());
        }
        written.finish(&clock, None, Vec::new())
    }

    fn content(at: i64, operation: i64, id: &str, user: u32, text: &str) -> Value {
        json!({"timestamp": ZERO + at, "operation_type": operation, "message_id": id, "data": text,
               "sender": {"user_id": user, "user_name": format!("user {user}")}})
    }

    #[test]
    fn edits_deletions_and_reactions_are_applied() {
        let mut filed = content(1000, 1, "1", 7, "see");
        filed["files"] = json!([{"file_id": "a", "file_name": "a.pdf"}, {"file_id": "b", "file_name": "b.pdf"}]);
        let mut less = content(3000, 2, "1", 7, "");
        less["delete_file_id_list"] = json!(["b"]);
        let chat = fold(&[
            filed,
            content(2000, 1, "2", 8, "first"),
            less,
            content(4000, 3, "2", 8, "second"),
            content(5000, 3, "2", 9, "not the author's"),
            content(5000, 1, "3", 7, "secret"),
            content(5500, 4, "3", 8, "❤"),
            content(6000, 2, "3", 7, ""),
            content(6100, 3, "3", 7, "secret again"),
            content(6200, 4, "3", 8, "❤"),
            content(7000, 4, "2", 7, "👍"),
            content(7001, 4, "2", 7, "👍"),
            content(7002, 4, "2", 9, "👍"),
            content(7003, 5, "2", 9, "👍"),
            content(7900, 2, "never seen", 7, ""),
            content(8000, 2, "overtaken", 7, ""),
            content(8001, 1, "overtaken", 7, "what had been deleted"),
            content(8500, 3, "never seen", 7, "what had been deleted, too"),
            content(9000, 1, "2", 8, "sent twice"),
        ])
        .unwrap();
        let shown: Vec<_> =
            chat.messages.iter().map(|m| (m.at_ms.0, m.text.as_deref(), m.edited_at, m.deleted_at)).collect();
        let at = |ms: i64| Some(Timestamp(ZERO + ms));
        assert_eq!(
            shown,
            [
                (1000, Some("see"), None, None),
                (2000, Some("second"), at(4000), None),
                (5000, None, None, at(6000)),
                (8001, None, None, at(8000)),
                (8500, None, None, at(8500)),
            ]
        );
        let files: Vec<_> = chat.messages[0].files.iter().map(|f| (f.file_name.as_deref(), f.deleted)).collect();
        assert_eq!(files, [(Some("a.pdf"), false), (None, true)]);
        assert_eq!(chat.messages[1].reactions.len(), 1);
        assert!(chat.messages[2].reactions.is_empty());
        assert!(!String::from_utf8(chat.to_json()).unwrap().contains("secret"));
    }

    #[test]
    fn what_becomes_of_a_message_may_come_before_it() {
        let mut original = content(1000, 1, "1", 7, "first");
        original["parent_message_id"] = json!("0");
        let chat = fold(&[
            content(3000, 3, "1", 7, "third"),
            content(2000, 3, "1", 7, "second"),
            content(4000, 4, "1", 8, "👍"),
            original,
            content(5000, 3, "lost", 8, "only its edit came"),
        ])
        .unwrap();
        let shown: Vec<_> = chat.messages.iter().map(|m| (m.at_ms.0, m.text.as_deref(), m.edited_at)).collect();
        let at = |ms: i64| Some(Timestamp(ZERO + ms));
        assert_eq!(shown, [(1000, Some("third"), at(3000)), (5000, Some("only its edit came"), at(5000))]);
        assert_eq!((chat.messages[0].parent_message_id.as_deref(), chat.messages[0].reactions.len()), (Some("0"), 1));
    }

    #[test]
    fn pauses_hide_what_is_written_but_not_what_is_deleted() {
        let chat = fold(&[
            content(1000, 1, "1", 7, "early"),
            content(55_000, 1, "2", 7, "hidden"),
            content(56_000, 2, "1", 7, ""),
            json!({"data": "no time"}),
            content(65_000, 1, "3", 7, "late"),
        ])
        .unwrap();
        let shown: Vec<_> = chat.messages.iter().map(|m| (m.at_ms.0, m.text.as_deref())).collect();
        assert_eq!(shown, [(1000, None), (55_000, Some("late"))]);
        assert_eq!(chat.left_out_in_pauses, 2);
        assert_eq!(fold(&[content(1, 2, "x", 1, "")]).map(|chat| chat.messages.len()), None);
    }
}
