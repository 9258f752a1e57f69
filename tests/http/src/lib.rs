//! Starts HTTP servers, and an HTTP client that sends requests exactly as written.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use plugmeter::Reader;
use plugmeter::http::{self, HttpConfig, HttpServer};
use serde_json::Value;

/// Bound for every read and write of the client. Only a hang reaches it.
const HANG_TIMEOUT: Duration = Duration::from_secs(90);

/// Starts a server on a free port.
pub fn serve(reader: Reader, config: HttpConfig) -> (HttpServer, SocketAddr) {
    let server = http::serve(reader, config.port(0)).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

/// A response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body; empty for a `HEAD` request.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the value of a header. Several values are joined by commas.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Returns the names of all headers, in lower case.
    pub fn header_names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// Parses the body as JSON, which must be its content type.
    #[track_caller]
    pub fn json(&self) -> Value {
        let json = serde_json::from_slice(&self.body);
        assert_eq!(self.header("content-type").as_deref(), Some("application/json"));
        json.unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Returns the message of an error response.
    #[track_caller]
    pub fn error_message(&self) -> String {
        let json = self.json();
        assert_eq!(json.as_object().map(|object| object.len()), Some(1), "{json}");
        json["error"].as_str().expect("the error is a string").to_owned()
    }
}

/// Connects to a server.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("the server accepts connections");
    stream.set_read_timeout(Some(HANG_TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(HANG_TIMEOUT)).unwrap();
    stream
}

/// Sends `request` as it is and reads one response.
///
/// # Errors
///
/// If the connection is closed before the response is complete.
pub fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<Response> {
    stream.write_all(request)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("a header is text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let status = status.parse().expect("a status is a number");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut response = Response { status, headers, body: Vec::new() };
    let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
    if request.starts_with(b"HEAD ") {
        return Ok(response);
    }
    if response.header("transfer-encoding").as_deref() == Some("chunked") {
        response.body = read_chunks(stream)?;
    } else {
        response.body.resize(length, 0);
        stream.read_exact(&mut response.body)?;
    }
    Ok(response)
}

/// Reads a chunked body without trailers. A proxy sends one where it decodes the server's body.
fn read_chunks(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            size.extend(byte);
        }
        let size = std::str::from_utf8(&size).expect("the size of a chunk is text");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("it is hexadecimal");
        let start = body.len();
        body.resize(start + size + 2, 0);
        stream.read_exact(&mut body[start..])?;
        assert!(body.ends_with(b"\r\n"));
        body.truncate(start + size);
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Sends `request` on a new connection and returns the response.
#[track_caller]
pub fn send_request(server: SocketAddr, request: &str) -> Response {
    let mut stream = connect(server);
    let response = exchange(&mut stream, request.as_bytes());
    response.unwrap_or_else(|error| panic!("{error}: {request:?}"))
}

/// Sends a `GET` with these headers and `Host`, and returns the response.
#[track_caller]
pub fn get_with_headers(server: SocketAddr, target: &str, headers: &[&str]) -> Response {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    send_request(server, &format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n{headers}\r\n"))
}

/// Sends a `GET` and returns the response.
#[track_caller]
pub fn get(server: SocketAddr, target: &str) -> Response {
    get_with_headers(server, target, &[])
}

/// Percent-encodes every byte of `text`, for a query or a path segment.
pub fn percent_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
