//! The names that `terminal.rs` uses, until it moves to the example that it tests.

pub(crate) use plugmeter_test_support::examples::{executable, is_worker, workers};
