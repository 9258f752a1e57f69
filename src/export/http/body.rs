//! A response body of several parts, of which some are shared by several responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Bodies are sent in chunks of this size, so that one connection that takes data quickly does not
/// keep the thread from the others.
const CHUNK_BYTES: usize = 64 * 1_024;

/// The parts in their order. Each may be empty.
#[derive(Debug)]
pub(super) struct SharedBody([Bytes; 3]);

impl SharedBody {
    pub(super) fn body(parts: [Bytes; 3]) -> Body {
        Body::new(Self(parts))
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.0.iter_mut().find(|part| !part.is_empty());
        Poll::Ready(part.map(|part| Ok(Frame::data(part.split_to(part.len().min(CHUNK_BYTES))))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_the_parts_without_copy() {
        let rest = Bytes::from(vec![7; CHUNK_BYTES * 2 + 1]);
        let (head, tail) = (Bytes::from_static(b"head"), Bytes::from_static(b"tail."));
        let mut body = SharedBody([head, rest.clone(), tail]);
        assert_eq!(body.size_hint().exact(), Some(9 + rest.len() as u64));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut chunks = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            chunks.push(frame.into_data().unwrap());
        }
        assert!(body.is_end_stream());
        assert_eq!(
            chunks.iter().map(Bytes::len).collect::<Vec<_>>(),
            [4, CHUNK_BYTES, CHUNK_BYTES, 1, 5]
        );
        assert_eq!(chunks[1].as_ptr(), rest.as_ptr());
    }
}
