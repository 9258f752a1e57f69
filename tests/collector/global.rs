//! The process-wide collector, in a process of its own, because it is never dropped.

use std::time::Duration;

use plugmeter::{Config, ConfigError, InitError, StartError, global, init};
use plugmeter_test_support::isolated_process::enter_isolated;

#[test]
fn global_is_set_once_by_init() {
    if !enter_isolated(global_is_set_once_by_init, &[]) {
        return;
    }
    assert!(global().is_none());
    let wrong = init(Config::default().poll_interval(Duration::ZERO)).unwrap_err();
    let reason =
        matches!(wrong, InitError::Start(StartError::Config(ConfigError::PollInterval { .. })));
    assert!(reason, "{wrong}");
    assert!(global().is_none(), "no collector after a failed start");

    let collector = init(Config::default()).unwrap();
    assert!(std::ptr::eq(collector, global().unwrap()));
    let again = init(Config::default()).unwrap_err();
    assert!(matches!(again, InitError::AlreadyInitialized), "{again}");
    collector.register("dice").unwrap();
    assert!(global().unwrap().sample_now().unwrap().plugin("dice").is_some());
}
