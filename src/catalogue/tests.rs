use super::*;

struct Bucket {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bucket {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("bucket").to_str().unwrap(), &|_| None).unwrap();
        Self { dir, store }
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.store.clone(), &Template::default(), Some(self.dir.path().join("cache")))
    }

    async fn put(&self, key: &str, text: String) {
        let attributes = Attributes::from(&Object::Manifest);
        self.store.put_bytes(key, text.into_bytes().into(), attributes).await.unwrap();
    }

    /// A recording with one participant.
    async fn record(&self, folder: &str, who: &str) {
        let timeline = serde_json::json!({ "participants": [{ "user_id": "1", "user_name": who }] });
        self.put(&format!("{folder}/timeline.json"), timeline.to_string()).await;
        self.put(&format!("{folder}/manifest.json"), manifest(folder, false)).await;
    }

    async fn page(&self) -> String {
        String::from_utf8(self.store.get(CATALOGUE).await.unwrap().to_vec()).unwrap()
    }

    async fn folders(&self) -> Vec<String> {
        let page = self.page().await;
        let (_, rest) = page.split_once("id=\"data\">").unwrap();
        let data: serde_json::Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
        data["recordings"].as_array().unwrap().iter().map(|one| one["folder"].as_str().unwrap().to_owned()).collect()
    }
}

fn manifest(folder: &str, deleted: bool) -> String {
    let object = serde_json::json!({
        "name": "timeline.json", "key": format!("{folder}/timeline.json"), "size_bytes": 1, "sha256": "", "content_type": ""
    });
    let mut manifest = serde_json::json!({
        "schema_version": 1, "recorder": { "name": "rtms-recorder", "version": "0" }, "recording_id": "s", "stream_id": "s",
        "product": "meeting", "started_at": "2026-11-20T09:30:00.000Z", "duration_ms": 1000, "complete": true,
        "objects": [object], "tracks": [], "gaps": [], "counters": {},
    });
    if deleted {
        manifest["objects"] = serde_json::json!([]);
        manifest["deleted"] =
            serde_json::json!({ "at": "2026-11-20T10:00:00.000Z", "because": "Consent was withdrawn." });
    }
    manifest.to_string()
}

#[tokio::test]
async fn newest_come_first_and_are_read_once() {
    let bucket = Bucket::new();
    let mut catalogue = bucket.catalogue();
    assert_eq!(catalogue.rebuild().await.unwrap(), Outcome { recordings: 0, read: 0, written: false });
    assert!(bucket.store.head(CATALOGUE).await.is_err(), "an empty bucket stays empty");
    for folder in ["2026/11/20/a", "2025/12/31/z", "2026/11/20/b", "2026/02/03/c"] {
        bucket.record(folder, "Ada").await;
    }
    bucket.put("2026/11/21/unfinished/audio.m4a", "x".to_owned()).await;
    bucket.put("backup/2026/11/20/a/manifest.json", manifest("x", false)).await;
    assert_eq!(catalogue.rebuild().await.unwrap(), Outcome { recordings: 4, read: 4, written: true });
    assert_eq!(bucket.folders().await, ["2026/11/20/b", "2026/11/20/a", "2026/02/03/c", "2025/12/31/z"]);
    // Another start of the recorder.
    bucket.record("2026/11/22/d", "Bo").await;
    let mut catalogue = bucket.catalogue();
    assert_eq!(catalogue.rebuild().await.unwrap(), Outcome { recordings: 5, read: 1, written: true });
    assert_eq!(catalogue.rebuild().await.unwrap(), Outcome { recordings: 5, read: 0, written: false });
    assert!(bucket.page().await.contains("\"Bo\""));
}

/// The spool's disk may be full.
#[tokio::test]
async fn what_cannot_be_kept_in_a_file_is_read_once_all_the_same() {
    let bucket = Bucket::new();
    bucket.record("2026/11/20/a", "Ada").await;
    let nowhere = bucket.dir.path().join("missing/cache");
    let mut catalogue = Catalogue::new(bucket.store.clone(), &Template::default(), Some(nowhere));
    assert_eq!(catalogue.rebuild().await.unwrap(), Outcome { recordings: 1, read: 1, written: true });
    assert_eq!(catalogue.rebuild().await.unwrap(), Outcome { recordings: 1, read: 0, written: false });
}

#[tokio::test]
async fn who_withdrew_is_not_named_any_more() {
    let bucket = Bucket::new();
    let mut catalogue = bucket.catalogue();
    bucket.record("2026/11/20/a", "Adalbert").await;
    bucket.record("2026/11/20/b", "Bogumil").await;
    catalogue.rebuild().await.unwrap();
    bucket.store.delete("2026/11/20/a/timeline.json").await.unwrap();
    bucket.put("2026/11/20/a/manifest.json", manifest("2026/11/20/a", true)).await;
    bucket.store.delete("2026/11/20/b/manifest.json").await.unwrap();
    catalogue.rebuild().await.unwrap();
    let (page, cache) = (bucket.page().await, std::fs::read_to_string(bucket.dir.path().join("cache")).unwrap());
    assert_eq!(bucket.folders().await, ["2026/11/20/a"]);
    for text in [page, cache] {
        assert!(!text.contains("Adalbert") && !text.contains("Bogumil") && text.contains("\"deleted\":true"), "{text}");
    }
}

#[tokio::test]
async fn the_newest_of_many_are_listed_and_the_page_says_so() {
    let bucket = Bucket::new();
    for number in 0..5 {
        bucket.record(&format!("2026/11/2{number}/a"), "Ada").await;
    }
    let mut catalogue = bucket.catalogue();
    catalogue.bucket.listed = 3;
    assert_eq!(catalogue.rebuild().await.unwrap().recordings, 3);
    assert_eq!(bucket.folders().await, ["2026/11/24/a", "2026/11/23/a", "2026/11/22/a"]);
    assert!(bucket.page().await.contains("\"more\":true"));
}

#[tokio::test]
async fn a_page_of_somebody_else_is_left_alone() {
    let bucket = Bucket::new();
    bucket.record("2026/11/20/a", "Ada").await;
    bucket.put(CATALOGUE, "<!doctype html><title>Our company</title>".to_owned()).await;
    let mut catalogue = bucket.catalogue();
    let refused = catalogue.rebuild().await.unwrap_err();
    assert!(refused.to_string().contains("index --force"), "{refused}");
    assert!(bucket.page().await.contains("Our company"));
    let outcome = catalogue.replacing_foreign().rebuild().await.unwrap();
    assert_eq!(outcome, Outcome { recordings: 1, read: 0, written: true }, "it was read before");
}

#[tokio::test]
async fn two_writers_end_with_all_there_is() {
    let bucket = Bucket::new();
    let (mut one, mut other) = (bucket.catalogue(), Catalogue::new(bucket.store.clone(), &Template::default(), None));
    for number in 0..10 {
        bucket.record(&format!("2026/11/20/{number}"), "Ada").await;
        let (one, other) = tokio::join!(one.rebuild(), other.rebuild());
        one.unwrap();
        other.unwrap();
        assert_eq!(bucket.folders().await.len(), number + 1);
    }
}

#[tokio::test]
async fn a_manifest_that_makes_no_sense_is_shown_as_such() {
    let bucket = Bucket::new();
    bucket.put("2026/11/20/a/manifest.json", "{".to_owned()).await;
    assert_eq!(bucket.catalogue().rebuild().await.unwrap().recordings, 1);
    assert!(bucket.page().await.contains("\"unreadable\":true"));
}

#[tokio::test]
async fn folders_of_another_template_are_found_wherever_they_are() {
    let bucket = Bucket::new();
    for folder in ["meetings/857/a", "b", "2026/11/20/c"] {
        bucket.record(folder, "Ada").await;
    }
    bucket.put("what is this/manifest.json", manifest("x", false)).await;
    let template: Template = "meetings/{meeting}/{stream}".parse().unwrap();
    let mut catalogue = Catalogue::new(bucket.store.clone(), &template, None);
    assert_eq!(catalogue.rebuild().await.unwrap().recordings, 3);
    assert_eq!(bucket.folders().await, ["meetings/857/a", "b", "2026/11/20/c"]);
    catalogue.bucket.listed = 2;
    assert_eq!(catalogue.rebuild().await.unwrap().recordings, 2);
}
