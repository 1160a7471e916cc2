//! `check`, as an operator runs it: all is well; then each thing is broken in turn, and the line about it says so.

use crate::common::s3::{self, Fault, S3Server, Seen};
use crate::common::tls::TlsProxy;
use crate::common::{Home, http, meeting, play, small};
use hyper::Method;
use rtms_recorder::simulator::Rest;
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What one run of `check` said.
struct Said {
    status: i32,
    lines: Vec<Value>,
}

impl Said {
    fn find(&self, check: &str) -> &Value {
        let found = self.lines.iter().find(|line| line["check"] == check);
        found.unwrap_or_else(|| panic!("nothing about {check} in {:#?}", self.lines))
    }

    /// The line about `check` has this outcome, and contains these texts.
    fn has(&self, check: &str, outcome: &str, texts: &[&str]) {
        let line = self.find(check);
        let whole = format!("{}; {}", line["text"].as_str().expect("a text"), line["fix"].as_str().unwrap_or("-"));
        assert_eq!(line["outcome"], outcome, "{whole}");
        assert_eq!(line["fix"].is_string(), outcome != "ok", "what is wrong has a fix, and nothing else: {whole}");
        for text in texts {
            assert!(whole.contains(text), "{text:?} is not in {whole:?}");
        }
    }

    fn failed(&self) -> Vec<&str> {
        let failed = self.lines.iter().filter(|line| line["outcome"] == "failure");
        failed.map(|line| line["check"].as_str().expect("a name")).collect()
    }
}

/// Runs it off this thread, on which a server may live.
async fn check(home: &Home, args: &[&str]) -> Said {
    let mut command = home.command(&[&["check", "--json"], args].concat());
    let output = tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.unwrap();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    for secret in [crate::common::CLIENT_SECRET, crate::common::SECRET_TOKEN, s3::SECRET_KEY] {
        assert!(!all.contains(secret), "a secret is shown: {all}");
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let summary = lines.last().unwrap_or_else(|| panic!("it said nothing but {all}"));
    let failures = lines.iter().filter(|line| line["outcome"] == "failure").count();
    assert_eq!((&summary["type"], &summary["failures"]), (&"summary".into(), &failures.into()));
    let status = output.status.code().expect("it was not killed");
    assert_eq!(summary["ready"] == true, status == 0, "{text}");
    Said { status, lines }
}

/// A home whose Zoom is nowhere: what is asked of it fails at once.
async fn alone(mut home: Home) -> Home {
    home.set_zoom(crate::common::ports::free());
    home
}

/// All checks but that of the credentials, which `alone` breaks.
const WITHOUT_ZOOM: [&str; 1] = ["zoom credentials"];

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_beside_a_recorder_that_records() {
    let server = S3Server::start().await;
    let mut home = Home::with_s3(server.address);
    let rest = crate::common::ports::free();
    home.set_zoom(rest);
    home.set("SHUTDOWN", "handover");
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 240);
    settings.rest = Some(Rest::new(rest));
    let zoom = tokio::spawn(play(settings));
    recorder.wait_for("media flow").await;

    let args = ["--public-url", &*recorder.webhook, "--meetings", "2", "--hours", "0.5"];
    let said = check(&home, &args).await;
    assert_eq!((said.status, said.failed()), (0, vec![]), "{:#?}", said.lines);
    let mut checks: Vec<_> = said.lines.iter().filter_map(|line| line["check"].as_str()).collect();
    checks.retain(|check| *check != "spool disk");
    assert_eq!(
        checks,
        [
            "settings",
            "ffmpeg",
            "open files",
            "spool",
            "spool room",
            "bucket",
            "bucket write",
            "bucket read",
            "bucket multipart",
            "bucket checksums",
            "bucket conditions",
            "bucket versions",
            "bucket delete",
            "clock",
            "zoom credentials",
            "webhook"
        ]
    );
    for check in &checks {
        said.has(check, "ok", &[]);
    }
    said.has("spool", "ok", &[&format!("process {} is recording into it", recorder.pid())]);
    said.has("spool room", "ok", &["2 meetings of 0.5 h at 720p need 2.2 GB"]);
    said.has("ffmpeg", "ok", &["with every codec, format and filter that is used"]);
    recorder.wait_for("answered Zoom's check of the webhook's address").await;
    assert!(server.seen().iter().any(|seen| seen.query.contains("partNumber=2")), "an upload in parts was tried");
    assert_eq!(home.bucket().keys().await, [""; 0], "what was tried is removed again");
    assert!(!home.spool_files().iter().any(|file| file.contains(".check")), "{:?}", home.spool_files());

    // For people: a line each.
    let output = home.run(&[&["check"], &args[..]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("\nok       bucket delete     what was stored is gone again\n"), "{text}");
    assert!(text.contains("\nReady to record. Warnings: "), "{text}");

    // The app's secret is another one: Zoom's stand-in knows that, and so does the recorder's signature check.
    home.set("ZOOM_CLIENT_SECRET", "not-the-secret");
    home.set("ZOOM_SECRET_TOKEN", "not-the-token");
    let said = check(&home, &["--public-url", &recorder.webhook]).await;
    assert_eq!((said.status, said.failed()), (1, vec!["zoom credentials", "webhook"]));
    said.has(
        "zoom credentials",
        "failure",
        &["Zoom answered 400 (code invalid_client)", "Zoom does not know this app; check"],
    );
    said.has("webhook", "failure", &["answered 401 Unauthorized", "set the same ZOOM_SECRET_TOKEN here and there"]);
    home.set("ZOOM_CLIENT_SECRET", crate::common::CLIENT_SECRET);
    // Another app beside it, that Zoom and this recorder know nothing of.
    home.set("ZOOM_SECRET_TOKEN", crate::common::SECRET_TOKEN);
    home.set("ZOOM_CLIENT_ID_2", "another");
    home.set("ZOOM_CLIENT_SECRET_2", "secret-of-another");
    home.set("ZOOM_SECRET_TOKEN_2", "token-of-another");
    let said = check(&home, &["--public-url", &recorder.webhook]).await;
    said.has("zoom credentials", "ok", &["knows the app clientOfTheTests"]);
    said.has("webhook", "ok", &[]);
    assert_eq!((said.status, said.failed()), (1, vec!["zoom credentials", "webhook"]));
    for name in ["ZOOM_CLIENT_ID_2", "ZOOM_CLIENT_SECRET_2", "ZOOM_SECRET_TOKEN_2"] {
        home.unset(name);
    }
    home.set("ZOOM_ACCOUNT_ID", "nobodysAccount");
    let said = check(&home, &[]).await;
    said.has("zoom credentials", "failure", &["check ZOOM_ACCOUNT_ID"]);
    zoom.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings() {
    let mut home = alone(Home::new()).await;
    home.unset("ZOOM_SECRET_TOKEN");
    let said = check(&home, &[]).await;
    assert_eq!(said.status, 64);
    said.has("settings", "failure", &["ZOOM_SECRET_TOKEN is required", "Environment"]);
    said.has("bucket delete", "ok", &[]);
    said.has("spool", "ok", &[]);
    assert_eq!(said.failed(), ["settings", WITHOUT_ZOOM[0]], "what is there of the app is tried");
    home.unset("ZOOM_CLIENT_SECRET");
    let said = check(&home, &[]).await;
    assert_eq!(said.failed(), ["settings"; 2], "without a secret there is nothing to ask Zoom with");
    home.unset("ZOOM_CLIENT_ID");
    let said = check(&home, &[]).await;
    assert_eq!(said.failed(), ["settings"; 3], "without an app there is nothing to ask Zoom with");

    home.set("PORT", "http");
    home.set("STORAGE_URL", "ftp://somewhere");
    let said = check(&home, &[]).await;
    assert_eq!((said.status, said.failed().len()), (64, 5), "{:#?}", said.lines);
    home.unset("PORT");
    for name in ["ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET", "ZOOM_SECRET_TOKEN"] {
        home.set(name, "something");
    }
    home.set("STORAGE_URL", "/proc/nowhere");
    let wrong = check(&home, &[]).await;
    wrong.has("settings", "failure", &["STORAGE_URL cannot use the directory /proc/nowhere", "No such file"]);
    let ok = wrong.lines.iter().any(|line| line["check"] == "settings" && line["outcome"] == "ok");
    assert!(!ok, "{:#?}", wrong.lines);
    said.has("ffmpeg", "ok", &[]);
    let texts: Vec<_> = said.lines.iter().filter_map(|line| line["text"].as_str()).collect();
    assert!(texts.iter().any(|text| text.starts_with("PORT is \"http\"")), "{texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("STORAGE_URL storage URL")), "{texts:?}");
    assert_eq!(home.run(&["check", "--hours", "2"]).status.code(), Some(64), "of how many meetings?");
}

/// A directory with an `ffmpeg` that is this script.
fn fake_ffmpeg(home: &mut Home, name: &str, script: &str) {
    let bin = home.path(name);
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("ffmpeg"), format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(bin.join("ffmpeg"), std::fs::Permissions::from_mode(0o755)).unwrap();
    home.set("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg() {
    let mut home = alone(Home::new()).await;
    let real = std::env::var_os("PATH").expect("a PATH");
    let real = std::env::split_paths(&real).map(|dir| dir.join("ffmpeg")).find(|path| path.exists()).expect("ffmpeg");
    let real = real.display();

    fake_ffmpeg(&mut home, "poor", &format!("{real} \"$@\" | grep -v -e libx264 -e filter_units"));
    let said = check(&home, &[]).await;
    assert_eq!((said.status, &said.failed()[..]), (1, &["ffmpeg", "zoom credentials"][..]));
    said.has(
        "ffmpeg",
        "failure",
        &["ffmpeg lacks encoder libx264, bitstream filter filter_units", "install a complete ffmpeg"],
    );

    fake_ffmpeg(&mut home, "old", &format!("{real} \"$@\" | sed 's/^ffmpeg version [^ ]*/ffmpeg version 4.4.2/'"));
    let said = check(&home, &[]).await;
    said.has("ffmpeg", "warning", &["4.4.2 is older than 5.1", "install ffmpeg 5.1 or later"]);
    assert_eq!(said.failed(), WITHOUT_ZOOM);

    // It says that it can, and cannot.
    let cannot = format!("case \"$*\" in *lavfi*) echo no such codec >&2; exit 1;; esac; {real} \"$@\"");
    fake_ffmpeg(&mut home, "boaster", &cannot);
    check(&home, &[]).await.has("ffmpeg", "failure", &["making a slate failed", "no such codec", "install a complete"]);

    fake_ffmpeg(&mut home, "broken", "echo cannot open shared object >&2; exit 127");
    check(&home, &[]).await.has("ffmpeg", "failure", &["ffmpeg does not answer", "cannot open shared object"]);

    home.set("PATH", "/nonexistent");
    let words = ["ffmpeg was not found in PATH", "apt-get install ffmpeg", "put its directory into PATH"];
    check(&home, &[]).await.has("ffmpeg", "failure", &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_room() {
    let mut home = alone(Home::new()).await;
    let said = check(&home, &["--meetings", "5000", "--hours", "100"]).await;
    said.has(
        "spool room",
        "failure",
        &["5000 meetings of 100 h at 720p need 1100000.0 GB", "or set SPOOL_DIR to a larger disk"],
    );
    home.set("SPOOL_MIN_FREE", "900TiB");
    let said = check(&home, &[]).await;
    said.has("spool room", "failure", &["less than SPOOL_MIN_FREE", "no new stream is recorded", "free some space"]);
    assert_eq!(said.failed(), ["spool room", "zoom credentials"]);
    let recorder = home.start().await;
    let line = recorder.wait_for("this machine is not ready for every meeting").await;
    assert!(
        line["err"].as_str().is_some_and(|err| err.contains("less than SPOOL_MIN_FREE")),
        "serve says it too: {line}"
    );

    let mut limited = home.command(&["check", "--json", "--meetings", "10"]);
    let args: Vec<_> = limited.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\""]).arg(limited.get_program()).args(args).env_clear();
    shell.envs(limited.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.current_dir(home.path("")).output().expect("a shell");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("100 may be open, enough for 2 meetings at a time, not for 10"), "{text}");
    assert!(text.contains("LimitNOFILE=65536"), "{text}");
    limited.env_clear();
}

#[test]
fn a_spool_that_cannot_be_written_to() {
    small::run("check::a_spool_that_cannot_be_written_to", async {
        let mut home = alone(Home::new()).await;
        let disk = small::SmallDisk::over(&home.spool(), "8m");
        check(&home, &[]).await.has("spool", "ok", &["can be written to"]);
        let remount = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(home.spool()).status();
        assert!(remount.expect("mount runs").success());
        let said = check(&home, &[]).await;
        said.has(
            "spool",
            "failure",
            &["Read-only file system", "SPOOL_DIR must be a directory that this user can write to"],
        );
        assert_eq!((said.status, &said.failed()[..]), (1, &["spool", "zoom credentials"][..]));
        drop(disk);

        let file = home.path("file");
        std::fs::write(&file, "").unwrap();
        home.set("SPOOL_DIR", file.join("spool").to_str().unwrap());
        check(&home, &[]).await.has("spool", "failure", &["Not a directory", "set another SPOOL_DIR"]);

        let open = home.path("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        home.set("SPOOL_DIR", open.to_str().unwrap());
        check(&home, &[]).await.has("spool", "warning", &["has mode 755", "chmod 700"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket() {
    let server = S3Server::start().await;
    let mut home = alone(Home::with_s3(server.address)).await;
    let method = |wanted: Method| move |seen: &Seen| seen.method == wanted && seen.key.contains("rtms-recorder-check");
    let only = |said: &Said, check: &str| {
        assert_eq!((said.status, &said.failed()[..]), (1, &[check, "zoom credentials"][..]), "{:#?}", said.lines);
    };

    server.inject(Fault::Refuse(403, "AccessDenied"), usize::MAX, method(Method::PUT));
    let said = check(&home, &[]).await;
    only(&said, "bucket write");
    said.has(
        "bucket write",
        "failure",
        &["403 Forbidden (AccessDenied)", "must be allowed to put, get, list and delete"],
    );
    server.heal();

    server.inject(Fault::Refuse(403, "AccessDenied"), usize::MAX, method(Method::GET));
    only(&check(&home, &[]).await, "bucket read");
    server.heal();
    server.inject(Fault::Truncate, 1, method(Method::PUT));
    let said = check(&home, &[]).await;
    only(&said, "bucket read");
    said.has("bucket read", "failure", &["came back as something else than was stored"]);
    server.heal();
    server.inject(Fault::Flip, usize::MAX, method(Method::PUT));
    only(&check(&home, &[]).await, "bucket write");
    server.heal();

    server.inject(Fault::Refuse(501, "NotImplemented"), usize::MAX, method(Method::POST));
    let said = check(&home, &[]).await;
    only(&said, "bucket multipart");
    said.has("bucket multipart", "failure", &["multipart upload of", "(NotImplemented)"]);
    server.heal();
    server.inject(Fault::Flip, usize::MAX, |seen| seen.query.contains("partNumber=2"));
    only(&check(&home, &[]).await, "bucket multipart");
    server.heal();

    server.inject(Fault::Refuse(403, "AccessDenied"), usize::MAX, method(Method::DELETE));
    // Many objects are deleted by a POST.
    server.inject(Fault::Refuse(403, "AccessDenied"), usize::MAX, |seen| seen.query.contains("delete"));
    only(&check(&home, &[]).await, "bucket delete");
    server.heal();

    let conditional = |seen: &Seen| seen.headers.contains_key("if-none-match");
    server.inject(Fault::Refuse(501, "NotImplemented"), usize::MAX, conditional);
    let said = check(&home, &[]).await;
    said.has("bucket conditions", "warning", &["the recorder can do without"]);
    assert_eq!(said.failed(), WITHOUT_ZOOM);
    server.heal();

    server.inject(Fault::Header("x-amz-version-id", "3HL4kqtJvjVBH40N"), usize::MAX, method(Method::PUT));
    let said = check(&home, &[]).await;
    said.has(
        "bucket versions",
        "warning",
        &["consent was withdrawn", "lifecycle rule that deletes noncurrent versions"],
    );
    assert_eq!(said.failed(), WITHOUT_ZOOM);
    server.heal();

    for (ahead_s, outcome, text) in [
        (-90, "warning", "s ahead of that of"),
        (4000, "failure", "s behind that of"),
        (-4000, "failure", "webhooks would be refused"),
    ] {
        server.inject(Fault::Date(ahead_s), usize::MAX, |_| true);
        check(&home, &[]).await.has("clock", outcome, &[text, "set this machine's clock (NTP)"]);
        server.heal();
    }
    server.inject(Fault::Refuse(403, "RequestTimeTooSkewed"), usize::MAX, |_| true);
    let said = check(&home, &[]).await;
    only(&said, "bucket");
    said.has("bucket", "failure", &["set this machine's clock"]);
    server.heal();

    home.set("AWS_CHECKSUM_ALGORITHM", "none");
    check(&home, &[]).await.has("bucket checksums", "warning", &["AWS_CHECKSUM_ALGORITHM"]);
    home.unset("AWS_CHECKSUM_ALGORITHM");
    home.set("AWS_SECRET_ACCESS_KEY", "wrong");
    let said = check(&home, &[]).await;
    only(&said, "bucket");
    said.has("bucket", "failure", &["(SignatureDoesNotMatch)", "check the bucket credentials"]);
    home.set("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY);
    home.set("STORAGE_URL", "s3://another/team");
    check(&home, &[]).await.has("bucket", "failure", &["create the bucket, or correct STORAGE_URL"]);
    home.set("AWS_ENDPOINT", &format!("http://{}", crate::common::ports::free()));
    let said = check(&home, &[]).await;
    said.has("bucket", "failure", &["check the endpoint (for S3 AWS_ENDPOINT) and the network"]);
    said.has("clock", "warning", &["gave no date"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_a_bucket_too() {
    let home = alone(Home::new()).await;
    let said = check(&home, &[]).await;
    for line in ["bucket write", "bucket multipart", "bucket conditions", "bucket versions", "bucket delete"] {
        said.has(line, "ok", &[]);
    }
    assert_eq!(said.failed(), WITHOUT_ZOOM);
    said.has("zoom credentials", "failure", &["127.0.0.1 gave no answer", "check the network and its proxies"]);
    assert!(!home.spool().exists(), "the next start makes the spool as its own user");
    assert_eq!(home.bucket().keys().await, [""; 0]);
}

/// Answers every request alike, `after` so many milliseconds.
async fn answering(answer: &'static str, after_ms: u64) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = [0; 4096];
                // A request of this size comes in one piece, and what is in it does not matter.
                let _seen_bytes = socket.read(&mut seen).await;
                tokio::time::sleep(std::time::Duration::from_millis(after_ms)).await;
                socket.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhooks_public_address() {
    let mut home = alone(Home::new()).await;
    let recorder = home.start().await;
    let address = recorder.address();
    let url = |address: SocketAddr, path: &str| format!("http://{address}{path}");
    let asked = async |home: &Home, url: &str| check(home, &["--public-url", url]).await;

    asked(&home, &url(address, "/hook")).await.has("webhook", "failure", &["404", "WEBHOOK_PATH (/webhook)"]);
    asked(&home, &url(address, "/healthz")).await.has("webhook", "failure", &["405", "pass POST on"]);
    asked(&home, "http://recorder.example.com/webhook").await.has("webhook", "failure", &["is not https"]);
    let nobody = crate::common::ports::free();
    asked(&home, &url(nobody, "/webhook")).await.has("webhook", "failure", &["gave no answer", "start the recorder"]);
    for (answer, text) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nWelcome", "something that is no recorder answered"),
        ("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", "Zoom follows no redirect"),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "let the proxy pass on to its HOST and PORT"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 39\r\n\r\n{\"plainToken\":\"a\",\"encryptedToken\":\"b\"}",
            "with another Secret Token",
        ),
    ] {
        let proxy = answering(answer, 0).await;
        asked(&home, &url(proxy, "/webhook")).await.has("webhook", "failure", &[text]);
    }
    let slow = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 5000).await;
    asked(&home, &url(slow, "/webhook")).await.has("webhook", "failure", &["gave no answer", "Zoom waits 3 s"]);

    // Behind TLS, as Zoom sees it: with a certificate that is trusted, and with one that is not.
    let proxy = TlsProxy::start(address, home.path("").as_path()).await;
    let public = format!("{}/webhook", proxy.url.replace("wss://", "https://"));
    asked(&home, &public).await.has("webhook", "failure", &["gave no answer", "the certificate"]);
    home.set("SSL_CERT_FILE", proxy.certificate.to_str().unwrap());
    asked(&home, &public).await.has("webhook", "ok", &["answered its URL validation after"]);
    assert_eq!(http::get(address, "/healthz").await.status, 200);
}

/// bash completes commands and options by what `completions bash` prints.
#[test]
fn completions() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = home.run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("public-url"), "{shell}: {script}");
    }
    assert_eq!(home.run(&["completions", "cmd"]).status.code(), Some(64));
    if !Path::new("/bin/bash").exists() {
        println!("skipped: there is no bash here");
        return;
    }
    let complete = |words: &[&str]| {
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let script = format!(
            "source <(\"$0\" completions bash)\n\
             COMP_WORDS=({line}) COMP_CWORD={at}\n\
             command=$(complete -p rtms-recorder | sed 's/.* -F \\([^ ]*\\) .*/\\1/')\n\
             $command rtms-recorder \"${{COMP_WORDS[$COMP_CWORD]}}\" \"${{COMP_WORDS[$COMP_CWORD-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            at = words.len() - 1
        );
        let mut bash = std::process::Command::new("/bin/bash");
        let output = bash.args(["--norc", "-c", &script, env!("CARGO_BIN_EXE_rtms-recorder")]).output().expect("bash");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["rtms-recorder", "ver"]), ["verify"]);
    assert_eq!(complete(&["rtms-recorder", "check", "--pub"]), ["--public-url"]);
    assert_eq!(complete(&["rtms-recorder", "rtms", "pau"]), ["pause"]);
    assert!(complete(&["rtms-recorder", ""]).iter().any(|word| word == "serve"));
}
