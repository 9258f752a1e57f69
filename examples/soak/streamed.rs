//! The stream of server-sent events: its revisions increase, and its data are JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::{Tally, Violation};

/// The server sends a heartbeat more often.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// After so many events the client connects anew.
const MAX_EVENTS: u64 = 500;

/// Reads the stream, over one connection after the other, until the end.
pub(crate) fn read(server: SocketAddr, tally: &Tally) -> Result<(), Violation> {
    let mut revision = 0;
    while !tally.done.load(Ordering::Relaxed) {
        let stream = connect(server).map_err(|error| format!("/api/events: {error}"))?;
        let (mut events, mut id, mut kind) = (0, 0, String::new());
        for line in stream.lines() {
            let line = line.map_err(|error| format!("/api/events: {error}"))?;
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().map_err(|_| format!("/api/events: {line}"))?;
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut kind);
            } else if let Some(text) = line.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(text)
                    .map_err(|error| format!("/api/events: {error}: {text}"))?;
                if kind == "revision" {
                    // A new connection begins with the revision that the last one may have had.
                    if id < revision || (id == revision && events > 0) || data["revision"] != id {
                        return Err(format!("/api/events: {id} after {revision}: {text}"));
                    }
                    (revision, events) = (id, events + 1);
                    tally.streamed.fetch_add(1, Ordering::Relaxed);
                }
            }
            if events == MAX_EVENTS || tally.done.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    Ok(())
}

fn connect(server: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    Ok(BufReader::new(stream))
}
