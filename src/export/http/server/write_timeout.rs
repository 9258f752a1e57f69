//! A connection whose writes fail if the client does not read.

use std::cell::Cell;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::ServerLimits;

/// When the response that is being written was started.
#[derive(Debug, Default)]
pub(super) struct ResponseStart {
    at: Cell<Option<Instant>>,
    /// Data was written that may not have been flushed.
    has_unflushed: Cell<bool>,
}

impl ResponseStart {
    /// A response starts now. Unflushed data of the previous response keeps its deadline.
    pub(super) fn set_now(&self) {
        if !self.has_unflushed.get() {
            self.at.set(Some(Instant::now()));
        }
    }
}

/// Fails a write if the client has accepted nothing, or not the whole response, in time.
#[derive(Debug)]
pub(super) struct WriteTimeout<T> {
    inner: T,
    start: Rc<ResponseStart>,
    limits: ServerLimits,
    /// The deadline, while a write waits for the client.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> WriteTimeout<T> {
    pub(super) fn new(inner: T, start: Rc<ResponseStart>, limits: ServerLimits) -> Self {
        Self { inner, start, limits, deadline: None }
    }

    fn check_deadline(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.start.has_unflushed.set(true);
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let (started, limits) = (self.start.at.get(), self.limits);
        let deadline = self.deadline.get_or_insert_with(|| {
            let write = Instant::now() + limits.write_timeout;
            let response = started.map_or(write, |started| started + limits.response_timeout);
            Box::pin(sleep_until(write.min(response)))
        });
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteTimeout<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.check_deadline(cx, written)
    }

    /// Forwarded, because otherwise hyper copies every response before it is written.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.check_deadline(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.start.has_unflushed.set(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
