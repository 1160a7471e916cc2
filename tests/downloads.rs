//! Imports of cloud recordings from servers that are not as they should be, by events that are not, and what that costs.

use crate::common::http::signed;
use crate::common::{Home, Recorder, until};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A request for a file.
#[derive(Clone, Debug)]
struct Asked {
    /// Counts from 0.
    number: usize,
    path: String,
    /// From `Range`.
    from: usize,
    if_range: Option<String>,
    token: String,
}

/// Files and tokens, one request a connection.
struct Zoom {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Zoom {
    /// What is asked for gets the bytes that `answer` writes, head and all.
    fn start(answer: impl Fn(&Asked, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has one");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                // One that is cut off by the other side has done its part.
                std::thread::spawn(move || serve(socket, &*answer, &log).ok());
            }
        });
        Self { address, asked }
    }

    fn home(&self) -> Home {
        let mut home = Home::new();
        home.set_zoom(self.address);
        home
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panicked").clone()
    }

    fn file(&self, id: &str, bytes: usize) -> Value {
        json!({"id": id, "file_type": "MP4", "file_extension": "MP4", "recording_type": "shared_screen", "file_size": bytes,
            "recording_start": "2026-08-01T10:00:00Z", "recording_end": "2026-08-01T10:01:00Z",
            "download_url": format!("http://{}/{id}", self.address), "status": "completed"})
    }
}

fn serve(
    socket: TcpStream,
    answer: &dyn Fn(&Asked, &mut TcpStream) -> std::io::Result<()>,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(socket.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let mut found = headers.iter().filter_map(|line| line.split_once(": "));
        found.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut socket = socket;
    if path.starts_with("/oauth") {
        let token = r#"{"access_token":"by-oauth","expires_in":3600}"#;
        return head(&mut socket, "200 OK", &[("content-length", &token.len().to_string())])
            .and_then(|()| socket.write_all(token.as_bytes()));
    }
    let from = header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let asked = {
        let mut log = log.lock().expect("nobody panicked");
        let (from, if_range) = (from.unwrap_or(0), header("if-range"));
        let token = header("authorization").unwrap_or_default();
        let asked = Asked { number: log.len(), path, from, if_range, token };
        log.push(asked.clone());
        asked
    };
    answer(&asked, &mut socket)
}

fn head(socket: &mut TcpStream, status: &str, headers: &[(&str, &str)]) -> std::io::Result<()> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    socket.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n{lines}\r\n").as_bytes())
}

/// The file from where it is asked for.
fn send(asked: &Asked, socket: &mut TcpStream, file: &[u8], tag: &str) -> std::io::Result<()> {
    let length = (file.len() - asked.from).to_string();
    let range = format!("bytes {}-{}/{}", asked.from, file.len() - 1, file.len());
    let mut headers = vec![("content-length", length.as_str()), ("etag", tag)];
    if asked.from > 0 {
        headers.push(("content-range", &range));
    }
    head(socket, if asked.from > 0 { "206 Partial Content" } else { "200 OK" }, &headers)?;
    socket.write_all(&file[asked.from..])
}

fn content(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 13) as u8).collect()
}

async fn tell(recorder: &Recorder, files: &[Value]) {
    let body = json!({"event": "recording.completed", "event_ts": crate::common::loss::now_ms(), "download_token": "of-the-event",
        "payload": {"object": {"uuid": "u/==", "id": 1, "start_time": "2026-08-01T10:00:00Z", "recording_files": files}}});
    assert_eq!(signed(recorder.address(), body.to_string().as_bytes()).await.status, 200);
}

/// A figure of the process, in KiB.
fn kib(recorder: &Recorder, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", recorder.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
}

fn parts(home: &Home) -> Vec<PathBuf> {
    let files = home.spool_files().into_iter().filter(|file| file.ends_with(".part"));
    files.map(|file| home.spool().join(file)).collect()
}

fn len(path: &PathBuf) -> usize {
    fs::metadata(path).map_or(0, |metadata| metadata.len() as usize)
}

/// It may be Zoom's mistake about the size or the server's about the file: the file is taken, and nobody is told that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_size_is_taken_at_last_and_told_of() {
    let file = content(0, MIB);
    let zoom = Zoom::start(move |asked, socket| send(asked, socket, &file, "\"a\""));
    let home = zoom.home();
    let recorder = home.start().await;
    tell(&recorder, &[zoom.file("a", 3 * MIB)]).await;
    recorder.wait_for("published a cloud recording").await;
    let manifest = home.bucket().recording().await.manifest;
    assert!(!manifest.complete && manifest.objects.len() == 1, "{manifest:#?}");
    assert!(manifest.incomplete_because[0].contains("has 1048576 bytes, where Zoom said 3145728"), "{manifest:#?}");
    assert_eq!(zoom.asked().len(), 3);
}

/// Half of one content and half of another are no file, though the length is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_does_not_go_on_with_another_content() {
    for honours_if_range in [true, false] {
        let (first, second) = (content(1, 2 * MIB), content(2, 2 * MIB));
        let newest = second.clone();
        let zoom = Zoom::start(move |asked, socket| match (asked.number, &asked.if_range) {
            (0, _) => {
                head(socket, "200 OK", &[("content-length", &(2 * MIB).to_string()), ("etag", "\"one\"")])?;
                socket.write_all(&first[..MIB])
            }
            (_, Some(tag)) if honours_if_range && tag != "\"two\"" => {
                send(&Asked { from: 0, ..asked.clone() }, socket, &second, "\"two\"")
            }
            _ => send(asked, socket, &second, "\"two\""),
        });
        let home = zoom.home();
        let recorder = home.start().await;
        tell(&recorder, &[zoom.file("a", 2 * MIB)]).await;
        recorder.wait_for("published a cloud recording").await;
        let recording = home.bucket().recording().await;
        assert!(recording.manifest.complete, "{:#?}", recording.manifest);
        assert!(fs::read(recording.file(recording.names()[0])).expect("the file") == newest, "two contents are mixed");
        assert_eq!(zoom.asked()[1].if_range.as_deref(), Some("\"one\""));
    }
}

/// Killed in the middle; and what was not synced is gone, or zeros, as after a loss of power.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_a_loss_of_power_has_cut_is_gone_on_with() {
    let file = content(3, 24 * MIB);
    let all = file.clone();
    let zoom = Zoom::start(move |asked, socket| {
        if asked.number > 1 {
            return send(asked, socket, &all, "\"a\"");
        }
        // It comes to a halt until the recorder is killed.
        let until = (asked.from + 10 * MIB).min(all.len());
        let range = format!("bytes {}-{}/{}", asked.from, all.len() - 1, all.len());
        let status = if asked.from > 0 { "206 Partial Content" } else { "200 OK" };
        let left = (all.len() - asked.from).to_string();
        head(socket, status, &[("content-length", &left), ("content-range", &range), ("etag", "\"a\"")])?;
        socket.write_all(&all[asked.from..until])?;
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let home = zoom.home();
    let mut recorder = home.start().await;
    tell(&recorder, &[zoom.file("a", 24 * MIB)]).await;
    for zeros in [false, true] {
        let before = zoom.asked().last().map_or(0, |asked| asked.from);
        until("much of it has come", || parts(&home).iter().any(|part| len(part) >= before + 10 * MIB)).await;
        recorder.kill();
        let part = &parts(&home)[0];
        let kept = len(part) - 3 * MIB;
        let torn = fs::OpenOptions::new().write(true).open(part).expect("the part");
        torn.set_len(kept as u64).expect("it is cut");
        if zeros {
            torn.set_len((kept + 3 * MIB) as u64).expect("it is as long as before");
        }
        recorder = home.start().await;
        recorder.wait_for("going on with the import").await;
    }
    recorder.wait_for("published a cloud recording").await;
    let recording = home.bucket().recording().await;
    assert!(recording.manifest.complete, "{:#?}", recording.manifest);
    assert!(fs::read(recording.file(recording.names()[0])).expect("the file") == file, "it is not what was sent");
    let asked = zoom.asked();
    assert!(asked.iter().skip(1).all(|asked| asked.from > 0), "what had come was kept: {asked:?}");
}

/// 300 MB pass through; the process is no larger for it than for a small file.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_file() {
    let bytes = 300_000_000;
    let zoom = Zoom::start(move |asked, socket| {
        let whole = content(4, MIB);
        let length = if asked.path == "/small" { MIB } else { bytes };
        head(socket, "200 OK", &[("content-length", &length.to_string())])?;
        (0..length.div_ceil(MIB)).try_for_each(|n| socket.write_all(&whole[..MIB.min(length - n * MIB)]))
    });
    let home = zoom.home();
    let recorder = home.start().await;
    tell(&recorder, &[zoom.file("small", MIB)]).await;
    recorder.wait_for("published a cloud recording").await;
    let small = kib(&recorder, "VmHWM:");
    tell(&recorder, &[zoom.file("large", bytes)]).await;
    recorder.wait_for_many("published a cloud recording", 2).await;
    let large = kib(&recorder, "VmHWM:");
    assert!(large < small + (40 << 10), "{small} KiB for 1 MiB, {large} KiB for 300 MB");
}

/// Zoom would not; but one event must not take the machine's memory or files from the meetings that are recorded.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_files_in_one_event_cost_little() {
    let zoom = Zoom::start(|_, socket| head(socket, "500 Oops", &[("content-length", "0")]));
    let home = zoom.home();
    let recorder = home.start().await;
    let files: Vec<Value> = (0..2500).map(|n| zoom.file(&format!("{n}"), 10)).collect();
    tell(&recorder, &files).await;
    until("each was asked for", || zoom.asked().len() >= files.len()).await;
    let open = fs::read_dir(format!("/proc/{}/fd", recorder.pid())).expect("it runs").count();
    assert!(open < 100, "{open} open files");
    let peak = kib(&recorder, "VmHWM:");
    assert!(peak < 200 << 10, "{peak} KiB");
}

/// The length is nowhere said, and it does not end: the spool is for meetings.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_without_end_ends() {
    let zoom = Zoom::start(|_, socket| {
        let piece = [b"100000\r\n".as_slice(), &vec![7; MIB], b"\r\n"].concat();
        head(socket, "200 OK", &[("transfer-encoding", "chunked")])?;
        loop {
            socket.write_all(&piece)?;
        }
    });
    let home = zoom.home();
    let recorder = home.start().await;
    tell(&recorder, &[zoom.file("a", 1000)]).await;
    let said = recorder.wait_for("cannot be fetched yet").await;
    assert!(said.to_string().contains("far more than Zoom said"), "{said}");
    assert!(parts(&home).iter().all(|part| len(part) < 70 * MIB));
}

/// What an event says of a file besides its id may be otherwise in the next, or twice in one.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_known_by_its_id_whatever_else_is_said_of_it() {
    let file = content(5, MIB);
    let zoom = Zoom::start(move |asked, socket| {
        if asked.path == "/slow" {
            std::thread::sleep(Duration::from_secs(3));
        }
        send(asked, socket, &file, "\"a\"")
    });
    let home = zoom.home();
    let recorder = home.start().await;
    let mut renamed = zoom.file("a", MIB);
    renamed["recording_type"] = "gallery_view".into();
    tell(&recorder, &[zoom.file("a", MIB), renamed.clone(), zoom.file("slow", MIB)]).await;
    until("the first has come", || zoom.asked().iter().any(|asked| asked.path == "/a")).await;
    tell(&recorder, &[renamed, zoom.file("slow", MIB)]).await;
    recorder.wait_for("published a cloud recording").await;
    let recording = home.bucket().recording().await;
    assert_eq!((recording.manifest.complete, recording.names().len()), (true, 2), "{:#?}", recording.manifest);
    assert!(recording.names()[0].starts_with("cloud/gallery_view-"), "{:?}", recording.names());
    assert_eq!(zoom.asked().len(), 2, "each is fetched once");
}

/// Zoom answers with success and says no in the text.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_not_the_video() {
    let file = content(6, MIB);
    let zoom = Zoom::start(move |asked, socket| match asked.token.as_str() {
        "Bearer by-oauth" => send(asked, socket, &file, "\"a\""),
        _ => {
            let no = r#"{"status":false,"errorCode":401,"errorMessage":"Forbidden"}"#;
            head(socket, "200 OK", &[("content-length", &no.len().to_string()), ("content-type", "application/json")])?;
            socket.write_all(no.as_bytes())
        }
    });
    let home = zoom.home();
    let recorder = home.start().await;
    tell(&recorder, &[zoom.file("a", MIB)]).await;
    recorder.wait_for("published a cloud recording").await;
    let manifest = home.bucket().recording().await.manifest;
    assert!(manifest.complete && manifest.objects[0].size_bytes == MIB as u64, "{manifest:#?}");
    assert_eq!(zoom.asked().len(), 2);
}

/// Two that drip would keep all others waiting, for there are two places.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_drip_leave_their_places_to_others() {
    let file = content(7, MIB);
    let zoom = Zoom::start(move |asked, socket| {
        if asked.path == "/whole" {
            return send(asked, socket, &file, "\"a\"");
        }
        head(socket, "200 OK", &[("content-length", "1000")])?;
        loop {
            socket.write_all(b"x")?;
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    let home = zoom.home();
    let recorder = home.start().await;
    tell(&recorder, &[zoom.file("one", 1000), zoom.file("two", 1000)]).await;
    until("both places are taken", || zoom.asked().len() == 2).await;
    tell(&recorder, &[zoom.file("whole", MIB)]).await;
    until("the third has its turn", || zoom.asked().iter().any(|asked| asked.path == "/whole")).await;
    assert!(recorder.raw_log().contains("it is too slow: "), "{}", recorder.raw_log());
}
