//! A headless Chromium, driven by the DevTools protocol.

use std::collections::VecDeque;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use plugmeter_test_support::{report_missing, wait_for};
use serde_json::{Value, json};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

/// Bound for every wait. Only a hang reaches it, however slow the browser is on a busy machine.
const HANG_TIMEOUT: Duration = Duration::from_secs(120);

/// A browser with one page. It exits on drop.
pub(crate) struct Chromium {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    session: String,
    last_id: u64,
    events: VecDeque<Value>,
}

impl Chromium {
    /// Starts a browser. Returns `None` and reports it if there is no browser, or fails where `CI`
    /// is set.
    pub(crate) fn start(name: &str) -> Option<Self> {
        let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|program| {
            let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
            version.is_ok_and(|output| output.status.success())
        });
        let Some(program) = found else {
            report_missing("there is no chromium", "the dashboard in a browser");
            return None;
        };
        let profile = std::env::temp_dir().join(format!("plugmeter-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&profile);
        fs::create_dir_all(&profile).unwrap();
        let child = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port_file = profile.join("DevToolsActivePort");
        let (port, path) = wait_for("chromium to write its port", || {
            let text = fs::read_to_string(&port_file).ok()?;
            let (port, path) = text.split_once('\n')?;
            path.starts_with('/').then(|| (port.parse().unwrap(), path.trim().to_owned()))
        });
        let port: u16 = port;
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(HANG_TIMEOUT)).unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let address = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) =
            tungstenite::client::client_with_config(address, stream, Some(config)).unwrap();
        let (session, events) = (String::new(), VecDeque::new());
        let mut browser = Self { child, profile, socket, session, last_id: 0, events };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", target);
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network", "DOM"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Sends a command and returns its response. Events that arrive before it are kept.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(command.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().expect("chromium responds") else {
                continue;
            };
            let mut message: Value = serde_json::from_str(text.as_str()).unwrap();
            if message["id"] == json!(id) {
                let error = message["error"].take();
                return if error.is_null() { Ok(message["result"].take()) } else { Err(error) };
            }
            self.events.push_back(message);
        }
    }

    /// Returns the value of an expression. A promise is awaited.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        self.try_eval(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut response = self.try_call("Runtime.evaluate", params)?;
        let thrown = response["exceptionDetails"].take();
        if thrown.is_null() { Ok(response["result"]["value"].take()) } else { Err(thrown) }
    }

    #[track_caller]
    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression}: {value}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn number(&mut self, expression: &str) -> f64 {
        let value = self.eval(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression}: {value}"))
    }

    /// Waits until an expression is true. During a navigation there is no page to evaluate it.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let (start, condition) = (Instant::now(), format!("Boolean({expression})"));
        loop {
            let response = self.try_eval(&condition);
            if response == Ok(json!(true)) {
                return;
            }
            if start.elapsed() > HANG_TIMEOUT {
                let page = self.eval("document.body.innerText");
                panic!(
                    "timed out while waiting for {expression}: {response:?}; the page has {page}"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub(crate) fn open(&mut self, address: &str) {
        let response = self.call("Page.navigate", json!({"url": address}));
        assert!(response["errorText"].is_null(), "{address}: {response}");
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600
        });
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    pub(crate) fn scheme(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Moves the pointer to a position in the window.
    pub(crate) fn point(&mut self, x: f64, y: f64) {
        let params = json!({"type": "mouseMoved", "x": x, "y": y});
        self.call("Input.dispatchMouseEvent", params);
    }

    /// Presses and releases a key, with Shift if `shift`.
    pub(crate) fn press(&mut self, key: &str, shift: bool) {
        for kind in ["rawKeyDown", "keyUp"] {
            let code = match key {
                "Tab" => 9,
                "Enter" => 13,
                "Escape" => 27,
                "End" => 35,
                "Home" => 36,
                "ArrowLeft" => 37,
                "ArrowRight" => 39,
                other => panic!("no code for {other}"),
            };
            let params = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                "modifiers": if shift { 8 } else { 0 }
            });
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Presses the button of the mouse at one position, and releases it at another.
    pub(crate) fn drag(&mut self, from: [f64; 2], to: [f64; 2]) {
        let mut send = |kind: &str, [x, y]: [f64; 2], buttons: u32| {
            let params = json!({
                "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1
            });
            self.call("Input.dispatchMouseEvent", params);
        };
        send("mousePressed", from, 1);
        send("mouseMoved", [f64::midpoint(from[0], to[0]), from[1]], 1);
        send("mouseMoved", to, 1);
        send("mouseReleased", to, 0);
    }

    /// Writes a picture of the window.
    pub(crate) fn picture(&mut self, file: &Path) {
        let response = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let picture = BASE64.decode(response["data"].as_str().unwrap()).unwrap();
        fs::write(file, picture).unwrap();
    }

    /// Returns and removes all events so far.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        self.eval("0"); // events before this response have arrived
        self.events.drain(..).collect()
    }

    /// Returns errors and warnings: console messages, exceptions, policy violations, failed
    /// requests.
    pub(crate) fn problems(events: &[Value]) -> Vec<String> {
        let is_problem = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning", "assert"].contains(&event["params"]["type"].as_str().unwrap())
            }
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != json!("verbose"),
            _ => false,
        };
        events.iter().filter(is_problem).map(Value::to_string).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.session.clear();
        let close = json!({"id": 0, "method": "Browser.close"}).to_string();
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
