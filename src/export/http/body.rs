//! A response body of two parts: one of this response, and one that is shared by several.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Bodies are sent in chunks of this size, so that one connection that takes data quickly does not
/// keep the thread from the others.
const CHUNK_BYTES: usize = 64 * 1_024;

/// `head`, then `rest`.
#[derive(Debug)]
pub(super) struct SharedBody {
    head: Bytes,
    rest: Bytes,
}

impl SharedBody {
    pub(super) fn body(head: impl Into<Bytes>, rest: Bytes) -> Body {
        Body::new(Self { head: head.into(), rest })
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { head, rest } = &mut *self;
        let from = if head.is_empty() { rest } else { head };
        let chunk = from.split_to(from.len().min(CHUNK_BYTES));
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.head.len() + self.rest.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_head_and_rest_without_copy() {
        let rest = Bytes::from(vec![7; CHUNK_BYTES * 2 + 1]);
        let mut body = SharedBody { head: Bytes::from_static(b"head"), rest: rest.clone() };
        assert_eq!(body.size_hint().exact(), Some(4 + rest.len() as u64));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut chunks = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            chunks.push(frame.into_data().unwrap());
        }
        assert!(body.is_end_stream());
        assert_eq!(
            chunks.iter().map(Bytes::len).collect::<Vec<_>>(),
            [4, CHUNK_BYTES, CHUNK_BYTES, 1]
        );
        assert_eq!(chunks[1].as_ptr(), rest.as_ptr());
    }
}
