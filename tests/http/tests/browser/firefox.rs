//! Every page in a headless Firefox, driven by WebDriver BiDi.
//!
//! Without `firefox-esr` or `firefox` the test reports that and passes; with `CI` in the environment it
//! fails.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plugmeter_test_support::{report_missing, wait_for};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::{scenes, serve};

/// Bound for every wait. Only a hang reaches it.
const HANG_TIMEOUT: Duration = Duration::from_secs(120);

/// A browser with one page. It exits on drop.
struct Firefox {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    context: Value,
    last_id: u64,
    /// What the console has: the level and the text of each entry.
    entries: Vec<String>,
}

impl Firefox {
    fn start() -> Option<Self> {
        let found = ["firefox-esr", "firefox"].into_iter().find(|program| {
            let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
            version.is_ok_and(|output| output.status.success())
        });
        let Some(program) = found else {
            report_missing("there is no firefox", "the dashboard in a second browser");
            return None;
        };
        let profile =
            std::env::temp_dir().join(format!("plugmeter-firefox-{}", std::process::id()));
        let _ = fs::remove_dir_all(&profile);
        fs::create_dir_all(&profile).unwrap();
        let child = Command::new(program)
            .args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"])
            .arg(&profile)
            // As root, it refuses the home directory of another user.
            .env("HOME", &profile)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let file = profile.join("WebDriverBiDiServer.json");
        let port = wait_for("firefox to write its port", || {
            let server: Value = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
            u16::try_from(server["ws_port"].as_u64()?).ok()
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(HANG_TIMEOUT)).unwrap();
        let address = format!("ws://127.0.0.1:{port}/session");
        let (socket, _) = tungstenite::client(address, stream).unwrap();
        let mut browser =
            Self { child, profile, socket, context: Value::Null, last_id: 0, entries: Vec::new() };
        browser.call("session.new", json!({"capabilities": {}}));
        browser.call("session.subscribe", json!({"events": ["log.entryAdded"]}));
        let tree = browser.call("browsingContext.getTree", json!({}));
        browser.context = tree["contexts"][0]["context"].clone();
        Some(browser)
    }

    /// Sends a command and returns its result.
    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let command = json!({"id": self.last_id, "method": method, "params": params});
        self.socket.send(Message::text(command.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().expect("firefox responds") else {
                continue;
            };
            let mut message: Value = serde_json::from_str(text.as_str()).unwrap();
            if message["method"] == "log.entryAdded" {
                let (level, text) = (&message["params"]["level"], &message["params"]["text"]);
                self.entries.push(format!("{level}: {text}"));
            }
            if message["id"] == json!(self.last_id) {
                assert_eq!(message["type"], "success", "{method}: {message}");
                return message["result"].take();
            }
        }
    }

    #[track_caller]
    fn eval(&mut self, expression: &str) -> Value {
        let target = json!({"context": self.context});
        let params = json!({"expression": expression, "target": target, "awaitPromise": true});
        let mut result = self.call("script.evaluate", params);
        assert_eq!(result["type"], "success", "{expression}: {result}");
        result["result"]["value"].take()
    }

    #[track_caller]
    fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.eval(&format!("Boolean({expression})")) != json!(true) {
            assert!(start.elapsed() < HANG_TIMEOUT, "timed out while waiting for {expression}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn open(&mut self, address: &str) {
        let params = json!({"context": self.context, "url": address, "wait": "complete"});
        self.call("browsingContext.navigate", params);
    }

    /// Presses a key.
    fn press(&mut self, key: &str) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let source = json!({"type": "key", "id": "keyboard", "actions": actions});
        let params = json!({"context": self.context, "actions": [source]});
        self.call("input.performActions", params);
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        let close = json!({"id": 0, "method": "browser.close", "params": {}}).to_string();
        let _ = self.socket.send(Message::text(close));
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed().as_secs() < 5 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

#[test]
fn firefox_opens_every_page_without_error() {
    /// The arrow to the left, by WebDriver's list of keys.
    const ARROW_LEFT: &str = "\u{e012}";
    let Some(mut browser) = Firefox::start() else { return };
    for (scene, mut sim) in [
        ("troubled", scenes::troubled()),
        ("single", scenes::single()),
        ("hostile", scenes::hostile()),
        ("restarts", scenes::restarts()),
    ] {
        let (_server, address) = serve(sim.reader());
        for path in ["", "plugin?name=dice", "plugin?name=nobody"] {
            browser.open(&format!("{address}{path}"));
            if path.ends_with("nobody") {
                continue;
            }
            // The script has shown the data, and follows the stream.
            browser.until("document.body.dataset.updateMs && isStreaming");
            sim.tick(|_| None);
            browser.until(&format!("revision === {}", sim.snapshot().revision()));
            if path.is_empty() {
                let shown = browser.eval("String(document.querySelectorAll('#rows tr').length)");
                assert_eq!(shown, json!(sim.snapshot().plugins().len().to_string()), "{scene}");
                continue;
            }
            browser.eval("document.querySelector('#cpu svg').focus()");
            browser.press(ARROW_LEFT);
            browser.until("document.querySelector('#readout').textContent.includes('CPU ')");
            browser.until("document.querySelectorAll('.has-cursor').length === 3");
        }
        assert!(browser.entries.is_empty(), "{scene}: {:#?}", browser.entries);
    }
    // That an error would be found.
    browser.eval("console.error('expected by the test')");
    browser.eval("0");
    let expected = "\"error\": \"expected by the test\"";
    assert!(browser.entries.iter().any(|entry| entry == expected), "{:#?}", browser.entries);
}
