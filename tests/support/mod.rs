//! The names that `terminal.rs` uses, until it moves to the example that it tests.
#![allow(unused_imports)]

pub(crate) use plugmeter_test_support::{
    ChildGuard as Reaped, report_missing as missing, wait_for,
};
