//! The status page in a real browser, with meetings that run, finish and fail.

use crate::common::remote::Remote;
use crate::common::{Home, LIMIT, Recorder, meeting, provide_crypto};
use base64::Engine;
use rtms_recorder::protocol::message::Medium;
use rtms_recorder::simulator::{self, Cut, Progress, Span, Target};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

fn play(recorder: &Recorder, length_s: u64, with_share: bool) -> JoinHandle<()> {
    let mut settings = meeting(&recorder.webhook, length_s);
    settings.speed = 1.0;
    if with_share {
        settings.script.share = vec![Span { start_ms: 2000, end_ms: length_s as i64 * 1000 }];
        settings.script.cuts = vec![Cut { target: Target::Medium(Medium::Video), at_ms: 3000 }];
    }
    provide_crypto();
    tokio::spawn(async move {
        simulator::run(settings, Progress::silent()).await.expect("it can be played");
    })
}

/// Keeps a picture of the page in the directory that `SCREENSHOTS` names, for whoever wants to look at it.
async fn shoot(browser: &mut Remote, name: &str) {
    let Some(directory) = std::env::var_os("SCREENSHOTS") else { return };
    let metrics = browser.call("Page.getLayoutMetrics", json!({})).await;
    let size = &metrics["cssContentSize"];
    let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
    let shot = browser.call("Page.captureScreenshot", json!({ "clip": clip, "captureBeyondViewport": true })).await;
    let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().expect("a picture"));
    let path = std::path::Path::new(&directory).join(format!("{name}.png"));
    std::fs::write(path, bytes.expect("base64")).expect("a directory");
}

async fn shoot_all(browser: &mut Remote, name: &str) {
    for (look, value) in [("light", "light"), ("dark", "dark")] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        browser.call("Emulation.setEmulatedMedia", features).await;
        // Colours change slowly.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (shape, width, height) in [("narrow", 390, 800), ("wide", 1280, 800)] {
            browser.resize(width, height).await;
            let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.eval(overflow).await, 0, "{name} {look} {shape}: it is wider than the window");
            shoot(browser, &format!("{name}-{look}-{shape}")).await;
        }
    }
}

/// Clicks a button of the first card in a section, and says yes.
async fn press(browser: &mut Remote, section: &str, button: &str) {
    let click = format!(
        "[...document.querySelectorAll('#{section} .card button')].find(b => b.textContent === '{button}').click()"
    );
    browser.eval(&click).await;
    browser.until("document.getElementById('ask').open").await;
    // To close the question is to say no.
    browser.eval("document.getElementById('ask').close()").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    browser.eval(&click).await;
    browser.until("document.getElementById('ask').open").await;
    browser.eval("document.getElementById('yes').click()").await;
}

fn cards(section: &str) -> String {
    format!("document.querySelectorAll('#{section} .card').length")
}

fn changes(browser: &Remote) -> Vec<String> {
    let sent = browser.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
    let of = |event: &Value| {
        let request = &event["params"]["request"];
        let method = request["method"].as_str().expect("a method");
        (method != "GET").then(|| format!("{method} {}", request["url"].as_str().unwrap_or_default()))
    };
    sent.filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_seen_stopped_played_and_deleted() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut browser = Remote::chromium().await;
    browser.open(&recorder.admin).await;
    browser.until("!document.querySelector('#recording .empty').hidden && document.getElementById('machine').children.length === 5").await;
    shoot_all(&mut browser, "empty").await;
    browser.resize(1280, 800).await;

    let (one, two) = (play(&recorder, 40, false), play(&recorder, 40, true));
    browser.until(&format!("{} === 2", cards("recording"))).await;
    // Who, how long, the last picture, the sound level and the connections of both.
    browser
        .until(
            "[...document.querySelectorAll('#recording .card')].every(card => card.querySelector('.shot img')?.naturalWidth > 0 \
             && card.querySelector('.people') && card.querySelector('meter').value > -60 \
             && [...card.querySelectorAll('.chip:not(.warn)')].some(chip => chip.textContent === 'audio') \
             && /^0:\\d\\d$/.test(card.querySelector('.time').textContent))",
        )
        .await;
    // However short, a connection that was lost is told.
    browser
        .until("[...document.querySelectorAll('#recording .card')].some(card => card.querySelector('.chip.warn'))")
        .await;
    let quiet = "[...document.querySelectorAll('#recording .card')].some(card => card.querySelector('.chip.warn') && card.textContent.includes('no gaps'))";
    assert_eq!(browser.eval(quiet).await, false);
    shoot_all(&mut browser, "live").await;

    press(&mut browser, "recording", "Stop").await;
    browser.until(&format!("{} === 1", cards("finished"))).await;
    browser.until(&format!("{} === 1", cards("recording"))).await;
    assert_eq!(changes(&browser).len(), 1, "only after a yes: {:?}", changes(&browser));
    browser
        .eval("[...document.querySelectorAll('#finished button')].find(b => b.textContent === 'Play').click()")
        .await;
    browser.until("document.querySelector('#finished video')?.readyState >= 2").await;
    let played = "(async () => { const video = document.querySelector('#finished video'); video.muted = true; await video.play(); return true; })()";
    browser.eval(played).await;
    browser.until("document.querySelector('#finished video').currentTime > 0.5").await;
    // News does not start it again.
    let before = browser.eval("document.querySelector('#finished video').currentTime").await.as_f64();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = browser.eval("document.querySelector('#finished video').currentTime").await.as_f64();
    assert!(after > before, "{before:?} {after:?}");
    shoot_all(&mut browser, "played").await;

    press(&mut browser, "finished", "Delete").await;
    browser.until("document.querySelector('#finished .chip')?.textContent === 'deleted'").await;
    press(&mut browser, "recording", "Delete").await;
    browser.until(&format!("{} === 0", cards("recording"))).await;
    let began = Instant::now();
    loop {
        let keys = home.bucket().keys().await;
        if keys.len() == 2 && keys.iter().all(|key| key.ends_with("/manifest.json")) {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{keys:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let here = &recorder.admin;
    for url in browser.requests() {
        assert!(url == "about:blank" || url.starts_with("data:") || url.starts_with(here), "{url} was asked for");
    }
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    one.abort();
    two.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_sees_what_failed_and_tries_again() {
    let token = "a-token-that-no-text-may-show";
    let mut home = Home::new();
    home.set("ADMIN_TOKEN", token);
    let recorder = home.start().await;
    let in_the_way = home.block_bucket();
    let playing = play(&recorder, 4, false);

    let mut browser = Remote::chromium().await;
    browser.open(&recorder.admin).await;
    shoot_all(&mut browser, "login").await;
    let log_in = |token: &str| {
        format!("(document.getElementById('token').value = '{token}', document.querySelector('form').requestSubmit())")
    };
    browser.eval(&log_in("wrong")).await;
    browser.until("document.getElementById('wrong') && !document.getElementById('wrong').hidden").await;
    browser.eval(&log_in(token)).await;
    browser.until("document.getElementById('machine')?.children.length === 5").await;
    browser.until("document.querySelector('.trouble')?.textContent.length > 20").await;
    shoot_all(&mut browser, "trouble").await;
    std::fs::remove_file(&in_the_way).expect("it is there");
    let section = browser.eval("document.querySelector('.trouble').closest('section').id").await;
    assert_eq!(section, "failed", "what waits for its next attempt is no longer being finished");
    press(&mut browser, "failed", "Retry").await;
    browser.until(&format!("{} === 1", cards("finished"))).await;
    browser.eval("document.getElementById('logout').requestSubmit()").await;
    browser.until("Boolean(document.getElementById('token'))").await;
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    assert!(!recorder.raw_log().contains(token));
    playing.await.expect("no panic");
}
