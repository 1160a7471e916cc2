//! What of a cloud recording goes where.

use super::intent::{Folder, Intent, stream_id};
use crate::ids::RecordingId;
use crate::media::Timestamp;
use crate::output::key::Object;
use crate::output::manifest::{self, CloudSource, Counters, Ids, Manifest, Source};
use crate::output::template::FolderParts;
use crate::output::{self, Template};
use crate::protocol::cloud::{CloudFile, CloudRecording};
use crate::store::uploader::{PlannedFile, PublishPlan};
use std::collections::{HashMap, HashSet};

/// The folder in the bucket of the `ordinal`-th import of a recording.
pub(super) fn folder(template: &Template, recording: &CloudRecording, ordinal: u32) -> output::Folder {
    let stream = stream_id(recording);
    template.folder(&FolderParts {
        started_at: Timestamp(recording.started_ms),
        meeting_id: recording.number.as_deref(),
        meeting_uuid: &recording.uuid,
        stream: &stream,
        ordinal,
        product: recording.product,
        account_id: recording.account_id.as_deref(),
        operator_id: recording.host_id.as_deref(),
    })
}

/// The object that a file becomes.
pub(super) fn object(file: &CloudFile) -> Object {
    match &file.participant {
        Some(name) => Object::cloud(name, true, &file.id, &file.extension),
        None => {
            let what = file.recording_type.as_deref().unwrap_or(&file.file_type);
            Object::cloud(what, false, &file.id, &file.extension)
        }
    }
}

/// What is published once every file is there, or is `missing` for a reason; `doubts` are about files that are there.
pub(super) fn plan(
    template: &Template,
    spool: &Folder,
    intent: &Intent,
    recording: &CloudRecording,
    ordinal: u32,
    missing: &HashMap<String, String>,
    doubts: Vec<String>,
) -> PublishPlan {
    let ids: HashSet<&String> = intent.files.iter().collect();
    let wanted = || recording.files.iter().filter(|file| ids.contains(&file.id));
    let files = wanted().filter(|file| !missing.contains_key(&file.id)).map(|file| PlannedFile {
        path: spool.file(&file.id),
        object: object(file),
        duration_ms: None,
        codec: None,
    });
    let listed = wanted().map(|file| manifest::CloudFile {
        id: file.id.clone(),
        name: (!missing.contains_key(&file.id)).then(|| object(file).name()),
        file_type: file.file_type.clone(),
        recording_type: file.recording_type.clone(),
        started_at: file.start_ms.map(Timestamp),
        ended_at: file.end_ms.map(Timestamp),
    });
    let start = wanted().filter_map(|file| file.start_ms).min();
    let end = wanted().filter_map(|file| file.end_ms).max();
    let lasted = start.zip(end).and_then(|(start, end)| u64::try_from(end - start).ok());
    let lost = wanted().filter_map(|file| {
        let why = missing.get(&file.id)?;
        Some(format!("{} was not imported: {why}.", object(file).name()))
    });
    let incomplete_because: Vec<String> = lost.chain(doubts).collect();
    let stream = stream_id(recording);
    let recording_id = RecordingId::new(&stream, ordinal);
    let manifest = Manifest {
        schema_version: manifest::SCHEMA_VERSION,
        recorder: manifest::Recorder::this(),
        previous: recording_id.previous(),
        recording_id,
        stream_id: stream,
        product: recording.product,
        ids: Ids {
            meeting_uuid: Some(recording.uuid.as_str().to_owned()),
            meeting_id: recording.number.clone(),
            account_id: recording.account_id.clone(),
            operator_id: recording.host_id.clone(),
            ..Ids::default()
        },
        source: Some(Source::Cloud(CloudSource { topic: recording.topic.clone(), files: listed.collect() })),
        regions: Vec::new(),
        continues: None,
        continued_by: None,
        started_at: Timestamp(recording.started_ms),
        zero_at: start.map(Timestamp),
        ended_at: end.map(Timestamp),
        duration_ms: lasted.unwrap_or(0),
        stop_reason: None,
        complete: incomplete_because.is_empty(),
        incomplete_because,
        objects: Vec::new(),
        tracks: Vec::new(),
        gaps: Vec::new(),
        counters: Counters::default(),
        notes: Vec::new(),
        deleted: None,
    };
    PublishPlan {
        folder: folder(template, recording, ordinal),
        spool: spool.dir().to_owned(),
        files: files.collect(),
        manifest,
    }
}
