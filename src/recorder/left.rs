//! How far an earlier run brought a recording, as its folder in the spool tells.

use super::folder::Folder;
use crate::journal::{self, Note, read};
use crate::protocol::event::Event;
use crate::store::uploader::PublishPlan;
use std::path::Path;
use std::time::Duration;

/// After a longer silence than this a stream is not joined again. Zoom gives up after 60 to 65 s; clocks may be adjusted.
const HELD_BY_ZOOM: Duration = Duration::from_secs(180);

/// The plan of a recording that is rendered and not published yet, if all its files are there.
pub(super) fn read_plan(folder: &Folder) -> Option<PublishPlan> {
    let bytes = std::fs::read(folder.out().join("plan.json")).ok()?;
    let mut plan: PublishPlan = serde_json::from_slice(&bytes)
        .inspect_err(|err| tracing::warn!(err = %err, "plan.json is not readable; rendering again"))
        .ok()?;
    // The spool may have been moved since.
    plan.spool = folder.dir().to_owned();
    for file in &mut plan.files {
        file.path = folder.out().join(file.object.name());
        if !file.path.exists() {
            tracing::warn!(path = %file.path.display(), "a finished file is missing; rendering again");
            return None;
        }
    }
    Some(plan)
}

/// How an earlier run left a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JournalState {
    /// The end of the stream is noted, with Zoom's reason.
    Ended(Option<i64>),
    /// Zoom said that it is over, with this reason, and the recorder was killed before it noted the end.
    Stopped(Option<i64>),
    /// Not even the start event is in it, though it is in the spool.
    Empty,
    /// Zoom may still hold the stream.
    Running,
    /// It was written to so long ago that Zoom does not.
    Old,
}

/// Reads it off the journal in `dir`. Blocks.
pub(super) fn state_of(dir: &Path) -> Result<JournalState, journal::Error> {
    if !dir.exists() {
        return Ok(JournalState::Empty);
    }
    let chunks = read::chunks(dir)?;
    let mut stopped = None;
    let mut has_events = false;
    let last = chunks.len().saturating_sub(2);
    // The first one has the start event, the last ones have what was seen of the end.
    for (n, chunk) in chunks.iter().enumerate().filter(|(n, _)| *n == 0 || *n >= last) {
        let bytes = chunk.read()?;
        for line in read::lines(&bytes, chunk.open).flatten().filter(|line| line.conn == journal::EVENT) {
            let read::Body::Json(json) = line.body else { continue };
            match (serde_json::from_slice(json), Event::parse(json, line.t)) {
                (Ok(Note::Ended { reason, .. }), _) if n >= last => return Ok(JournalState::Ended(reason)),
                (_, Ok(Event::Started(_))) => (has_events, stopped) = (true, None),
                (_, Ok(Event::Stopped { stop_reason, .. })) => stopped = Some(stop_reason),
                _ => {}
            }
        }
    }
    if !has_events {
        return Ok(JournalState::Empty);
    }
    if let Some(reason) = stopped {
        return Ok(JournalState::Stopped(reason));
    }
    let written = chunks.last().and_then(|chunk| chunk.path.metadata().and_then(|meta| meta.modified()).ok());
    let age = written.and_then(|at| at.elapsed().ok());
    Ok(if age.is_some_and(|age| age > HELD_BY_ZOOM) { JournalState::Old } else { JournalState::Running })
}
