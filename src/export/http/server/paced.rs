//! A connection whose client has to take what it has asked for.

use std::cell::Cell;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A client that takes nothing for so long takes nothing any more.
const SILENCE: Duration = Duration::from_secs(10);
/// A whole answer is taken within this time.
const ANSWER: Duration = Duration::from_secs(60);

/// When the answer that is being written began.
#[derive(Debug, Default)]
pub(super) struct Pace {
    began: Cell<Option<Instant>>,
    /// Something was written that is not known to have gone.
    unflushed: Cell<bool>,
}

impl Pace {
    /// An answer begins. What is left of the one before keeps its time.
    pub(super) fn begin(&self) {
        if !self.unflushed.get() {
            self.began.set(Some(Instant::now()));
        }
    }
}

/// Fails a write when the client has not taken anything, or not the whole answer, in time.
#[derive(Debug)]
pub(super) struct Paced<T> {
    inner: T,
    pace: Rc<Pace>,
    /// Set while a write waits for the client.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<T> Paced<T> {
    pub(super) fn new(inner: T, pace: Rc<Pace>) -> Self {
        Self { inner, pace, patience: None }
    }

    fn paced(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.pace.unflushed.set(true);
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let began = self.pace.began.get();
        let patience = self.patience.get_or_insert_with(|| {
            let silent = Instant::now() + SILENCE;
            let whole = began.map_or(silent, |began| began + ANSWER);
            Box::pin(sleep_until(silent.min(whole)))
        });
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.paced(cx, written)
    }

    /// Passed on: without it every answer would be copied before it is written.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.paced(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.pace.unflushed.set(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
