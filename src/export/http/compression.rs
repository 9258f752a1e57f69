//! gzip, in parts: RFC 1951, RFC 1952.
//!
//! A document consists of a short start that belongs to one response, and a rest that is the same for
//! all clients. The rest is compressed once; the start is put before it uncompressed, as stored
//! blocks, so that a response costs no compression. Both are one gzip member, because browsers read
//! no further member.

use axum::body::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use tokio::task::yield_now;

/// Documents that are shorter are not compressed: they fit into one segment.
pub(super) const MIN_COMPRESSED_BYTES: usize = 1_024;
/// Bytes that are compressed before other tasks of the thread can run: less than a millisecond of
/// work.
pub(super) const BYTES_PER_YIELD: usize = 32 * 1_024;
/// Bytes by which the output grows.
const OUTPUT_STEP: usize = 16 * 1_024;
/// A fast level: the documents repeat themselves, and the host's plugins need the CPU.
const LEVEL: u32 = 3;

/// The maximum length of a stored block.
const MAX_STORED_BYTES: usize = 0xffff;
/// Magic number, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Compressed bytes: deflate blocks, of which the last one is marked as final.
#[derive(Debug)]
pub(super) struct Deflated {
    blocks: Bytes,
    /// The checksum and the length of the bytes before compression.
    crc: Crc,
}

impl Deflated {
    /// Compresses `bytes`. Other tasks of the thread run between chunks.
    pub(super) async fn new(bytes: &[u8]) -> Self {
        let mut crc = Crc::new();
        let mut deflate = Compress::new(Compression::new(LEVEL), false);
        let mut blocks = Vec::with_capacity(OUTPUT_STEP);
        let mut chunks = bytes.chunks(BYTES_PER_YIELD).peekable();
        while let Some(chunk) = chunks.next() {
            crc.update(chunk);
            if chunks.peek().is_some() {
                compress(&mut deflate, chunk, &mut blocks, FlushCompress::None);
                yield_now().await;
            } else {
                compress(&mut deflate, chunk, &mut blocks, FlushCompress::Finish);
            }
        }
        if bytes.is_empty() {
            compress(&mut deflate, &[], &mut blocks, FlushCompress::Finish);
        }
        blocks.shrink_to_fit();
        Self { blocks: blocks.into(), crc }
    }

    /// The parts of the gzip member of `start` and these bytes.
    pub(super) fn member(&self, start: &[u8]) -> [Bytes; 3] {
        let mut head = Vec::with_capacity(HEADER.len() + 5 + start.len());
        head.extend(HEADER);
        for block in start.chunks(MAX_STORED_BYTES) {
            #[allow(clippy::cast_possible_truncation)] // a chunk has at most 0xffff bytes
            let length = block.len() as u16;
            head.push(0); // stored, and not final
            head.extend(length.to_le_bytes());
            head.extend((!length).to_le_bytes());
            head.extend(block);
        }
        let mut crc = Crc::new();
        crc.update(start);
        crc.combine(&self.crc);
        let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
        [head.into(), self.blocks.clone(), trailer.into()]
    }
}

/// Appends the compressed `input` to `out`.
fn compress(deflate: &mut Compress, mut input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) {
    loop {
        out.reserve(OUTPUT_STEP);
        let before = deflate.total_in();
        let status = deflate.compress_vec(input, out, flush);
        let status = status.expect("compression does not depend on the input");
        #[allow(clippy::cast_possible_truncation)] // at most the length of `input`
        let consumed = (deflate.total_in() - before) as usize;
        input = &input[consumed..];
        let is_done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => input.is_empty(),
        };
        if is_done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use flate2::read::GzDecoder;

    use super::*;

    /// The compressed bytes, and how often the compression has yielded.
    fn deflate(bytes: &[u8]) -> (Deflated, usize) {
        let mut future = pin!(Deflated::new(bytes));
        let mut context = Context::from_waker(Waker::noop());
        let mut yields = 0;
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(deflated) => return (deflated, yields),
                Poll::Pending => yields += 1,
            }
        }
    }

    /// Bytes that can be compressed a little.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|index| if index % 8 == 0 { b' ' } else { next() }).collect()
    }

    /// Decodes one member, as a browser does.
    fn decode(parts: &[Bytes; 3]) -> Vec<u8> {
        let member = parts.concat();
        let mut decoder = GzDecoder::new(&member[..]);
        let mut decoded = Vec::new();
        decoder.read_to_end(&mut decoded).expect("it is a gzip member");
        assert!(decoder.into_inner().is_empty(), "there are bytes after the member");
        decoded
    }

    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn member_decodes_to_start_and_rest() {
        let chunk = BYTES_PER_YIELD;
        for length in [0, 1, chunk - 1, chunk, chunk + 1, chunk * 2, chunk * 7 + 5] {
            for bytes in [noise(length), vec![b'x'; length]] {
                let (rest, _) = deflate(&bytes);
                for start in [0, 1, 300, MAX_STORED_BYTES, MAX_STORED_BYTES + 1] {
                    let start = noise(start);
                    let expected = [&start[..], &bytes].concat();
                    assert!(decode(&rest.member(&start)) == expected, "{length}, {}", start.len());
                }
            }
        }
    }

    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn compression_yields_between_chunks() {
        for (length, yields) in [
            (0, 0),
            (1, 0),
            (BYTES_PER_YIELD, 0),
            (BYTES_PER_YIELD + 1, 1),
            (BYTES_PER_YIELD * 50, 49),
        ] {
            assert_eq!(deflate(&noise(length)).1, yields, "{length}");
        }
    }

    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn members_share_the_compressed_rest() {
        let (rest, _) = deflate(&noise(100_000));
        let [first, second] = [&b"one"[..], b"another"].map(|start| rest.member(start));
        assert_eq!(first[1].as_ptr(), second[1].as_ptr());
        assert_ne!(first[2], second[2], "the checksum is of the whole document");
    }
}
