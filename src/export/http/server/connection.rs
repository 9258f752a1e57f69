//! One connection, from its first request to its last.

use std::pin::pin;
use std::rc::Rc;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::limits::{MAX_HEAD_BYTES, MAX_HEADERS, SEND_BUFFER_BYTES, ServerLimits};
use super::write_timeout::{ResponseStart, WriteTimeout};
use crate::export::http::events::ServerStop;

pub(super) async fn serve_connection(
    stream: TcpStream,
    router: Router,
    limits: ServerLimits,
    mut stopped: watch::Receiver<bool>,
) {
    // Responses are written whole, so there is nothing for which to delay a segment.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
    let start = Rc::new(ResponseStart::default());
    let io = TokioIo::new(WriteTimeout::new(stream, Rc::clone(&start), limits));
    let routes = TowerToHyperService::new(router);
    let stop = ServerStop(stopped.clone());
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(stop.clone());
        let (response, start) = (routes.call(request), Rc::clone(&start));
        async move {
            let response = response.await;
            start.set_now();
            response
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_read_timeout);
    builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    // A client may close its sending side after its last request and still read the response. A
    // client that has closed both is detected by the write.
    builder.half_close(true);
    let mut connection = pin!(builder.serve_connection(io, service));
    // Errors are the client's: it closed the connection, was too slow, or sent something that is not
    // HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|&stopped| stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
