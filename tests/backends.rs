//! All backends of the store do alike: a local directory, S3 by two servers (`s3s-fs` in this process, and moto where it is
//! installed), and any store that the environment names.

use crate::common::conformance::{MIB, VIDEO, conformance, content, open, write};
use crate::common::moto::Moto;
use crate::common::s3::{BUCKET, S3Server};
use bytes::Bytes;
use object_store::{Attribute, ObjectStoreExt};
use rtms_recorder::store::{Attributes, Store};
use std::os::unix::fs::MetadataExt;

fn open_s3(server: &S3Server) -> Store {
    open(&format!("s3://{BUCKET}/some/prefix"), &server.env())
}

#[tokio::test]
async fn a_local_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not yet/there");
    conformance(&open(path.to_str().unwrap(), &[])).await;
    let url = format!("file://{}/url", directory.path().display());
    let store = open(&url, &[]);
    store.put_bytes("a/b", Bytes::from_static(b"x"), VIDEO).await.unwrap();
    assert_eq!(std::fs::read(directory.path().join("url/a/b")).unwrap(), b"x");
}

/// On the same file system a large file is not copied; from another one it is, and both can be overwritten.
#[tokio::test]
async fn large_files_are_linked_into_a_directory_if_they_can_be() {
    let (spool, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = open(bucket.path().to_str().unwrap(), &[]);
    let object = bucket.path().join("folder/of one/video.mp4");
    for (from, links) in [(spool.path(), 2), (elsewhere.path(), 1), (spool.path(), 2), (spool.path(), 2)] {
        let bytes = content(20 * MIB + links);
        let file = write(from, "video.mp4", &bytes);
        for _ in 0..2 {
            let stored = store.put_file("folder/of one/video.mp4", &file, VIDEO).await.unwrap();
            assert_eq!(stored, store.read_back("folder/of one/video.mp4").await.unwrap());
        }
        assert_eq!(std::fs::metadata(&object).unwrap().nlink(), links as u64);
        std::fs::remove_file(&file).unwrap();
        assert!(std::fs::read(&object).unwrap() == bytes);
        let names = std::fs::read_dir(object.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["video.mp4"]);
    }
}

#[tokio::test]
async fn s3_conforms() {
    let server = S3Server::start().await;
    let store = open_s3(&server);
    conformance(&store).await;
    assert!(server.file("some/prefix/folder/5.bin").exists());
    assert!(server.seen().iter().all(|s| s.key.is_empty() || s.key.starts_with("some/prefix/")));
}

#[tokio::test]
async fn objects_in_s3_have_a_content_type() {
    let server = S3Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open_s3(&server);
    let small = write(directory.path(), "small", b"small");
    let large = write(directory.path(), "large", &content(9 * MIB));
    store.put_file("small", &small, VIDEO).await.unwrap();
    store.put_file("large", &large, VIDEO).await.unwrap();
    let raw = server
        .env()
        .into_iter()
        .fold(object_store::aws::AmazonS3Builder::new().with_bucket_name(BUCKET), |builder, (name, value)| {
            builder.with_config(name.to_lowercase().parse().unwrap(), value)
        });
    let raw = raw.build().unwrap();
    for key in ["some/prefix/small", "some/prefix/large"] {
        let object = raw.get(&key.into()).await.unwrap();
        let get = |attribute| object.attributes.get(&attribute).map(|v| v.as_ref().to_owned());
        assert_eq!(get(Attribute::ContentType).as_deref(), Some("video/mp4"), "{key}");
        assert_eq!(get(Attribute::CacheControl).as_deref(), Some("private, max-age=86400"), "{key}");
        assert_eq!(get(Attribute::Metadata("recording".into())).as_deref(), Some("0123456789abcdef"), "{key}");
        assert!(
            get(Attribute::Metadata("recorder".into())).is_some_and(|it| it.starts_with("rtms-recorder ")),
            "{key}"
        );
    }
}

/// What is large goes into the class that was asked for, encrypted by the server; what is read often stays where it is.
#[tokio::test]
async fn objects_in_s3_have_a_storage_class_and_are_encrypted_if_asked_for() {
    let server = S3Server::start().await;
    let mut env = server.env();
    let more = [("STORAGE_CLASS", "STANDARD"), ("AWS_SERVER_SIDE_ENCRYPTION", "AES256")];
    env.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let store = open(&format!("s3://{BUCKET}/some/prefix"), &env);
    let directory = tempfile::tempdir().unwrap();
    for (key, size, is_media) in [("small", 5, true), ("large", 9 * MIB, true), ("page", 5, false)] {
        let file = write(directory.path(), key, &content(size));
        store.put_file(key, &file, Attributes { is_media, ..VIDEO }).await.unwrap();
    }
    let asked = |key: &str| {
        let key = format!("some/prefix/{key}");
        // The request that makes the object: the only one of a small one, the first of a large one.
        let seen =
            server.seen().into_iter().find(|seen| seen.key == key && matches!(seen.method.as_str(), "PUT" | "POST"));
        let headers = seen.expect("it was put").headers;
        let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (get("x-amz-storage-class"), get("x-amz-server-side-encryption"))
    };
    let (class, encryption) = (Some("STANDARD".to_owned()), Some("AES256".to_owned()));
    assert_eq!(asked("small"), (class.clone(), encryption.clone()));
    assert_eq!(asked("large"), (class, encryption.clone()));
    assert_eq!(asked("page"), (None, encryption));
}

#[tokio::test]
async fn moto_conforms() {
    crate::common::provide_crypto();
    let Some(moto) = Moto::start(BUCKET).await else {
        println!("skipped: moto is not installed; scripts/test installs it where there is Python");
        return;
    };
    conformance(&open(&format!("s3://{BUCKET}/some/prefix"), &crate::common::s3::env(moto.address))).await;
}

/// `TEST_STORAGE_URL=s3://bucket/empty-prefix AWS_...=... scripts/test --test backends` tries a store of your own; what it
/// writes is not removed. `scripts/test-radosgw` does it with a Ceph gateway.
#[tokio::test]
async fn the_store_that_the_environment_names_conforms() {
    let Ok(url) = std::env::var("TEST_STORAGE_URL") else { return };
    let env: Vec<(String, String)> = std::env::vars().collect();
    conformance(&open(&url, &env)).await;
}
