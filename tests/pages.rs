//! The pages in the bucket, in real browsers: they play, follow, seek, search, keep two videos in step, and let nothing out,
//! whatever people are called and write; from a directory, from static hosting, and by signed links.

use crate::common::hosting::host;
use crate::common::remote::Remote;
use crate::common::s3::S3Server;
use crate::common::{Home, meeting, play_one};
use rtms_recorder::output::Manifest;
use rtms_recorder::output::page::{self, File, Sources};
use rtms_recorder::simulator::Span;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Up to here the two videos may be apart, in seconds, nine times of ten: a machine that is busy with something else holds one
/// of them up now and then.
const APART: f64 = 0.1;

/// A recording of some 24 s, in which a screen is shared from 4 s to 20 s; and its folder.
async fn record(home: &Home) -> String {
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 24);
    settings.script.share = vec![Span { start_ms: 4000, end_ms: 20_000 }];
    play_one(settings).await;
    recorder.published(1).await;
    let (status, _) = recorder.terminate().await;
    assert_eq!(status, Some(0));
    let keys = home.bucket().keys().await;
    let manifest = keys.iter().find_map(|key| key.strip_suffix("/manifest.json")).expect("a manifest");
    manifest.to_owned()
}

fn file_url(path: &Path) -> String {
    url::Url::from_file_path(path).expect("an absolute path").to_string()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

/// Plays, seeks by the transcript, and measures how far the two videos are apart.
async fn watch(browser: &mut Remote, url: &str) {
    browser.open(url).await;
    browser.until("camera.readyState >= 2 && screen_.readyState >= 1").await;
    let rows = browser.eval("document.querySelectorAll('#transcript .row').length").await;
    assert!(rows.as_u64() > Some(3), "{url}: {rows}");
    // Into the middle of what is shared, by a click on what was said there.
    let clicked = "(() => { const row = panels[0].rows.find(row => row.at_ms > 6000); row.element.click(); return row.at_ms / 1000; })()";
    let at = browser.eval(clicked).await.as_f64().expect("a time");
    browser.until("!camera.seeking && camera.readyState >= 3").await;
    let now = browser.eval("camera.currentTime").await.as_f64().expect("a time");
    assert!((now - at).abs() < 0.05, "{url}: {now} after a click on {at}");
    assert_eq!(
        browser.eval("[$('screen-pane').hidden, $('camera-pane').hidden]").await,
        json!([false, false]),
        "{url}"
    );

    // And to when the screen was shared, by its mark under the picture.
    let mark = "(() => { const mark = [...document.querySelectorAll('.mark')].find(mark => Number(mark.dataset.at) > 3); mark.click(); return Number(mark.dataset.at); })()";
    let at = browser.eval(mark).await.as_f64().expect("a time");
    browser.until(&format!("!camera.seeking && Math.abs(camera.currentTime - {at}) < 0.05")).await;

    browser.eval("$('play').click()").await;
    browser.until(&format!("!camera.paused && camera.currentTime > {at} + 0.5")).await;
    for speed in [1.0, 2.0] {
        browser
            .eval(&format!(
                "(() => {{ $('speed').value = '{speed}'; $('speed').dispatchEvent(new Event('change')); }})()"
            ))
            .await;
        // A machine that is busy decodes late now and then; a page that does not keep step never does.
        let mut tries = 0;
        loop {
            tries += 1;
            browser.eval("new Promise(done => setTimeout(done, 700))").await;
            let measured = browser
            .eval(
                "new Promise(done => { const apart = [], from = camera.currentTime; const look = () => {
                    apart.push(Math.abs(camera.currentTime - screen_.currentTime));
                    if (apart.length === 50) done({ apart: apart.sort((a, b) => a - b)[44], most: apart[49], played: camera.currentTime - from }); else setTimeout(look, 30);
                }; look(); })",
            )
            .await;
            let (apart, played) =
                (measured["apart"].as_f64().expect("a number"), measured["played"].as_f64().expect("a number"));
            println!("MEASURED {url}: {apart:.3} s apart at {speed} times the speed, {played:.1} s played");
            if apart < APART && played > 0.7 * speed {
                break;
            }
            assert!(tries < 4, "{url}, {speed}: {measured}");
            browser.eval("(() => { if (camera.currentTime > 14) seek(7); })()").await;
        }
    }
    assert_eq!(
        browser.eval("Boolean($('transcript').querySelector('.row.active'))").await,
        true,
        "{url}: what is said is marked"
    );
    browser.eval("$('play').click()").await;
    browser.until("camera.paused && screen_.paused").await;
    // When nobody shares, the camera has the stage to itself.
    browser.eval("seek(22)").await;
    browser.until("$('screen-pane').hidden && !$('camera-pane').hidden").await;
    assert_eq!(browser.eval("$('fault').hidden && $('incomplete').hidden").await, true, "{url}");
    assert!(browser.complaints().is_empty(), "{url}: {:#?}", browser.complaints());
}

/// What was asked for lies below `place`.
fn only(browser: &Remote, places: &[&str]) {
    for url in browser.requests() {
        let ours = url == "about:blank" || places.iter().any(|place| url.starts_with(place));
        assert!(ours || url.ends_with("/favicon.ico"), "{url} was asked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_plays_from_a_directory_and_from_a_web_site() {
    let home = Home::new();
    let folder = record(&home).await;
    let bucket = home.path("bucket");
    let page = bucket.join(&folder).join("index.html");
    let manifest = Manifest::from_json(&std::fs::read(bucket.join(&folder).join("manifest.json")).unwrap()).unwrap();
    let listed: Vec<&str> = manifest.objects.iter().map(|object| object.name.as_str()).collect();
    for name in ["index.html", "poster.jpg", "recording.mp4", "screenshare.mp4", "transcript.json"] {
        assert!(listed.contains(&name), "{listed:?}");
    }
    let site = host(&bucket);
    let mut browser = Remote::chromium().await;
    watch(&mut browser, &file_url(&page)).await;
    watch(&mut browser, &format!("{site}/{folder}/index.html")).await;
    only(&browser, &[&file_url(&bucket.join(&folder)), &site]);
    // The picture is none of the black ones.
    let light = "(async () => { const image = new Image(); image.src = camera.poster; await image.decode();
        const canvas = document.createElement('canvas'); canvas.width = canvas.height = 8; const to = canvas.getContext('2d');
        to.drawImage(image, 0, 0, 8, 8); return [image.naturalWidth, Math.max(...to.getImageData(0, 0, 8, 8).data.filter((_, i) => i % 4 < 3))]; })()";
    let poster = browser.eval(light).await;
    assert!(
        poster[0].as_u64() >= Some(160) && poster[0].as_u64() <= Some(1280) && poster[1].as_u64() > Some(60),
        "{poster}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_plays_from_a_directory_and_from_a_web_site() {
    let home = Home::new();
    let folder = record(&home).await;
    let bucket = home.path("bucket");
    let site = host(&bucket);
    let mut browser = Remote::firefox().await;
    watch(&mut browser, &file_url(&bucket.join(&folder).join("index.html"))).await;
    watch(&mut browser, &format!("{site}/{folder}/index.html")).await;
    only(&browser, &[&file_url(&bucket.join(&folder)), &site]);
}

/// A page about the same media, by people who mean harm.
fn hostile(folder: &Path) -> PathBuf {
    let manifest = Manifest::from_json(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let evil = [
        "</script><script>window.hit = 1</script>".to_owned(),
        "<img src=x onerror=\"window.hit = 2\">".to_owned(),
        "javascript:window.hit=3".to_owned(),
        "\u{202e}gnp.exe\u{2066} שלום".to_owned(),
        "<!--<script>".to_owned(),
        "x".repeat(10_000),
        "http://evil.example/ {{data}} &lt;b&gt; \u{2028} ]]> ${window.hit = 4}".to_owned(),
        "__proto__".to_owned(),
    ];
    let mut timeline = read(&folder.join("timeline.json"));
    let (mut people, mut turns, mut cues, mut messages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, text) in evil.iter().enumerate() {
        let (start, end) = (number * 2000, number * 2000 + 1500);
        let at = "2026-11-20T09:30:00.000Z";
        people.push(json!({ "user_id": text, "user_name": text, "earlier_names": [text], "present": [{ "start_ms": start, "end_ms": end, "until": at }] }));
        turns.push(json!({ "user_id": text, "user_name": text, "start_ms": start, "end_ms": end, "from": at }));
        cues.push(json!({ "start_ms": start, "end_ms": end, "at": at, "user_id": text, "user_name": text, "language": text, "text": text }));
        let somebody = json!({ "user_id": text, "user_name": text });
        messages.push(json!({
            "at_ms": start, "at": text, "message_id": text, "parent_message_id": text, "sender": somebody, "receiver": somebody,
            "session": { "type": text }, "text": text, "files": [{ "file_name": text, "deleted": false }],
            "reactions": [{ "emoji": text, "user_id": text, "user_name": text }],
        }));
    }
    timeline["participants"] = people.into();
    timeline["speakers"] = turns.clone().into();
    timeline["sharing"] = turns.into();
    let (transcript, chat) = (json!({ "cues": cues, "missing": [] }), json!({ "messages": messages, "missing": [] }));
    let mut manifest = manifest;
    (manifest.ids.meeting_id, manifest.complete) = (Some(evil[0].clone()), false);
    manifest.incomplete_because = evil.to_vec();
    let mut files: Vec<File> =
        manifest.objects.iter().map(|o| File::beside(o.name.clone(), Some(o.size_bytes), o.duration_ms)).collect();
    files.extend(evil.iter().map(|text| File::beside(text.clone(), Some(1), None)));
    let [timeline, transcript, chat] = [timeline, transcript, chat].map(|json| json.to_string().into_bytes());
    let sources = Sources {
        manifest: &manifest,
        files: &files,
        timeline: Some(&timeline),
        transcript: Some(&transcript),
        chat: Some(&chat),
        root: None,
        signed: None,
    };
    let path = folder.join("hostile.html");
    std::fs::write(&path, page::compose(&sources).unwrap()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_text_and_fits() {
    let home = Home::new();
    let folder = home.path("bucket").join(record(&home).await);
    let page = hostile(&folder);
    let mut browser = Remote::chromium().await;
    browser.open(&file_url(&page)).await;
    browser.until("camera.readyState >= 2").await;
    let found = browser
        .eval(
            "({ hit: window.hit ?? null, scripts: document.scripts.length, images: document.images.length,
                cues: panels.find(panel => panel.id === 'transcript').rows.length, chat: panels.find(panel => panel.id === 'chat').rows.length,
                links: [...document.links].map(link => link.protocol).filter(protocol => protocol !== 'file:'),
                said: document.querySelector('#transcript .row p').textContent })",
        )
        .await;
    let text = "</script><script>window.hit = 1</script>";
    assert_eq!(
        found,
        json!({ "hit": null, "scripts": 2, "images": 0, "cues": 8, "chat": 8, "links": [], "said": text }),
    );
    for (width, height) in [(320, 700), (375, 800), (768, 1000), (1280, 800), (1920, 1000)] {
        browser.resize(width, height).await;
        for panel in 0..4 {
            browser.eval(&format!("show(panels[{panel}])")).await;
            let wide = browser.eval("document.scrollingElement.scrollWidth").await;
            assert!(wide.as_u64() <= Some(width.into()), "{wide} at {width}, panel {panel}");
        }
    }
    // What turns the direction of writing around in a name leaves the words beside it alone.
    let turned = r"[...document.querySelectorAll('.row, .person, .lane')].filter(one => /[\u202a-\u202e\u2066\u2067]/.test(one.textContent)).length";
    assert_eq!(browser.eval(turned).await, 0);
    // The last words of a key or a click cannot do more than seek.
    browser.eval("document.querySelectorAll('.row, .lanes, #people button').forEach(one => one.click())").await;
    assert_eq!(browser.eval("window.hit ?? null").await, Value::Null);
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    only(&browser, &[&file_url(&folder)]);
    shot(&mut browser, "hostile").await;
}

/// Three hours of talk. The limits are for a machine that does other things, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_thousands_of_utterances_is_of_use() {
    const COUNT: usize = 5000;
    let home = Home::new();
    let folder = home.path("bucket").join(record(&home).await);
    let manifest = Manifest::from_json(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let at = "2026-11-20T09:30:00.000Z";
    let length = manifest.duration_ms as usize;
    let cues: Vec<Value> = (0..COUNT)
        .map(|n| {
            let (start, who) = (n * length / COUNT, format!("Person {}", n % 40));
            json!({ "start_ms": start, "end_ms": start + 500, "at": at, "user_id": who, "user_name": who, "text": format!("number {n} ") + &"and so on ".repeat(n % 30) })
        })
        .collect();
    let mut timeline = read(&folder.join("timeline.json"));
    timeline["speakers"] = cues.iter().map(|cue| json!({ "user_id": cue["user_id"], "start_ms": cue["start_ms"], "end_ms": cue["end_ms"], "from": at })).collect();
    let (timeline, transcript) = (timeline.to_string(), json!({ "cues": cues, "missing": [] }).to_string());
    let files: Vec<File> =
        manifest.objects.iter().map(|o| File::beside(o.name.clone(), Some(o.size_bytes), o.duration_ms)).collect();
    let sources = Sources {
        manifest: &manifest,
        files: &files,
        timeline: Some(timeline.as_bytes()),
        transcript: Some(transcript.as_bytes()),
        chat: None,
        root: None,
        signed: None,
    };
    let page = folder.join("long.html");
    std::fs::write(&page, page::compose(&sources).unwrap()).unwrap();
    let mut browser = Remote::chromium().await;
    browser.resize(1280, 800).await;
    browser.open(&file_url(&page)).await;
    browser.until("camera.readyState >= 2").await;
    let took = "(text => { const from = performance.now(); $('search').value = text; $('search').dispatchEvent(new Event('input')); document.body.offsetHeight; return [performance.now() - from, document.querySelectorAll('#transcript .row:not([hidden])').length]; })";
    for (text, hits) in [("number 4321", 1), ("nothing", 0), ("so on", COUNT - COUNT.div_ceil(30)), ("", COUNT)] {
        let searched = browser.eval(&format!("{took}('{text}')")).await;
        println!("MEASURED search for {text:?} among {COUNT}: {} ms", searched[0]);
        assert!(searched[0].as_f64() < Some(3000.0) && searched[1] == hits, "{text}: {searched}");
    }
    // What is said is in sight wherever one goes, though most rows were never laid out.
    let in_sight = "(() => { const row = $('transcript').querySelector('.row.active').getBoundingClientRect(), box = $('transcript').getBoundingClientRect();
        return row.top >= box.top - 1 && row.top < box.top + box.height / 2; })()";
    for place in [0.5, 0.93, 0.07, 0.7] {
        browser.eval(&format!("seek(total() * {place})")).await;
        browser.until("!camera.seeking").await;
        browser.until(in_sight).await;
    }
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    shot(&mut browser, "long").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_searched_and_worked_by_keys() {
    let home = Home::new();
    let folder = home.path("bucket").join(record(&home).await);
    let mut browser = Remote::chromium().await;
    browser.resize(1280, 800).await;
    browser.open(&file_url(&folder.join("index.html"))).await;
    browser.until("camera.readyState >= 3").await;
    let now = "camera.currentTime";
    browser.press("ArrowRight").await;
    browser.until("Math.abs(camera.currentTime - 5) < 0.1 && !camera.seeking").await;
    browser.press("ArrowLeft").await;
    browser.until("camera.currentTime < 0.1 && !camera.seeking").await;
    browser.press(" ").await;
    browser.until("!camera.paused && camera.currentTime > 0.2").await;
    browser.press(" ").await;
    browser.until("camera.paused").await;
    browser.press(".").await;
    browser.until("!camera.seeking").await;
    assert!(browser.eval(now).await.as_f64() > Some(0.3));

    // A word that one utterance has and not all do.
    let word = "(() => { const all = panels[0].rows.map(row => row.text.toLowerCase());
        for (const text of all) for (const word of text.split(/[^a-z]+/)) if (word.length > 3) { const hits = all.filter(text => text.includes(word)).length; if (hits < all.length) return [word, hits]; } })()";
    let found = browser.eval(word).await;
    let (word, hits) = (found[0].as_str().expect("a word").to_owned(), found[1].as_u64().expect("a number"));
    browser.press("/").await;
    assert_eq!(browser.eval("document.activeElement.id").await, "search");
    for letter in word.chars() {
        browser.press(&letter.to_string()).await;
    }
    let shown = "[...document.querySelectorAll('#transcript .row')].filter(row => !row.hidden)";
    assert_eq!(browser.eval(&format!("{shown}.length")).await, hits, "{word}");
    let marks = browser
        .eval("[...document.querySelectorAll('#transcript .row:not([hidden]) mark')].map(mark => mark.textContent.toLowerCase())")
        .await;
    assert!(marks.as_array().is_some_and(|marks| marks.iter().all(|mark| *mark == word)), "{marks}");
    browser.press("Escape").await;
    let all = browser.eval("panels[0].rows.length").await;
    assert_eq!(browser.eval(&format!("{shown}.length")).await, all);
    // Everything can be reached and says what it is.
    let nameless = "[...document.querySelectorAll('button, input, select, a, video, audio')].filter(one => !one.closest('[hidden]')
        && !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.[0]?.textContent.trim())).map(one => one.outerHTML)";
    assert_eq!(browser.eval(nameless).await, json!([]));
    assert!(
        browser.eval("$('chat').textContent").await.as_str().is_some_and(|chat| chat.contains("👍 李 <Carol> & Co"))
    );
    assert!(
        browser
            .eval("$('people').textContent")
            .await
            .as_str()
            .is_some_and(|people| people.contains("camera on from 0:0"))
    );
    for (name, width, height, dark) in
        [("wide", 1440, 1000, false), ("dark", 1440, 1000, true), ("phone", 375, 1400, false)]
    {
        browser.resize(width, height).await;
        let theme =
            json!({ "features": [{ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } }] });
        browser.call("Emulation.setEmulatedMedia", theme).await;
        browser.eval("seek(8)").await;
        browser.until("!camera.seeking && !screen_.seeking && screen_.readyState >= 2").await;
        shot(&mut browser, name).await;
    }
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

/// For those who want to look: `SHOTS=/some/directory`.
async fn shot(browser: &mut Remote, name: &str) {
    let Some(directory) = std::env::var_os("SHOTS") else { return };
    let shot = browser.call("Page.captureScreenshot", json!({ "format": "png" })).await;
    let png = base64_simd::STANDARD.decode_to_vec(shot["data"].as_str().expect("text")).expect("base64");
    std::fs::write(Path::new(&directory).join(format!("{name}.png")), png).expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_has_a_list_that_leads_to_the_recordings() {
    let mut home = Home::new();
    home.set("CATALOGUE", "true");
    let folder = record(&home).await;
    let bucket = home.path("bucket");
    let listed = bucket.join("index.html");
    assert!(listed.exists(), "it is there when the recorder has ended");
    let before = std::fs::read(&listed).unwrap();
    let again = home.run(&["index"]);
    assert!(
        again.status.success() && String::from_utf8_lossy(&again.stdout).contains("up to date, 1 recordings"),
        "{again:?}"
    );
    assert_eq!(std::fs::read(&listed).unwrap(), before, "who writes it makes no difference");

    // Another one, of people who mean harm, and one that was deleted.
    let mut manifest = read(&bucket.join(&folder).join("manifest.json"));
    manifest["meeting_id"] = "</script><script>window.hit = 1</script>".into();
    for (name, deleted) in [("120000Z-evil-00000000", false), ("130000Z-gone-00000000", true)] {
        let other = bucket.join("2026/01/02").join(name);
        std::fs::create_dir_all(&other).unwrap();
        let names = json!({ "participants": [{ "user_name": "<img src=x onerror=\"window.hit = 2\">" }, { "user_name": "\u{202e}evil".repeat(2000) }] });
        std::fs::write(other.join("timeline.json"), names.to_string()).unwrap();
        if deleted {
            manifest["deleted"] = json!({ "at": "2026-11-20T09:30:00.000Z", "because": "Consent was withdrawn." });
            manifest["objects"] = json!([]);
        }
        std::fs::write(other.join("manifest.json"), manifest.to_string()).unwrap();
    }
    assert!(home.run(&["index"]).status.success());

    let site = host(&bucket);
    let mut browser = Remote::chromium().await;
    for base in [file_url(&bucket), site.clone()] {
        browser.open(&format!("{base}/index.html")).await;
        assert_eq!(browser.eval("document.querySelectorAll('.item').length").await, 3);
        assert_eq!(
            browser.eval("document.querySelectorAll('a.item').length").await,
            2,
            "what was deleted leads nowhere"
        );
        for width in [320, 375, 1280] {
            browser.resize(width, 800).await;
            let wide = browser.eval("document.scrollingElement.scrollWidth").await;
            assert!(wide.as_u64() <= Some(width.into()), "{wide} at {width}");
        }
        shot(&mut browser, "list").await;
        let find = "(text => { $('search').value = text; $('search').dispatchEvent(new Event('input')); return document.querySelectorAll('.item').length; })";
        assert_eq!(browser.eval(&format!("{find}('onerror')")).await, 1);
        assert_eq!(browser.eval(&format!("{find}('no such thing')")).await, 0);
        assert_eq!(browser.eval(&format!("{find}('9000')")).await, 1);
        assert_eq!(browser.eval("window.hit ?? null").await, Value::Null);
        browser.eval("document.querySelector('a.item').click()").await;
        browser
            .until(&format!(
                "location.href === {} && document.readyState === 'complete' && camera.readyState >= 2",
                json!(format!("{base}/{folder}/index.html"))
            ))
            .await;
    }
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    only(&browser, &[&file_url(&bucket), &site]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_bucket_plays_by_signed_links() {
    let server = S3Server::start().await;
    let home = Home::with_s3(server.address);
    let folder = record(&home).await;
    let page = home.path("page.html");
    let out = page.to_str().unwrap();
    let made = home.run(&["link", &format!("s3://recordings/team/{folder}"), "--expires", "1h", "--out", out]);
    assert!(made.status.success(), "{made:?}");
    let mut browser = Remote::chromium().await;
    watch(&mut browser, &file_url(&page)).await;
    let s3 = format!("http://{}/", server.address);
    only(&browser, &[&file_url(&page), &s3]);
    assert!(browser.requests().iter().any(|url| url.starts_with(&s3) && url.contains("X-Amz-Signature=")));
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(!text.contains(crate::common::s3::SECRET_KEY) && text.contains("X-Amz-Expires=3600"));

    let long = home.run(&["link", &folder, "--expires", "8d"]);
    let said = String::from_utf8_lossy(&long.stderr);
    assert!(long.status.code() == Some(64) && said.contains("7d or less"), "{long:?}");
    let nothing = home.run(&["link", "2026/01/02/030405Z-1-00000000"]);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    assert!(
        String::from_utf8_lossy(&nothing.stderr).contains("there is no recording in s3://recordings/team/2026/01"),
        "{nothing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_plays_too() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 12);
    settings.script.camera_off = vec![Span { start_ms: 0, end_ms: 60_000 }];
    play_one(settings).await;
    recorder.published(1).await;
    let keys = home.bucket().keys().await;
    let page = keys.iter().find(|key| key.ends_with("/index.html")).expect("a page");
    assert!(!keys.iter().any(|key| key.ends_with("poster.jpg")), "{keys:?}");
    let mut browser = Remote::chromium().await;
    browser.open(&file_url(&home.path("bucket").join(page))).await;
    browser.until("main.id === 'sound' && main.readyState >= 2 && $('camera-pane').hidden").await;
    browser.eval("$('play').click()").await;
    browser.until("main.currentTime > 1").await;
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    shot(&mut browser, "sound").await;
}
