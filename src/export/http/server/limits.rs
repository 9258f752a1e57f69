//! The limits of the server and of each connection.

use std::time::Duration;

/// Limits of time. A parameter, so that tests reach each of them in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerLimits {
    /// A connection is closed when the head of a request is not complete after this time, also while
    /// it is idle between two requests.
    pub header_read_timeout: Duration,
    /// A connection is closed when the client accepts no data of a response for this time.
    pub write_timeout: Duration,
    /// A connection is closed when a whole response has taken this time.
    pub response_timeout: Duration,
    /// The time that responses have to finish once the server is to stop.
    pub shutdown_grace: Duration,
    /// The pause after a connection could not be accepted.
    pub accept_retry_delay: Duration,
}

impl ServerLimits {
    pub(super) const REAL: Self = Self {
        // Not a usual poll interval: a client that sends a request at that interval would find the
        // connection closed half of the times.
        header_read_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(60),
        shutdown_grace: Duration::from_secs(1),
        accept_retry_delay: Duration::from_millis(100),
    };
}

/// The maximum size of a request's head.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1_024;
/// The maximum number of headers of a request.
pub(super) const MAX_HEADERS: usize = 64;
/// The size of the kernel's send buffer (it doubles the number). The kernel reports free space once a
/// third of the buffer is free: with a buffer of megabytes, a slow client would seem to accept
/// nothing for minutes, and each client that does not read would occupy that memory.
pub(super) const SEND_BUFFER_BYTES: usize = 64 * 1_024;
