//! Arbitrary bytes as blobs of a store, as they are and with a CRC that fits: no panic, and what is
//! decoded is encoded again without a change.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    plugmeter::fuzzing::blob(bytes);
});
