//! The part of a document that is the same for all clients, with its compressed form.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::OnceCell;

use super::compression::{Deflated, MIN_COMPRESSED_BYTES};

/// Bytes that are compressed at most once. Clones share the compressed form.
#[derive(Clone, Debug)]
pub(super) struct Content {
    bytes: Bytes,
    deflated: Arc<OnceCell<Deflated>>,
}

impl Content {
    pub(super) fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), deflated: Arc::default() }
    }

    /// The parts of the body of `start` and these bytes.
    pub(super) fn identity(self, start: Bytes) -> [Bytes; 3] {
        [start, self.bytes, Bytes::new()]
    }

    /// The parts of the gzip body of `start` and these bytes; `None` if they are too short to be
    /// compressed. Concurrent requests wait for the first one's compression.
    pub(super) async fn gzip(&self, start: &[u8]) -> Option<[Bytes; 3]> {
        if start.len() + self.bytes.len() < MIN_COMPRESSED_BYTES {
            return None;
        }
        let deflated = self.deflated.get_or_init(|| Deflated::new(&self.bytes)).await;
        Some(deflated.member(start))
    }
}
