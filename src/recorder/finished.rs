//! The recordings that are over, for whoever is shown them.
//!
//! A day may have thousands. So only what is shown is kept, and all their texts in one piece: small ones, each taken amid
//! the buffers of streams, would keep a page each from going back to the system.

use super::board::{Stage, Status};
use super::folder::Published;
use crate::ids::{Product, RecordingId, StreamId};
use crate::output::{Folder, Manifest};

#[derive(Debug, Default)]
pub(super) struct Finished {
    lines: Vec<Line>,
    texts: String,
}

#[derive(Clone, Debug)]
struct Line {
    id: Text,
    stream_id: Text,
    product: Product,
    meeting_id: Option<Text>,
    session_key: Option<Text>,
    started_ms: i64,
    folder: Text,
    over_ms: i64,
    duration_ms: Option<u64>,
    complete: Option<bool>,
    state: Stage,
}

/// Which part of the texts.
#[derive(Clone, Copy, Debug)]
struct Text {
    start: usize,
    end: usize,
}

impl Finished {
    /// One was published, or deleted, at `at_ms`; `whole` is its manifest if that is known. Replaces what was known of it.
    pub(super) fn put(&mut self, id: &RecordingId, published: &Published, at_ms: i64, whole: Option<&Manifest>) {
        let Published { folder, manifest } = published;
        let line = Line {
            id: self.keep(id.as_str()),
            stream_id: self.keep(manifest.stream_id.as_str()),
            product: manifest.product,
            meeting_id: manifest.ids.meeting_id.as_deref().map(|text| self.keep(text)),
            session_key: manifest.ids.session_key.as_deref().map(|text| self.keep(text)),
            started_ms: manifest.started_at.0,
            folder: self.keep(folder.as_str()),
            over_ms: at_ms,
            duration_ms: whole.map(|manifest| manifest.duration_ms),
            complete: whole.map(|manifest| manifest.complete),
            state: if manifest.deleted.is_some() { Stage::Deleted } else { Stage::Published },
        };
        match self.position(id) {
            Some(n) => self.lines[n] = line,
            None => self.lines.push(line),
        }
    }

    /// It is being deleted.
    pub(super) fn deleting(&mut self, id: &RecordingId) {
        if let Some(n) = self.position(id) {
            self.lines[n].state = Stage::Deleting;
        }
    }

    /// Where it is in the bucket, unless it is deleted or being deleted.
    pub(super) fn folder(&self, id: &RecordingId) -> Option<Folder> {
        let line = self.line(id).filter(|line| line.state == Stage::Published)?;
        Folder::try_from(self.text(line.folder)).ok()
    }

    pub(super) fn stream_of(&self, id: &RecordingId) -> Option<StreamId> {
        self.line(id).map(|line| StreamId::new(self.text(line.stream_id)))
    }

    pub(super) fn status(&self, id: &RecordingId) -> Option<Status> {
        self.line(id).and_then(|line| self.status_of(line))
    }

    /// All of them, in no order.
    pub(super) fn statuses(&self) -> impl Iterator<Item = Status> {
        self.lines.iter().filter_map(|line| self.status_of(line))
    }

    /// Forgets these, and all texts that nothing refers to any more.
    pub(super) fn forget(&mut self, ids: &[RecordingId]) {
        let before = std::mem::take(self);
        let of = |text: Text| &before.texts[text.start..text.end];
        for line in before.lines.iter().filter(|line| ids.iter().all(|id| id.as_str() != of(line.id))) {
            let mut keep = |text: Text| self.keep(of(text));
            let (id, stream_id, folder) = (keep(line.id), keep(line.stream_id), keep(line.folder));
            let (meeting_id, session_key) = (line.meeting_id.map(&mut keep), line.session_key.map(&mut keep));
            self.lines.push(Line { id, stream_id, folder, meeting_id, session_key, ..line.clone() });
        }
    }

    fn status_of(&self, line: &Line) -> Option<Status> {
        let text = |text: Text| self.text(text);
        Some(Status {
            id: RecordingId::from_folder(&text(line.id))?,
            stream_id: StreamId::new(text(line.stream_id)),
            product: line.product.as_str(),
            meeting_id: line.meeting_id.map(text),
            session_key: line.session_key.map(text),
            started_ms: line.started_ms,
            state: line.state,
            server: None,
            region: None,
            round_trip_ms: None,
            people: Vec::new(),
            connections: Vec::new(),
            received: Vec::new(),
            rendering: None,
            upload: None,
            trouble: None,
            folder: Some(text(line.folder)),
            over_ms: Some(line.over_ms),
            duration_ms: line.duration_ms,
            complete: line.complete,
        })
    }

    fn line(&self, id: &RecordingId) -> Option<&Line> {
        self.position(id).map(|n| &self.lines[n])
    }

    fn position(&self, id: &RecordingId) -> Option<usize> {
        self.lines.iter().position(|line| self.texts[line.id.start..line.id.end] == *id.as_str())
    }

    fn keep(&mut self, text: &str) -> Text {
        let start = self.texts.len();
        self.texts.push_str(text);
        Text { start, end: self.texts.len() }
    }

    fn text(&self, text: Text) -> String {
        self.texts[text.start..text.end].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Timestamp;

    #[test]
    fn what_is_over_is_told_until_it_is_forgotten() {
        let id = |name: &str| RecordingId::from_folder(name).unwrap();
        let mut finished = Finished::default();
        for (at_ms, name) in [(1, "a"), (2, "b"), (3, "c")] {
            let over = Published::example(name, name);
            finished.put(&id(name), &over, at_ms, Some(&over.manifest));
        }
        finished.deleting(&id("b"));
        assert_eq!(finished.status(&id("b")).unwrap().state, Stage::Deleting);
        assert!(finished.folder(&id("b")).is_none() && finished.stream_of(&id("b")).unwrap().as_str() == "b");
        let mut deleted = Published::example("b", "b");
        *deleted.manifest = deleted.manifest.into_deleted(Timestamp(0), "x");
        finished.put(&id("b"), &deleted, 4, None);
        for forgotten in [&[] as &[RecordingId], &[id("a")]] {
            finished.forget(forgotten);
            let b = finished.status(&id("b")).unwrap();
            assert_eq!((b.state, b.over_ms, b.meeting_id.as_deref()), (Stage::Deleted, Some(4), Some("of b")));
            assert_eq!((b.duration_ms, b.product, b.session_key), (None, "webinar", None));
            assert_eq!(finished.folder(&id("c")).unwrap().as_str(), "2026/11/20/c");
        }
        assert!(finished.status(&id("a")).is_none() && finished.statuses().count() == 2);
        assert_eq!(finished.texts.len(), 2 * "b".len() * 2 + 2 * "of b".len() + 2 * "2026/11/20/b".len());
    }
}
