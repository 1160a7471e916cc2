//! Browsers that do what a test says: Chromium by its DevTools protocol, Firefox by WebDriver BiDi. Both are JSON over a
//! WebSocket. Scripts of a test run beside the page's own, and its policy does not apply to them.
use super::browser::{self, Browser};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// However slow the machine: no command takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Remote {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    kind: Kind,
    last_id: u64,
    /// What the browser said by itself.
    pub(crate) events: Vec<Value>,
    _browser: Browser,
    _home: TempDir,
}

enum Kind {
    Chromium { session: String },
    Firefox { context: String },
}

impl Remote {
    pub(crate) async fn chromium() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let mut command = browser::chromium(home.path(), "about:blank");
        command.arg("--remote-debugging-port=0");
        let browser = browser::launch(home.path(), command);
        let url = said(home.path(), "DevTools listening on ").await;
        let mut remote = Self::connect(&url, browser, home, Kind::Chromium { session: String::new() }).await;
        let made = remote.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attached =
            remote.call("Target.attachToTarget", json!({ "targetId": made["targetId"], "flatten": true })).await;
        remote.kind = Kind::Chromium { session: attached["sessionId"].as_str().expect("a session").to_owned() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            remote.call(&format!("{domain}.enable"), json!({})).await;
        }
        remote
    }

    pub(crate) async fn firefox() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let mut command = browser::firefox(home.path(), "about:blank");
        command.arg("--remote-debugging-port=0");
        let browser = browser::launch(home.path(), command);
        let url = said(home.path(), "WebDriver BiDi listening on ").await;
        let kind = Kind::Firefox { context: String::new() };
        let mut remote = Self::connect(&format!("{url}/session"), browser, home, kind).await;
        remote.call("session.new", json!({ "capabilities": {} })).await;
        remote.call("session.subscribe", json!({ "events": ["log.entryAdded", "network.beforeRequestSent"] })).await;
        let tree = remote.call("browsingContext.getTree", json!({})).await;
        let context = tree["contexts"][0]["context"].as_str().expect("a context").to_owned();
        remote.kind = Kind::Firefox { context };
        remote
    }

    async fn connect(url: &str, browser: Browser, home: TempDir, kind: Kind) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("the browser listens");
        Self { socket, kind, last_id: 0, events: Vec::new(), _browser: browser, _home: home }
    }

    /// Sends a command and waits for its result; what comes meanwhile is kept in `events`.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if let Kind::Chromium { session } = &self.kind
            && !session.is_empty()
        {
            message["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(message.to_string())).await.expect("the browser is there");
        let answered = async {
            loop {
                let message = self.socket.next().await.expect("the browser is there").expect("a message");
                let Message::Text(text) = message else { continue };
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if value["id"] == self.last_id {
                    return value;
                }
                self.events.push(value);
            }
        };
        let answer = tokio::time::timeout(LIMIT, answered).await.unwrap_or_else(|_| panic!("{method}: no answer"));
        let error = answer["error"]["message"].as_str().unwrap_or_default();
        if error.contains("navigated") || error.contains("Cannot find context") {
            // The page that was asked has gone, and another one comes.
            return Value::Null;
        }
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) async fn open(&mut self, url: &str) {
        match &self.kind {
            Kind::Chromium { .. } => {
                self.call("Page.navigate", json!({ "url": url })).await;
                self.until(&format!(
                    "location.href.split('#')[0] === {} && document.readyState === 'complete'",
                    json!(url)
                ))
                .await;
            }
            Kind::Firefox { context } => {
                let params = json!({ "context": context, "url": url, "wait": "complete" });
                self.call("browsingContext.navigate", params).await;
            }
        }
    }

    /// The value of a JavaScript expression, which may be a promise of one; nothing if the page goes away meanwhile.
    pub(crate) async fn eval(&mut self, expression: &str) -> Value {
        // As text, since the two protocols tell values differently.
        let expression = format!("(async () => JSON.stringify(await ({expression})) ?? 'null')()");
        let text = match &self.kind {
            Kind::Chromium { .. } => {
                let params = json!({
                    "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true
                });
                let result = self.call("Runtime.evaluate", params).await;
                assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
                result["result"]["value"].clone()
            }
            Kind::Firefox { context } => {
                let target = json!({ "context": context });
                let params =
                    json!({ "expression": expression, "target": target, "awaitPromise": true, "userActivation": true });
                let result = self.call("script.evaluate", params).await;
                assert_eq!(result["type"], "success", "{expression}: {result}");
                result["result"]["value"].clone()
            }
        };
        serde_json::from_str(text.as_str().unwrap_or("null")).expect("JSON")
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) {
        let began = Instant::now();
        while self.eval(expression).await != true {
            assert!(began.elapsed() < LIMIT, "waited in vain for {expression}; {:#?}", self.complaints());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Presses a key. Chromium only.
    pub(crate) async fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        let code = match key {
            " " => 32,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            "Escape" => 27,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let params = json!({ "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// The size of the window. Chromium only.
    pub(crate) async fn resize(&mut self, width: u32, height: u32) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700 });
        self.call("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// Everything that was asked for, by its address.
    pub(crate) fn requests(&self) -> Vec<String> {
        let url = |event: &Value| match event["method"].as_str()? {
            "Network.requestWillBeSent" | "network.beforeRequestSent" => {
                event["params"]["request"]["url"].as_str().map(str::to_owned)
            }
            _ => None,
        };
        self.events.iter().filter_map(url).collect()
    }

    /// Errors of scripts, breaches of the policy, dialogs.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        let bad = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Page.javascriptDialogOpening" => true,
            "Log.entryAdded" => {
                let entry = &event["params"]["entry"];
                entry["source"] == "security"
                    || entry["text"].as_str().is_some_and(|text| text.contains("Content Security"))
            }
            "log.entryAdded" => event["params"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(bad).collect()
    }
}

/// What the browser says behind `mark` when it listens.
async fn said(home: &Path, mark: &str) -> String {
    let began = Instant::now();
    loop {
        let log = std::fs::read_to_string(home.join("log")).unwrap_or_default();
        let found = log.lines().find_map(|line| line.split_once(mark)).map(|(_, url)| url.trim().to_owned());
        if let Some(url) = found.filter(|_| log.ends_with('\n')) {
            return url;
        }
        assert!(began.elapsed() < LIMIT, "the browser does not listen: {}", log.chars().take(4000).collect::<String>());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
