//! Arbitrary bytes as files of procfs: no parser panics, and every number that a parser returns
//! occurs in the bytes in the same notation.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for number in plugmeter::fuzzing::procfs(bytes) {
        let digits = number.to_string();
        let occurs = bytes.windows(digits.len()).any(|part| part == digits.as_bytes());
        assert!(occurs, "{number} does not occur in {:?}", String::from_utf8_lossy(bytes));
    }
});
