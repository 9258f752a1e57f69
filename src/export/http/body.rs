//! A body that is shared: a head of one's own, and a rest that others are reading too.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Handed over in pieces of this size. In one piece it would be written to one connection for as
/// long as that takes what is written, and the others would wait.
const PIECE: usize = 64 * 1_024;

/// `head`, then `rest`.
#[derive(Debug)]
pub(super) struct Shared {
    head: Bytes,
    rest: Bytes,
}

impl Shared {
    pub(super) fn body(head: impl Into<Bytes>, rest: Bytes) -> Body {
        Body::new(Self { head: head.into(), rest })
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { head, rest } = &mut *self;
        let from = if head.is_empty() { rest } else { head };
        let piece = from.split_to(from.len().min(PIECE));
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
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
    fn the_pieces_are_the_head_and_the_rest_and_none_is_copied() {
        let rest = Bytes::from(vec![7; PIECE * 2 + 1]);
        let mut body = Shared { head: Bytes::from_static(b"head"), rest: rest.clone() };
        assert_eq!(body.size_hint().exact(), Some(4 + rest.len() as u64));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut pieces = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            pieces.push(frame.into_data().unwrap());
        }
        assert!(body.is_end_stream());
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [4, PIECE, PIECE, 1]);
        assert_eq!(pieces[1].as_ptr(), rest.as_ptr());
    }
}
