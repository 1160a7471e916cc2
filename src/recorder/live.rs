//! The streams that are being captured, for whoever shows them.

use super::Recorder;
use crate::capture::Health;
use crate::ids::{Product, RecordingId, StreamId};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A stream that is being captured.
#[derive(Clone, Debug)]
pub struct LiveStream {
    /// The stream.
    pub stream_id: StreamId,
    /// Its recording.
    pub recording_id: RecordingId,
    /// What is streamed.
    pub product: Product,
    /// How it is connected: server, region, round trip.
    pub health: Health,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<BTreeMap<RecordingId, LiveStream>>);

impl Registry {
    pub(super) fn add(&self, stream: LiveStream) {
        self.map(|map| map.insert(stream.recording_id.clone(), stream));
    }

    pub(super) fn remove(&self, id: &RecordingId) {
        self.map(|map| map.remove(id));
    }

    fn map<T>(&self, work: impl FnOnce(&mut BTreeMap<RecordingId, LiveStream>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recorder {
    /// The streams that are being captured, by their recordings' ids.
    pub fn live(&self) -> Vec<LiveStream> {
        self.shared.live.map(|map| map.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_there_while_it_is_captured() {
        let registry = Registry::default();
        let (stream_id, health) = (StreamId::new("s"), Health::default());
        let recording_id = RecordingId::new(&stream_id, 1);
        let stream = LiveStream { stream_id, recording_id: recording_id.clone(), product: Product::Phone, health };
        registry.add(stream.clone());
        registry.add(stream);
        let known = || registry.map(|map| map.values().map(|stream| stream.health.region()).collect::<Vec<_>>());
        assert_eq!(known(), [None], "it is not connected yet");
        registry.remove(&recording_id);
        assert!(known().is_empty());
    }
}
