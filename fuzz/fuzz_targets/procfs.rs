//! What the kernel writes, or anything else: no parser panics, and a number that one returns stands
//! in the text as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for number in plugmeter::fuzzing::procfs(bytes).into_iter().flatten() {
        let digits = number.to_string();
        let stands = bytes.windows(digits.len()).any(|part| part == digits.as_bytes());
        assert!(stands, "{number} is nowhere in {:?}", String::from_utf8_lossy(bytes));
    }
});
