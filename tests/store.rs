//! The store and the uploader against a local directory and a real S3 server with faults. That backends do alike is in
//! `backends.rs`.

use crate::common::conformance::{MIB, VIDEO, content, open, write};
use crate::common::s3::{self, BUCKET, Fault, S3Server, SECRET_KEY, Seen};
use crate::common::sha256;
use bytes::Bytes;
use hyper::Method;
use rtms_recorder::ids::Product;
use rtms_recorder::ids::{MeetingId, RecordingId, StreamId};
use rtms_recorder::media::Timestamp;
use rtms_recorder::output::manifest::{Counters, Ids, Recorder, SCHEMA_VERSION};
use rtms_recorder::output::template::{FolderParts, Template};
use rtms_recorder::output::{Manifest, Object};
use rtms_recorder::store::uploader::{self, PlannedFile, Progress, PublishPlan, Settings};
use rtms_recorder::store::{Cause, Error, LEDGER, Store, Uploader};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

fn open_s3(server: &S3Server) -> Store {
    open(&format!("s3://{BUCKET}/some/prefix"), &server.env())
}

async fn refusal(store: &Store) -> Error {
    let error = store.put_bytes("a", Bytes::from_static(b"a"), VIDEO).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let text = format!("{error} {error:?} {store:?}");
    assert!(!text.contains(SECRET_KEY) && !text.contains("Signature="), "{text}");
    error
}

#[tokio::test]
async fn refusals_say_what_to_change() {
    let server = S3Server::start().await;
    let with = |name: &str, value: &str| {
        let mut env = server.env();
        env.push((name.to_owned(), value.to_owned()));
        env
    };
    let url = format!("s3://{BUCKET}");

    let error = refusal(&open(&url, &with("AWS_SECRET_ACCESS_KEY", "wrong"))).await;
    assert_eq!(error.cause(), Some(Cause::BadCredentials), "{error}");
    assert_eq!(
        error.to_string(),
        "upload of s3://recordings/a failed: 403 Forbidden (SignatureDoesNotMatch); check the bucket credentials (for \
         S3 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    );
    let error = refusal(&open(&url, &with("AWS_ACCESS_KEY_ID", "nobody"))).await;
    assert!(matches!(error.cause(), Some(Cause::BadCredentials | Cause::Denied)), "{error}");

    for (fault, cause) in [
        (Fault::Refuse(404, "NoSuchBucket"), Cause::NoBucket),
        (Fault::Refuse(403, "AccessDenied"), Cause::Denied),
        (Fault::Refuse(403, "RequestTimeTooSkewed"), Cause::Clock),
        (Fault::Refuse(400, "ExpiredToken"), Cause::Expired),
        (Fault::Refuse(400, "BadDigest"), Cause::Damaged),
        (Fault::Refuse(400, "NotImplemented"), Cause::Unsupported),
        (Fault::Status(400), Cause::Other),
        (Fault::Status(403), Cause::Denied),
        (Fault::Status(301), Cause::Region),
    ] {
        server.inject(fault, 1, |_| true);
        let error = refusal(&open(&url, &server.env())).await;
        assert_eq!(error.cause(), Some(cause), "{error}");
    }

    server.inject(Fault::Status(503), 3, |_| true);
    let error = refusal(&open(&url, &server.env())).await;
    assert_eq!(error.cause(), Some(Cause::Busy), "{error}");
    assert!(error.to_string().contains("503 Service Unavailable"), "{error}");

    server.inject(Fault::Cut, usize::MAX, |_| true);
    let error = refusal(&open(&url, &server.env())).await;
    assert_eq!(error.cause(), Some(Cause::Interrupted), "{error}");

    let nobody = crate::common::ports::free();
    let error = refusal(&open(&url, &s3::env(nobody))).await;
    assert_eq!(error.cause(), Some(Cause::Unreachable), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let server = S3Server::start().await;
    server.inject(Fault::Hang, usize::MAX, |_| true);
    let mut env = server.env();
    env.push(("AWS_TIMEOUT".to_owned(), "500 ms".to_owned()));
    let started = Instant::now();
    let error = refusal(&open(&format!("s3://{BUCKET}"), &env)).await;
    assert_eq!(error.cause(), Some(Cause::Timeout), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn without_credentials_the_error_says_which_to_give() {
    let server = S3Server::start().await;
    let mut env = server.env();
    env.retain(|(name, _)| name != "AWS_ACCESS_KEY_ID" && name != "AWS_SECRET_ACCESS_KEY");
    let nobody = crate::common::ports::free();
    env.push(("AWS_METADATA_ENDPOINT".to_owned(), format!("http://{nobody}")));
    let error = refusal(&open(&format!("s3://{BUCKET}"), &env)).await;
    assert_eq!(error.cause(), Some(Cause::NoCredentials), "{error}");
}

#[tokio::test]
async fn multipart_uploads_are_aborted_when_they_fail_or_are_dropped() {
    let server = S3Server::start().await;
    let store = open_s3(&server);
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "large", &content(20 * MIB));
    let is_part = |seen: &Seen| seen.query.contains("partNumber=2");
    let aborts = || {
        let seen = server.seen().into_iter();
        seen.filter(|s| s.method == Method::DELETE && s.query.contains("uploadId=") && s.status == 204).count()
    };

    server.inject(Fault::Status(403), 1, is_part);
    let error = store.put_file("a", &file, VIDEO).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Denied), "{error}");
    assert_eq!(aborts(), 1);

    server.inject(Fault::Hang, 1, is_part);
    let dropped = tokio::time::timeout(Duration::from_secs(1), store.put_file("a", &file, VIDEO)).await;
    assert!(dropped.is_err());
    store.settle().await;
    assert_eq!(aborts(), 2);
    assert!(store.list("").await.unwrap().is_empty());
    store.put_file("a", &file, VIDEO).await.unwrap();
}

fn fast() -> Settings {
    Settings { first_delay: Duration::from_millis(20), max_delay: Duration::from_millis(200), ..Settings::default() }
}

/// A recording of two files, one of them large, in a spool.
fn plan(spool: &Path) -> PublishPlan {
    plan_of(spool, 1)
}

/// The same of the `ordinal`-th recording of its stream.
fn plan_of(spool: &Path, ordinal: u32) -> PublishPlan {
    let stream = StreamId::new("0123456789abcdef0123456789abcdef");
    let started_at = Timestamp(1_795_167_000_123);
    let folder = Template::default().folder(&FolderParts {
        started_at,
        meeting_id: Some("85746065432"),
        meeting_uuid: &MeetingId::new("Ab+/cdEFghIJklMNopQRst=="),
        stream: &stream,
        ordinal,
        product: Product::Meeting,
        account_id: None,
        operator_id: None,
    });
    let file = |object: Object, size| PlannedFile {
        path: write(spool, &object.name(), &content(size)),
        object,
        duration_ms: Some(1_000),
        codec: None,
    };
    PublishPlan {
        folder,
        spool: spool.to_owned(),
        files: vec![file(Object::Recording, 9 * MIB), file(Object::Audio, 70_000)],
        manifest: Manifest {
            source: None,
            schema_version: SCHEMA_VERSION,
            recorder: Recorder::this(),
            recording_id: RecordingId::new(&stream, ordinal),
            stream_id: stream,
            product: Product::Meeting,
            ids: Ids::default(),
            regions: Vec::new(),
            previous: None,
            continues: None,
            continued_by: None,
            started_at,
            zero_at: None,
            ended_at: None,
            duration_ms: 1_000,
            stop_reason: None,
            complete: true,
            incomplete_because: Vec::new(),
            objects: Vec::new(),
            tracks: Vec::new(),
            gaps: Vec::new(),
            counters: Counters::default(),
            notes: Vec::new(),
            deleted: None,
        },
    }
}

/// What was heard of failures.
#[derive(Default, Debug)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn progress(&self) -> impl Fn(Progress<'_>) + Send + Sync {
        |progress| {
            if let Progress::Failed { failure, .. } = progress {
                self.0.lock().unwrap().push(failure.to_string());
            }
        }
    }

    fn failures(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn publish(store: &Store, plan: &PublishPlan, heard: &Heard) -> Result<uploader::Published, uploader::Error> {
    let uploader = Uploader::new(store.clone(), fast());
    let publishing = async { uploader.publish(plan, &heard.progress(), &CancellationToken::new()).await };
    tokio::time::timeout(Duration::from_secs(20), publishing).await.expect("it ends by itself")
}

/// Reads the manifest from the bucket and everything that it lists.
async fn assert_published(store: &Store, plan: &PublishPlan) {
    let manifest = store.get(&plan.folder.key(&Object::Manifest)).await.unwrap();
    let manifest = Manifest::from_json(&manifest).unwrap();
    assert_eq!(manifest.objects.len(), plan.files.len());
    for (entry, file) in manifest.objects.iter().zip(&plan.files) {
        let read = store.read_back(&entry.key).await.unwrap();
        assert_eq!((read.size_bytes, &read.sha256), (entry.size_bytes, &entry.sha256));
        assert_eq!(entry.sha256, sha256(&std::fs::read(&file.path).unwrap()));
        assert_eq!(entry.content_type, file.object.content_type());
    }
}

#[tokio::test]
async fn the_manifest_is_written_last() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (store, plan, heard) = (open_s3(&server), plan(spool.path()), Heard::default());
    // The large one is slowed down, and still comes before the manifest.
    server.inject(Fault::Status(500), 4, |s| s.query.contains("partNumber="));
    let published = publish(&store, &plan, &heard).await.unwrap();
    assert_eq!(published.sent_bytes, (9 * MIB + 70_000) as u64);
    let written = server.written();
    assert_eq!(written.len(), 3, "{written:?}");
    assert!(written[2].ends_with("/manifest.json"), "{written:?}");
    assert_published(&store, &plan).await;
    let listed: Vec<_> = store.list("").await.unwrap().into_iter().map(|head| head.key).collect();
    let folder = "2026/11/20/093000Z-85746065432-01234567";
    assert_eq!(listed, ["audio.m4a", "manifest.json", "recording.mp4"].map(|name| format!("{folder}/{name}")));
}

#[tokio::test]
async fn a_local_directory_is_published_to_as_well() {
    let (bucket, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(bucket.path().to_str().unwrap(), &[]);
    let (plan, heard) = (plan(spool.path()), Heard::default());
    let folder = bucket.path().join(plan.folder.as_str());
    // As a killed process leaves them.
    std::fs::create_dir_all(folder.join("participants")).unwrap();
    let left = ["recording.mp4#1", "participants/1-Ada.m4a#12"].map(|name| write(&folder, name, b"half"));
    publish(&store, &plan, &heard).await.unwrap();
    assert!(left.iter().all(|file| !file.exists()));
    assert_published(&store, &plan).await;
    let again = publish(&store, &plan, &heard).await.unwrap();
    assert_eq!((again.sent_bytes, heard.failures()), (0, Vec::new()));
}

/// A recording's task owns what it publishes with.
#[tokio::test]
async fn publishing_can_be_a_task_of_its_own() {
    let (bucket, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let uploader = std::sync::Arc::new(Uploader::new(open(bucket.path().to_str().unwrap(), &[]), fast()));
    let plan = plan(spool.path());
    let task = tokio::spawn(async move {
        let cancel = CancellationToken::new();
        let published = uploader.publish(&plan, &|_| (), &cancel).await?;
        let deleted = published.manifest.clone().into_deleted(Timestamp(0), "Consent was withdrawn.");
        uploader.withdraw(&plan.folder, &deleted, &|_| (), &cancel).await?;
        Ok::<_, uploader::Error>(published)
    });
    assert_eq!(task.await.unwrap().unwrap().manifest.objects.len(), 2);
}

#[tokio::test]
async fn a_storm_of_failures_is_sat_out() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (store, plan, heard) = (open_s3(&server), plan(spool.path()), Heard::default());
    server.inject(Fault::Status(503), 12, |_| true);
    server.inject(Fault::Cut, 6, |s| s.method == Method::PUT);
    publish(&store, &plan, &heard).await.unwrap();
    assert!(!heard.failures().is_empty());
    assert_published(&store, &plan).await;
}

#[tokio::test]
async fn a_bucket_that_comes_up_later_gets_everything() {
    let (address, spool) = (crate::common::ports::free(), tempfile::tempdir().unwrap());
    let store = open(&format!("s3://{BUCKET}"), &s3::env(address));
    let (plan, heard) = (plan(spool.path()), Heard::default());
    let publishing = publish(&store, &plan, &heard);
    let server = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        S3Server::start_at(address).await
    };
    let (published, _server) = tokio::join!(publishing, server);
    published.unwrap();
    assert!(heard.failures().iter().all(|f| f.contains("kept in the spool; check the endpoint")), "{heard:?}");
    assert!(!heard.failures().is_empty());
    assert_published(&store, &plan).await;
}

#[tokio::test]
async fn refused_uploads_are_kept_and_cancelling_says_why() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (plan, heard) = (plan(spool.path()), Heard::default());
    let mut env = server.env();
    env.push(("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong".to_owned()));
    let uploader = Uploader::new(open(&format!("s3://{BUCKET}"), &env), fast());
    let cancel = CancellationToken::new();
    let progress = heard.progress();
    let publishing = uploader.publish(&plan, &progress, &cancel);
    let cancelling = async {
        while heard.failures().len() < 6 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(publishing, cancelling);
    let error = result.unwrap_err();
    let uploader::Error::Cancelled { last: Some(failure) } = &error else { panic!("{error}") };
    let text = failure.to_string();
    assert!(text.contains("403 Forbidden (SignatureDoesNotMatch); kept in the spool; check the bucket cred"), "{text}");
    assert!(failure.error.is_retryable() && !format!("{error:?}").contains(SECRET_KEY));
    assert!(plan.files.iter().all(|file| file.path.exists()));

    publish(&open_s3(&server), &plan, &heard).await.unwrap();
    assert_published(&open_s3(&server), &plan).await;
}

#[tokio::test]
async fn an_object_that_was_stored_wrongly_is_sent_again() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (store, plan, heard) = (open_s3(&server), plan(spool.path()), Heard::default());
    let is = |method: Method, name: &'static str| move |s: &Seen| s.method == method && s.key.ends_with(name);
    server.inject(Fault::Truncate, 1, is(Method::PUT, "audio.m4a"));
    server.inject(Fault::Truncate, 1, is(Method::PUT, "manifest.json"));
    publish(&store, &plan, &heard).await.unwrap();
    let failures = heard.failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].contains("the store has 69999 bytes where 70000 were sent"), "{failures:?}");
    assert_published(&store, &plan).await;
}

#[tokio::test]
async fn a_restart_does_not_send_again_what_is_there() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (store, plan, heard) = (open_s3(&server), plan(spool.path()), Heard::default());
    // The first run dies with the large file done and the small one refused.
    server.inject(Fault::Status(403), usize::MAX, |s| s.key.ends_with("audio.m4a"));
    let uploader = Uploader::new(store.clone(), fast());
    let cancel = CancellationToken::new();
    let progress = |progress: Progress<'_>| {
        if matches!(progress, Progress::Stored { .. }) {
            cancel.cancel();
        }
    };
    let first = uploader.publish(&plan, &progress, &cancel).await;
    assert!(matches!(first, Err(uploader::Error::Cancelled { .. })));
    drop(uploader);
    assert_eq!(server.written().len(), 1);

    server.heal();
    server.forget();
    let published = publish(&store, &plan, &heard).await.unwrap();
    assert_eq!(published.sent_bytes, 70_000);
    assert_eq!(server.written().len(), 2, "{:?}", server.written());
    assert_published(&store, &plan).await;

    // All there: nothing is written, not even the manifest.
    server.forget();
    assert_eq!(publish(&store, &plan, &heard).await.unwrap().sent_bytes, 0);
    assert_eq!(server.written(), [""; 0]);

    // Somebody deleted one: only that one is sent. The ledger is a hint, never the truth.
    let key = plan.folder.key(&Object::Audio);
    store.delete(&key).await.unwrap();
    server.forget();
    publish(&store, &plan, &heard).await.unwrap();
    assert_eq!(server.written(), [format!("some/prefix/{key}")]);

    // Without the ledger all is sent again, and the manifest is the same.
    std::fs::remove_file(spool.path().join(LEDGER)).unwrap();
    assert_eq!(publish(&store, &plan, &heard).await.unwrap().sent_bytes, (9 * MIB + 70_000) as u64);
    assert_published(&store, &plan).await;
    assert_eq!(heard.failures(), [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_missing_is_said_at_once() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (store, plan, heard) = (open_s3(&server), plan(spool.path()), Heard::default());
    std::fs::remove_file(&plan.files[1].path).unwrap();
    let error = publish(&store, &plan, &heard).await.unwrap_err();
    assert!(matches!(&error, uploader::Error::Failed(failure) if !failure.error.is_retryable()));
    assert!(error.to_string().contains("audio.m4a: No such file"), "{error}");
    assert!(store.head(&plan.folder.key(&Object::Manifest)).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_deletion_waits_for_no_upload() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (store, plan, heard) = (open_s3(&server), plan(spool.path()), Heard::default());
    let published = publish(&store, &plan, &heard).await.unwrap();

    // As many uploads as there may be at once are under way, to a bucket that takes its time.
    let slow_spool = tempfile::tempdir().unwrap();
    let slow = plan_of(slow_spool.path(), 2);
    let at_once = slow.files.len();
    let beside = slow.folder.as_str().to_owned();
    let is_upload = move |seen: &Seen| seen.key.contains(&beside) && matches!(seen.method, Method::PUT | Method::POST);
    server.inject(Fault::Hang, usize::MAX, is_upload.clone());
    let uploader = Uploader::new(store.clone(), Settings { uploads_at_once: at_once, ..fast() });
    let (cancel, progress) = (CancellationToken::new(), heard.progress());
    let uploads = uploader.publish(&slow, &progress, &cancel);
    let withdrawn = async {
        while server.seen().iter().filter(|seen| is_upload(seen)).count() < at_once {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let deleted = published.manifest.into_deleted(Timestamp(1_795_170_700_000), "Consent was withdrawn.");
        uploader.withdraw(&plan.folder, &deleted, &heard.progress(), &cancel).await
    };
    tokio::select! {
        uploaded = uploads => panic!("the bucket took the uploads: {uploaded:?}"),
        withdrawn = withdrawn => withdrawn.unwrap(),
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("the deletion waits for the uploads"),
    }
    let left = store.list(plan.folder.as_str()).await.unwrap();
    assert_eq!(left.iter().map(|head| &head.key).collect::<Vec<_>>(), [&plan.folder.key(&Object::Manifest)]);
}

#[tokio::test]
async fn a_withdrawn_recording_leaves_only_its_deletion_manifest() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let (store, plan, heard) = (open_s3(&server), plan(spool.path()), Heard::default());
    let published = publish(&store, &plan, &heard).await.unwrap();
    let stray = format!("{}/participants/1-Ada.m4a", plan.folder);
    store.put_bytes(&stray, Bytes::from_static(b"x"), VIDEO).await.unwrap();
    let neighbour = format!("{}-2/recording.mp4", plan.folder);
    store.put_bytes(&neighbour, Bytes::from_static(b"x"), VIDEO).await.unwrap();

    let deleted = published.manifest.into_deleted(Timestamp(1_795_170_700_000), "Consent was withdrawn.");
    let uploader = Uploader::new(store.clone(), fast());
    server.inject(Fault::Status(500), 4, |_| true);
    for _ in 0..2 {
        let cancel = CancellationToken::new();
        uploader.withdraw(&plan.folder, &deleted, &heard.progress(), &cancel).await.unwrap();
        let left: Vec<_> = store.list("").await.unwrap().into_iter().map(|head| head.key).collect();
        assert_eq!(left, [neighbour.clone(), plan.folder.key(&Object::Manifest)]);
    }
    assert!(heard.failures()[0].starts_with("deletion of s3://"), "{:?}", heard.failures());
    let there = store.get(&plan.folder.key(&Object::Manifest)).await.unwrap();
    assert_eq!(Manifest::from_json(&there).unwrap(), deleted);

    // A late publication of the same recording neither replaces it nor leaves anything.
    let error = publish(&store, &plan, &heard).await.unwrap_err();
    assert!(matches!(error, uploader::Error::Withdrawn { .. }), "{error}");
    assert_eq!(store.list("").await.unwrap().len(), 2);
}
