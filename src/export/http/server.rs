//! The server: one thread, one connection beside the other, each with its limits.

mod paced;

use std::fmt;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use self::paced::{Pace, Paced};
use super::config::{HttpConfig, HttpError, Plan};
use super::routes;
use crate::Reader;

/// A request's head is there within this time, or the connection is closed; also one that is kept
/// open and idle. Not a usual poll interval: a client on that beat would find it closed half of the
/// times.
const HEAD: Duration = Duration::from_secs(10);
/// What is read of a request before it is too large.
const HEAD_BYTES: usize = 16 * 1_024;
const HEADERS: usize = 64;
/// What the kernel takes of an answer before the client does (it doubles the number). It says that
/// there is room again once a third is free: with megabytes it would not be heard of for minutes
/// that a slow client takes anything, and each deaf one would hold them.
const SENT_AHEAD: usize = 64 * 1_024;
/// How long answers that are under way may take once the server is to stop.
const FAREWELL: Duration = Duration::from_secs(1);
/// Until the next try where no connection can be accepted: mostly for want of descriptors.
const MOMENT: Duration = Duration::from_millis(100);

/// A server that runs. Dropping it stops it.
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
pub struct HttpServer {
    /// `None` where nothing is served.
    address: Option<SocketAddr>,
    /// Always there, but in a forked child that drops it.
    stop: Option<watch::Sender<bool>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: Option<ThreadId>,
    /// The process in which it runs: in a forked child there is none.
    home: u32,
}

impl HttpServer {
    pub(super) fn start(reader: Reader, config: &HttpConfig) -> Result<Self, HttpError> {
        let plan = config.plan()?;
        let (stop, stopped) = watch::channel(false);
        let mut server = Self {
            address: None,
            stop: Some(stop),
            thread: Mutex::new(None),
            thread_id: None,
            home: std::process::id(),
        };
        if !plan.enabled {
            return Ok(server);
        }
        let addr = plan.address;
        let bound = |source| HttpError::Bind { addr, source };
        let listener = StdListener::bind(addr).map_err(bound)?;
        listener.set_nonblocking(true).map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        if !address.ip().is_loopback() && plan.token.is_none() {
            log::warn!("{address} is open to other machines, and no token is set");
        }
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(HttpError::Thread)?;
        let listener = {
            let _in = runtime.enter();
            TcpListener::from_std(listener).map_err(bound)?
        };
        let run = move || run(&runtime, listener, reader, plan, stopped);
        let thread = thread::Builder::new().name("plugmeter-http".to_owned());
        let thread = thread.spawn(run).map_err(HttpError::Thread)?;
        log::info!("serving http://{address}/");
        server.address = Some(address);
        server.thread_id = Some(thread.thread().id());
        server.thread = Mutex::new(Some(thread));
        Ok(server)
    }

    /// Where it listens; `None` where it was not to ([`enabled`](HttpConfig::enabled)). With port 0
    /// as configured it is the one that was free.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops serving, and waits until it has: answers under way have one second, then they are cut.
    ///
    /// Stopping twice, or from several threads, is the same as stopping once; in a forked child it
    /// does nothing. It blocks the thread, and so does dropping: not for a thread that runs tasks.
    pub fn stop(&self) {
        if !self.is_home() {
            return;
        }
        if let Some(stop) = &self.stop {
            stop.send_replace(true);
        }
        if self.thread_id == Some(thread::current().id()) {
            return;
        }
        // Held while joining: whoever stops second waits here for the first.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            if thread.join().is_err() {
                log::error!("the server has panicked");
            }
            log::info!("serving has stopped");
        }
    }

    fn is_home(&self) -> bool {
        std::process::id() == self.home
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if self.is_home() {
            self.stop();
        } else if let Ok(thread) = self.thread.get_mut() {
            // A forked child: the thread that this names does not exist here, and may have held a
            // lock of what it listens to.
            mem::forget((thread.take(), self.stop.take()));
        }
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("address", &self.address)
            .field("stopped", &self.stop.as_ref().is_none_or(|stop| *stop.borrow()))
            .finish()
    }
}

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    reader: Reader,
    plan: Plan,
    stopped: watch::Receiver<bool>,
) {
    let most = plan.max_connections.get();
    let router = routes::router(reader, plan);
    let served = async move { serve(&listener, &router, most, stopped).await };
    LocalSet::new().block_on(runtime, served);
}

async fn serve(
    listener: &TcpListener,
    router: &Router,
    most: usize,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut complained = false;
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|&stopped| stopped) => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            // Closed at once: whoever is turned away knows it.
            Ok(_) if connections.len() >= most => {}
            Ok((stream, _)) => {
                connections.spawn_local(converse(stream, router.clone(), stopped.clone()));
            }
            // The client has gone already.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                if !complained {
                    log::warn!("cannot accept a connection: {error}");
                    complained = true;
                }
                sleep(MOMENT).await;
            }
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(FAREWELL, all).await.is_err() {
        connections.shutdown().await;
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// One connection, from its first request to its last.
async fn converse(stream: TcpStream, router: Router, mut stopped: watch::Receiver<bool>) {
    // Answers are whole when they are written: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_send_buffer_size(SENT_AHEAD);
    let pace = Rc::new(Pace::default());
    let io = TokioIo::new(Paced::new(stream, Rc::clone(&pace)));
    let routes = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (answer, pace) = (routes.call(request), Rc::clone(&pace));
        async move {
            let answer = answer.await;
            pace.begin();
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.max_buf_size(HEAD_BYTES).max_headers(HEADERS);
    // A client may say that it has said all: it is answered still. One that has gone is noticed by
    // the write.
    builder.half_close(true);
    let mut connection = pin!(builder.serve_connection(io, service));
    // How it ends is the client's affair: it went, was too slow, or wrote what is not HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|&stopped| stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
