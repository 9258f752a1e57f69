//! The process-wide collector: in a file of its own, since there is one in a process.
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

use std::time::Duration;

use plugmeter::{Config, ConfigError, InitError, StartError, global, init};

#[test]
fn there_is_none_until_one_was_made_and_then_no_other() {
    assert!(global().is_none());
    let wrong = init(Config::default().poll_interval(Duration::ZERO)).unwrap_err();
    let reason =
        matches!(wrong, InitError::Start(StartError::Config(ConfigError::PollInterval { .. })));
    assert!(reason, "{wrong}");
    assert!(global().is_none(), "what could not be started is not there");

    let collector = init(Config::default()).unwrap();
    assert!(std::ptr::eq(collector, global().unwrap()));
    let again = init(Config::default()).unwrap_err();
    assert!(matches!(again, InitError::AlreadyInitialized), "{again}");
    collector.register("dice").unwrap();
    assert!(global().unwrap().sample_now().unwrap().plugin("dice").is_some());
}
