//! `verify`: a recording that the recorder made, as it is and with every kind of damage, in an S3 server and a directory.

use crate::common::s3::{Fault, S3Server};
use crate::common::{Home, meeting, play_one};
use rtms_recorder::output::Manifest;
use rtms_recorder::simulator::Span;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What `verify` said and how it ended.
#[derive(Debug)]
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Runs it with the settings of the store alone.
fn verify(home: &Home, args: &[&str]) -> Said {
    let mut command = home.command(&[&["verify"], args].concat());
    for name in ["ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET", "ZOOM_SECRET_TOKEN"] {
        command.env_remove(name);
    }
    let output = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    fn summary(&self) -> &str {
        self.out.lines().last().unwrap_or_else(|| panic!("no summary: {self:?}"))
    }

    #[track_caller]
    fn is_clean(&self, recordings: usize) {
        let expected = format!("{recordings} recording{}, ", if recordings == 1 { "" } else { "s" });
        assert!(self.status == Some(0) && self.out.lines().count() == 1 && self.err.is_empty(), "{self:?}");
        assert!(self.summary().starts_with(&expected) && self.summary().contains(" 0 problems, "), "{self:?}");
    }

    /// One line for the folder, with these texts in it.
    #[track_caller]
    fn found(&self, status: i32, texts: &[&str]) {
        let lines: Vec<&str> = self.out.lines().collect();
        assert!(self.status == Some(status) && lines.len() == 2 && self.err.is_empty(), "{self:?}");
        for text in texts {
            assert!(lines[0].starts_with("20") && lines[0].contains(text), "{text:?} is not in {self:?}");
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("a file");
    bytes[at] ^= 0xff;
    std::fs::write(file, bytes).expect("a file");
}

fn change_manifest(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("manifest.json");
    let mut manifest = serde_json::from_slice(&std::fs::read(&path).expect("a manifest")).expect("JSON");
    change(&mut manifest);
    std::fs::write(path, manifest.to_string()).expect("a file");
}

/// A recording in an S3 bucket, with sound of its participants.
struct Recorded {
    home: Home,
    server: S3Server,
    folder: String,
}

impl Recorded {
    async fn make() -> Self {
        let server = S3Server::start().await;
        let mut home = Home::with_s3(server.address);
        home.set("AUDIO_STREAMS", "participants");
        let recorder = home.start().await;
        let mut settings = meeting(&recorder.webhook, 6);
        settings.script.share = vec![Span { start_ms: 1000, end_ms: 4000 }];
        play_one(settings).await;
        recorder.published(1).await;
        let keys = home.bucket().keys().await;
        let manifest = keys.iter().find_map(|key| key.strip_suffix("/manifest.json")).expect("a manifest");
        let folder = manifest.to_owned();
        assert!(keys.iter().any(|key| key.starts_with(&format!("{folder}/participants/"))), "{keys:?}");
        Self { home, server, folder }
    }

    /// A copy in a directory, damaged.
    fn damaged(&self, damage: impl FnOnce(&Path)) -> Home {
        let home = Home::new();
        copy_all(&self.server.file("team"), &home.path("bucket"));
        damage(&self.inside(&home));
        home
    }

    fn inside(&self, home: &Home) -> PathBuf {
        home.path("bucket").join(&self.folder)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_as_its_manifest_says_or_it_is_said_what_is_wrong() {
    let recorded = Recorded::make().await;
    in_s3(&recorded);
    in_a_directory(&recorded);
    damaged_objects(&recorded);
    damaged_manifests(&recorded);
    without_manifest(&recorded);
    deleted(&recorded);
}

fn in_s3(recorded: &Recorded) {
    let Recorded { home, server, folder } = recorded;
    verify(home, &[]).is_clean(1);
    verify(home, &["--deep", &folder[..4], folder]).is_clean(1);
    // One day, and what comes and goes at the store is tried again.
    server.inject(Fault::Status(503), 2, |seen| seen.key.ends_with("timeline.json"));
    server.inject(Fault::Cut, 1, |seen| seen.key.ends_with("manifest.json"));
    let said = verify(home, &["--deep", &folder[..10]]);
    assert!(said.status == Some(0) && said.summary().starts_with("1 recording, "), "{said:?}");
    // What lasts is not taken for damage.
    server.inject(Fault::Refuse(403, "AccessDenied"), 9, |seen| seen.key.ends_with("manifest.json"));
    let said = verify(home, &[]);
    assert!(
        said.status == Some(1) && said.out.contains("Not checked: ") && said.out.contains("AccessDenied"),
        "{said:?}"
    );
    assert!(said.summary().contains(" 0 problems, 1 not checked, "), "{said:?}");
    server.heal();

    // A key of another folder is not asked for, although the object is there.
    let manifest = server.file(&format!("team/{folder}/manifest.json"));
    let as_it_was = std::fs::read(&manifest).expect("the manifest");
    std::fs::write(server.file("team/secret.json"), "{}").expect("an object");
    change_manifest(manifest.parent().expect("a folder"), |manifest| {
        manifest["objects"][0]["key"] = json!("secret.json")
    });
    server.forget();
    verify(home, &["--deep"]).found(2, &["\"secret.json\" is listed by the manifest, but is no object of this folder"]);
    assert!(
        server.seen().iter().all(|seen| seen.method == "GET" && !seen.key.contains("secret")),
        "{:?}",
        server.seen()
    );
    std::fs::write(&manifest, as_it_was).expect("the manifest");
    std::fs::remove_file(server.file("team/secret.json")).expect("the object");

    // A byte of the sound that no other object holds.
    let audio = server.file(&format!("team/{folder}/audio.m4a"));
    let middle = std::fs::metadata(&audio).expect("the object").len() as usize / 2;
    flip(&audio, middle);
    verify(home, &[]).is_clean(1);
    verify(home, &["--deep"]).found(2, &["audio.m4a has the SHA-256 "]);
    flip(&audio, middle);
    verify(home, &["--deep"]).is_clean(1);
}

fn in_a_directory(recorded: &Recorded) {
    let home = recorded.damaged(|folder| {
        // Beside the recordings there may be anything.
        std::fs::write(folder.join("../manifest.json"), "{").expect("a file");
        std::fs::create_dir(folder.join("../../../../backup")).expect("a directory");
        std::fs::write(folder.join("../../../../backup/manifest.json"), "{").expect("a file");
    });
    verify(&home, &[]).is_clean(1);
    verify(&home, &["--deep", "--", &format!("{}/manifest.json", recorded.folder)]).is_clean(1);

    let said = verify(&home, &["--json"]);
    let summary: Value = serde_json::from_str(&said.out).expect("one line of JSON");
    assert!(summary["type"] == "summary" && summary["recordings"] == 1 && summary["problems"] == 0, "{summary}");

    verify(&home, &["1999/12"]).found_nothing("1999/12");
    let said = verify(&home, &["backup"]);
    assert!(said.status == Some(64) && said.err.contains("KEY_TEMPLATE") && said.out.is_empty(), "{said:?}");
    assert_eq!(verify(&home, &["--depe"]).status, Some(64));
}

impl Said {
    #[track_caller]
    fn found_nothing(&self, folder: &str) {
        assert!(self.status == Some(2) && self.out.starts_with(&format!("{folder}: There is nothing.\n")), "{self:?}");
        assert!(self.summary().starts_with("0 recordings, 0 objects, "), "{self:?}");
    }
}

fn damaged_objects(recorded: &Recorded) {
    let home = recorded.damaged(|folder| std::fs::remove_file(folder.join("audio.m4a")).expect("the object"));
    verify(&home, &[]).found(2, &["audio.m4a is missing."]);

    let home = recorded.damaged(|folder| {
        let file = std::fs::File::options().write(true).open(folder.join("recording.mp4")).expect("the object");
        file.set_len(1000).expect("it is shorter");
    });
    verify(&home, &[]).found(2, &["recording.mp4 has 1000 bytes, where the manifest says "]);

    // All bytes of some pictures, so that decoding fails as well as the hash.
    let home = recorded.damaged(|folder| {
        let file = folder.join("recording.mp4");
        let mut bytes = std::fs::read(&file).expect("the object");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20_000].fill(0xff);
        std::fs::write(file, bytes).expect("the object");
    });
    verify(&home, &[]).is_clean(1);
    verify(&home, &["--deep"]).found(2, &["recording.mp4 has the SHA-256 ", "recording.mp4 cannot be decoded: "]);

    let home = recorded.damaged(|folder| flip(&folder.join("timeline.json"), 0));
    verify(&home, &["--deep"]).found(2, &["timeline.json has the SHA-256 ", "timeline.json is no JSON: "]);

    // What was uploaded is there, but plays for another time than the manifest says.
    let home = recorded.damaged(|folder| {
        change_manifest(folder, |manifest| {
            let objects = manifest["objects"].as_array_mut().expect("objects");
            objects.iter_mut().filter(|object| object["name"] == "audio.m4a").for_each(|object| {
                object["duration_ms"] = json!(9000);
            });
        });
    });
    verify(&home, &[]).is_clean(1);
    verify(&home, &["--deep"]).found(2, &["audio.m4a is ", " ms long, where the manifest says 9000."]);

    let home = recorded.damaged(|folder| std::fs::write(folder.join("notes.txt"), "mine").expect("a file"));
    verify(&home, &[]).found(0, &["Note: notes.txt is not in the manifest."]);
}

fn damaged_manifests(recorded: &Recorded) {
    let home = recorded.damaged(|folder| std::fs::write(folder.join("manifest.json"), "{\"a\":").expect("a file"));
    verify(&home, &[]).found(2, &["manifest.json cannot be read: "]);
    let home = recorded.damaged(|folder| change_manifest(folder, |manifest| manifest["schema_version"] = json!(2)));
    verify(&home, &[]).found(2, &["manifest.json has schema version 2; this program knows 1."]);

    // Keys that lead elsewhere: to a file that is there, with the size and hash that the manifest says.
    let other = recorded.folder.replacen("20", "19", 1);
    for key in ["../x".to_owned(), format!("{}/../x", recorded.folder), format!("{other}/x"), "/etc/passwd".to_owned()]
    {
        let home = recorded.damaged(|folder| {
            std::fs::write(folder.join("../x"), "").expect("a file");
            std::fs::write(folder.join("../../../../../x"), "").expect("a file");
            change_manifest(folder, |manifest| {
                let first = &mut manifest["objects"][0];
                (first["key"], first["name"]) = (json!(key), json!("x"));
                (first["size_bytes"], first["sha256"]) = (json!(0), json!(crate::common::sha256(b"")));
            });
        });
        let text = format!("{key:?} is listed by the manifest, but is no object of this folder; it was not looked at.");
        verify(&home, &["--deep"]).found(2, &[&text, "Note: recording.mp4 is not in the manifest."]);
    }

    let home = recorded.damaged(|folder| {
        change_manifest(folder, |manifest| {
            let again = manifest["objects"][0].clone();
            manifest["objects"].as_array_mut().expect("objects").push(again);
        });
    });
    let said = verify(&home, &["--json"]);
    let line: Value = serde_json::from_str(said.out.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["type"], &line["folder"]), (&json!("recording"), &json!(recorded.folder)));
    assert_eq!(line["problems"], json!([{"kind": "key", "object": "recording.mp4", "text": "is listed twice"}]));
    assert_eq!(said.status, Some(2));
}

fn without_manifest(recorded: &Recorded) {
    let home = recorded.damaged(|folder| std::fs::remove_file(folder.join("manifest.json")).expect("the manifest"));
    verify(&home, &[]).found(0, &["Note: There is no manifest; the newest of ", "may still be uploading."]);
    let mut folders = vec![recorded.inside(&home)];
    let long_ago = SystemTime::now() - Duration::from_secs(50 * 3600);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a directory").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let file = std::fs::File::options().write(true).open(entry.path()).expect("a file");
                file.set_modified(long_ago).expect("its time can be set");
            }
        }
    }
    verify(&home, &[]).found(2, &[": There is no manifest; the newest of ", " objects is 2 days old."]);
}

fn deleted(recorded: &Recorded) {
    let delete = |folder: &Path| {
        let path = folder.join("manifest.json");
        let manifest = Manifest::from_json(&std::fs::read(&path).expect("a manifest")).expect("a manifest");
        let at = manifest.started_at;
        std::fs::write(path, manifest.into_deleted(at, "Consent was withdrawn.").to_json()).expect("a file");
    };
    let home = recorded.damaged(delete);
    verify(&home, &[]).found(2, &["recording.mp4 is there, where the manifest says that all was deleted."]);
    for entry in std::fs::read_dir(recorded.inside(&home)).expect("a directory").flatten() {
        match entry.file_name().to_str() {
            Some("manifest.json") => {}
            Some("participants") => std::fs::remove_dir_all(entry.path()).expect("the directory"),
            _ => std::fs::remove_file(entry.path()).expect("the object"),
        }
    }
    verify(&home, &["--deep"]).is_clean(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_reached_is_not_taken_for_an_empty_one() {
    let home = Home::with_s3(crate::common::ports::free());
    let said = verify(&home, &[]);
    assert!(said.status == Some(1) && said.out.is_empty(), "{said:?}");
    assert!(said.err.contains("the bucket cannot be checked: ") && said.err.contains("AWS_ENDPOINT"), "{said:?}");

    let home = Home::new();
    let said = verify(&home, &[]);
    assert!(said.status == Some(64) && said.err.contains("STORAGE_URL"), "{said:?}");
    assert!(!home.path("bucket").exists(), "it only reads");
    std::fs::create_dir(home.path("bucket")).expect("a directory");
    verify(&home, &[]).is_clean(0);
}

#[test]
fn without_ffmpeg_nothing_is_begun() {
    let mut home = Home::new();
    std::fs::create_dir(home.path("bucket")).expect("a directory");
    let empty = home.path("empty");
    home.set("PATH", empty.to_str().expect("UTF-8"));
    let said = verify(&home, &["--deep"]);
    assert!(said.status == Some(1) && said.out.is_empty() && said.err.contains("apt-get install ffmpeg"), "{said:?}");
    verify(&home, &[]).is_clean(0);
}
