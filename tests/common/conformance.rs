//! What every backend of the store has to do alike.

use super::sha256;
use bytes::Bytes;
use rtms_recorder::store::{Attributes, Error, Head, Level, Store};
use std::path::{Path, PathBuf};

pub(crate) const MIB: usize = 1024 * 1024;
pub(crate) const VIDEO: Attributes = Attributes {
    content_type: "video/mp4",
    cache_control: "private, max-age=86400",
    is_media: true,
    recording: Some("0123456789abcdef"),
};

pub(crate) fn open(url: &str, env: &[(String, String)]) -> Store {
    super::provide_crypto();
    let get = |name: &str| env.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    Store::open(url, &get).expect("the settings are right")
}

/// Bytes that differ from part to part.
pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut state = size as u64 | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// What every backend has to do alike.
pub(crate) async fn conformance(store: &Store) {
    let directory = tempfile::tempdir().unwrap();
    for size in [0, 5, 8 * MIB, 8 * MIB + 1, 20 * MIB] {
        let bytes = content(size);
        let file = write(directory.path(), "file", &bytes);
        let key = format!("folder/{size}.bin");
        let stored = store.put_file(&key, &file, VIDEO).await.unwrap();
        assert_eq!((stored.size_bytes, &stored.key), (size as u64, &key));
        assert_eq!(stored.sha256, sha256(&bytes), "{key}");
        let read = store.read_back(&key).await.unwrap();
        assert_eq!((read.size_bytes, read.sha256), (stored.size_bytes, stored.sha256), "{key}");
        assert_eq!(store.head(&key).await.unwrap().e_tag, stored.e_tag, "{key}");
    }

    let key = "folder/20971520.bin";
    let range = 8 * MIB - 3..8 * MIB + 3;
    let piece = store.get_range(key, range.start as u64..range.end as u64).await.unwrap();
    assert_eq!(piece, content(20 * MIB)[range]);

    for odd in ["odd/a b+c%20d=e&f.txt", "odd/ü שלום 日本.txt", "odd/[x]{y}^~'(z)!.txt"] {
        store.put_bytes(odd, Bytes::from_static(b"one"), VIDEO).await.unwrap();
        store.put_bytes(odd, Bytes::from_static(b"three"), VIDEO).await.unwrap();
        assert_eq!(store.get(odd).await.unwrap(), "three", "{odd}");
        let listed = store.list("odd").await.unwrap();
        assert!(listed.iter().any(|head| head.key == odd && head.size_bytes == 5), "{odd} in {listed:?}");
    }

    let keys = |heads: Vec<Head>| heads.into_iter().map(|h| h.key).collect::<Vec<_>>();
    let listed = keys(store.list("folder/").await.unwrap());
    let names = ["0", "20971520", "5", "8388608", "8388609"];
    assert_eq!(listed, names.map(|name| format!("folder/{name}.bin")));
    assert_eq!(keys(store.list("fold").await.unwrap()), [""; 0]);
    assert_eq!(store.list("").await.unwrap().len(), 8);
    let level = store.list_level("").await.unwrap();
    assert_eq!((level.folders, level.objects), (vec!["folder".to_owned(), "odd".to_owned()], vec![]));
    let level = store.list_level("folder/").await.unwrap();
    assert_eq!((level.folders, keys(level.objects)), (vec![], names.map(|name| format!("folder/{name}.bin")).to_vec()));
    assert_eq!(store.list_level("nowhere").await.unwrap(), Level::default());

    store.delete(key).await.unwrap();
    store.delete(key).await.unwrap();
    let missing = store.head(key).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    assert!(store.get(key).await.unwrap_err().is_not_found());
    let missing = store.put_file("a", Path::new("/nowhere/file"), VIDEO).await.unwrap_err();
    assert!(matches!(missing, Error::File { .. }) && !missing.is_retryable(), "{missing}");
    for key in ["../a", "/a", "a//b"] {
        let refused = store.put_bytes(key, Bytes::new(), VIDEO).await.unwrap_err();
        assert!(matches!(refused, Error::Key { .. }), "{refused}");
    }
}
