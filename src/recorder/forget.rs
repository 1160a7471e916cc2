//! Forgets streams that are over for long: in the spool, in memory and for whoever is shown them at once, so that none of
//! these knows what another does not.

use super::Recorder;
use super::blocking::blocking;
use super::cloud::Cloud;
use super::folder::Folder;
use super::spool::Error;
use super::stream::Stream;
use crate::events::NotTaken;
use crate::ids::StreamId;
use std::sync::Arc;
use std::time::Duration;

/// How often that is done.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

impl Recorder {
    pub(super) async fn forget_now_and_then(self) {
        let cancel = self.shared.cancel.clone();
        while cancel.run_until_cancelled(tokio::time::sleep(FORGET_EVERY)).await.is_some() {
            self.forget().await;
        }
    }

    async fn forget(&self) {
        let complain = |err| tracing::warn!(err = %err, "what is long over cannot be removed from the spool");
        let shared = Arc::clone(&self.shared);
        let streams = blocking(move || shared.spool.forgettable()).await.unwrap_or_else(|err| {
            complain(err);
            Vec::new()
        });
        for (stream_id, folders) in streams {
            self.forget_stream(&stream_id, folders).await.unwrap_or_else(complain);
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.cloud.as_ref().map_or(Ok(()), Cloud::forget)).await.unwrap_or_else(complain);
        // Whoever holds a stream may be about to change it.
        self.shared.streams.lock().retain(|_, stream| {
            Arc::strong_count(stream) > 1 || stream.try_lock().map_or(true, |stream| !stream.is_unknown())
        });
    }

    async fn forget_stream(&self, stream_id: &StreamId, folders: Vec<Folder>) -> Result<(), NotTaken> {
        let stream = self.shared.stream(stream_id);
        let mut stream = stream.lock().await;
        let ids: Vec<_> = folders.iter().map(|folder| folder.id().clone()).collect();
        if ids.iter().all(|id| id.ordinal() < stream.ordinal) {
            // It was started again since.
            return Ok(());
        }
        let remove = move || {
            let still = folders.iter().all(|folder| folder.long_over().is_some());
            if still {
                folders.iter().try_for_each(Folder::remove)?;
            }
            Ok::<_, Error>(still)
        };
        if blocking(remove).await? {
            self.shared.board.forget(&ids);
            *stream = Stream::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::{Done, Published};
    use super::super::spool::Spool;
    use super::super::{Settings, Unfinished};
    use super::*;
    use crate::clock;
    use crate::config::Config;
    use crate::dial::Dialer;
    use crate::ffmpeg::{self, Ffmpeg};
    use crate::ids::RecordingId;
    use crate::store::{Store, Uploader, uploader};

    fn id(name: &str) -> RecordingId {
        RecordingId::from_folder(name).expect("the name of a folder")
    }

    fn done((name, ordinal, stream, _): &(&str, u32, &str, bool), at_ms: i64) -> Done {
        let published = Some(Published::example(stream, name));
        Done { stream_id: StreamId::new(*stream), ordinal: *ordinal, until_ts: 5, published, at_ms }
    }

    /// A recorder that was started again yesterday's evening knows in the morning what ended yesterday's morning.
    #[tokio::test]
    async fn a_stream_is_forgotten_everywhere_at_once_and_whole() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let home = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(&home.path().join("spool")).expect("a spool");
        let all = [
            ("again", 1, "again", true),
            ("going-on", 1, "going-on", true),
            ("going-on.2", 2, "going-on", false),
            ("old", 1, "old", true),
            ("old.2", 2, "old", true),
        ];
        let mark = |one: &(&str, u32, &str, bool), spool: &Spool, at_ms: i64| {
            spool.folder(id(one.0)).finish(&done(one, at_ms)).expect("a mark");
        };
        all.iter().for_each(|one| mark(one, &spool, clock::unix_ms()));
        let bucket = home.path().join("bucket").display().to_string();
        let env = |name: &str| match name {
            "ZOOM_CLIENT_ID" | "ZOOM_CLIENT_SECRET" | "ZOOM_SECRET_TOKEN" => Some("x".to_owned()),
            "STORAGE_URL" => Some(bucket.clone()),
            _ => None,
        };
        let settings = Settings::new(&Config::from_env(&env).expect("settings"));
        let store = Store::open(&bucket, &env).expect("a store");
        let uploader = Uploader::new(store, uploader::Settings::default());
        let dialer = Dialer::new().expect("certificates");
        let ffmpeg = Ffmpeg::new(ffmpeg::Settings::default());
        let recorder =
            Recorder::start(settings, spool, dialer, ffmpeg, uploader, Unfinished::Join).await.expect("it starts");
        let known = || {
            let mut names: Vec<_> = recorder.statuses().iter().map(|status| status.id.to_string()).collect();
            names.sort();
            names
        };
        recorder.forget().await;
        assert_eq!(known(), all.map(|(name, ..)| name));
        let spool = &recorder.shared.spool;
        all.iter().filter(|(.., is_old)| *is_old).for_each(|one| mark(one, spool, 1));
        // Its second recording begins at this moment.
        recorder.shared.stream(&StreamId::new("again")).lock().await.ordinal = 2;
        recorder.forget().await;
        assert_eq!(known(), ["again", "going-on", "going-on.2"]);
        let mut streams: Vec<_> = recorder.shared.streams.lock().keys().map(ToString::to_string).collect();
        streams.sort();
        assert_eq!(streams, ["again", "going-on"]);
        assert_eq!(all.map(|(name, ..)| spool.folder(id(name)).dir().exists()), [true, true, true, false, false]);
    }
}
