//! The server: one thread with an async runtime that serves all connections, each within limits.

mod connection;
mod limits;
mod write_timeout;

#[cfg(all(test, feature = "testing"))]
#[cfg(not(miri))] // Real connections, and times
mod tests;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use self::connection::serve_connection;
use self::limits::ServerLimits;
use super::config::HttpConfig;
use super::error::HttpError;
use super::notifications::NotificationLog;
use super::routes;
use crate::Reader;
use crate::sync::worker::Worker;

/// A running server. Dropping it stops it.
///
/// ```
/// use plugmeter::http::{self, HttpConfig};
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let server = http::serve(collector.reader(), HttpConfig::default().port(0))?;
/// println!("http://{}/", server.local_addr().expect("it is enabled"));
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it ends the server"]
pub struct HttpServer {
    /// `None` if the server is not enabled.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    address: SocketAddr,
    worker: Worker,
}

impl HttpServer {
    pub(super) fn start(reader: Reader, config: &HttpConfig) -> Result<Self, HttpError> {
        Self::start_with_limits(reader, config, ServerLimits::REAL)
    }

    fn start_with_limits(
        reader: Reader,
        config: &HttpConfig,
        limits: ServerLimits,
    ) -> Result<Self, HttpError> {
        let settings = config.validate()?;
        if !settings.enabled {
            return Ok(Self { running: None });
        }
        let addr = settings.address;
        let bind_error = |source| HttpError::Bind { addr, source };
        let listener = StdListener::bind(addr).map_err(bind_error)?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        if !address.ip().is_loopback() && settings.token.is_none() {
            log::warn!("{address} is reachable from other machines, and no token is set");
        }
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(HttpError::Thread)?;
        let listener = {
            let _guard = runtime.enter();
            TcpListener::from_std(listener).map_err(bind_error)?
        };
        let (stop, stopped) = watch::channel(false);
        let max_connections = settings.max_connections;
        let base_path = settings.base_path.clone();
        let log = Arc::new(NotificationLog::default());
        let record = Arc::clone(&log).record(reader.subscribe());
        let body = move || {
            let router = routes::router(reader, settings, log, None);
            let server = Server { listener, router, max_connections, limits, stopped };
            run(&runtime, server, record);
        };
        let request_stop = move || {
            stop.send_replace(true);
        };
        let worker =
            Worker::spawn("plugmeter-http", request_stop, body).map_err(HttpError::Thread)?;
        log::info!("serving http://{address}{base_path}/");
        Ok(Self { running: Some(Running { address, worker }) })
    }

    /// The address on which the server listens, or listened before it was stopped; `None` if the
    /// server is not [enabled](HttpConfig::enabled). With a configured port of 0 it has the port
    /// that the operating system chose.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        match &self.running {
            Some(running) => Some(running.address),
            None => None,
        }
    }

    /// Stops the server and waits until it has stopped. Responses that are being sent have one second
    /// to finish; then their connections are closed.
    ///
    /// Stopping twice or from several threads has the effect of stopping once. In a forked child it
    /// does nothing. It blocks the calling thread, and so does dropping the server: do neither in an async
    /// task.
    pub fn stop(&self) {
        let Some(running) = &self.running else {
            return;
        };
        if let Some(result) = running.worker.stop() {
            if result.is_err() {
                log::error!("the HTTP server has panicked");
            }
            log::info!("the HTTP server has stopped");
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("address", &self.local_addr()).finish()
    }
}

/// The parts of the server's thread.
struct Server {
    listener: TcpListener,
    router: Router,
    max_connections: NonZeroUsize,
    limits: ServerLimits,
    /// Becomes true when the server is to stop.
    stopped: watch::Receiver<bool>,
}

fn run(runtime: &Runtime, server: Server, record: impl Future<Output = ()> + 'static) {
    let tasks = LocalSet::new();
    tasks.spawn_local(record);
    tasks.block_on(runtime, server.serve());
}

impl Server {
    async fn serve(mut self) {
        let mut connections = JoinSet::new();
        let mut did_warn = false;
        loop {
            let accepted = tokio::select! {
                _ = self.stopped.wait_for(|&stopped| stopped) => break,
                accepted = self.listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                // Closed immediately, so that the client does not wait.
                Ok(_) if connections.len() >= self.max_connections.get() => {}
                Ok((stream, _)) => {
                    let (router, stopped) = (self.router.clone(), self.stopped.clone());
                    connections.spawn_local(serve_connection(stream, router, self.limits, stopped));
                }
                // The client has already closed the connection.
                Err(error) if is_client_error(&error) => {}
                Err(error) => {
                    if !did_warn {
                        log::warn!("cannot accept a connection: {error}");
                        did_warn = true;
                    }
                    // Usually there is no free file descriptor.
                    sleep(self.limits.accept_retry_delay).await;
                }
            }
        }
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(self.limits.shutdown_grace, all).await.is_err() {
            connections.shutdown().await;
        }
    }
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
