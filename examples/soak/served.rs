//! The responses over HTTP, and their invariants.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::Violation;

/// The time for a response: only a server that hangs exceeds it.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that keeps its connection for fifty rounds.
pub(crate) struct Client {
    server: SocketAddr,
    kept: Option<BufReader<TcpStream>>,
    rounds: u64,
    /// The newest revision received.
    revision: u64,
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, kept: None, rounds: 0, revision: 0 }
    }

    /// Requests everything once. Returns the number of responses.
    pub(crate) fn round(&mut self) -> Result<u64, Violation> {
        self.rounds += 1;
        if self.rounds.is_multiple_of(50) {
            self.kept = None;
        }
        let document = self.json("/api/metrics", 200)?;
        let revision = document["revision"].as_u64().ok_or("no revision")?;
        if revision < self.revision {
            return Err(format!("revision {revision} after {}", self.revision));
        }
        self.revision = revision;
        let plugins = document["plugins"].as_array().map_or(&[][..], Vec::as_slice);
        if document["system"]["total_plugins"] != plugins.len() {
            return Err(format!("{} plugins, {}", plugins.len(), document["system"]));
        }
        let Some(name) = plugins.first().and_then(|plugin| plugin["plugin_name"].as_str()) else {
            return Ok(1);
        };
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let one = self.json(&format!("/api/plugin?name={encoded}&points=100"), 200)?;
        let history = one["history"].as_array().map_or(0, Vec::len);
        if one["name"] != name || history == 0 || history > 100 {
            return Err(format!("{history} points of {name}: {}", one["name"]));
        }
        self.json("/api/plugin/nobody", 404)?;
        let page = self.text("/metrics", 200)?;
        if page.matches("\nplugin_up{").count() < plugins.len().saturating_sub(8) {
            return Err(format!("plugins are missing in the page: {page}"));
        }
        let page = self.text("/", 200)?;
        if !page.ends_with("</html>\n") {
            return Err(format!("the page is incomplete: {page}"));
        }
        let (status, health) = self.get("/health").map_err(|error| format!("/health: {error}"))?;
        // On a busy machine a tick may be late; then the response has to state it.
        if status != 200 && !(status == 503 && health.contains("the last tick was")) {
            return Err(format!("/health: {status}: {health}"));
        }
        Ok(6)
    }

    fn json(&mut self, target: &str, status: u16) -> Result<Value, Violation> {
        let text = self.text(target, status)?;
        serde_json::from_str(&text).map_err(|error| format!("{target}: {error}: {text}"))
    }

    fn text(&mut self, target: &str, status: u16) -> Result<String, Violation> {
        let (actual, text) = self.get(target).map_err(|error| format!("{target}: {error}"))?;
        let is_expected = actual == status;
        if is_expected { Ok(text) } else { Err(format!("{target}: {actual}: {text}")) }
    }

    fn get(&mut self, target: &str) -> std::io::Result<(u16, String)> {
        let stream = match &mut self.kept {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.server)?;
                stream.set_read_timeout(Some(READ_TIMEOUT))?;
                self.kept.insert(BufReader::new(stream))
            }
        };
        write!(stream.get_mut(), "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(number) = line.strip_prefix("content-length: ") {
                length = number.parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
