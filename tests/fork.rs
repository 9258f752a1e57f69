//! A child that is forked from the host, without exec: there is no sampler in it, and locks may be held
//! by threads that do not exist there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so
#![allow(unsafe_code)] // there is no safe fork

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use plugmeter::{Collector, Config, PluginState, RegisterError, Stopped};

/// What holds in the child, as a number to exit with: 0 if everything is as it should be.
fn in_the_child(collector: &Collector, plugin: &plugmeter::Plugin) -> i32 {
    let reader = collector.reader();
    let snapshot = reader.snapshot();
    let before = plugin.events().get();
    plugin.events().increment();
    let run = plugin.started(std::process::id(), "2.0");
    plugin.exited(run, std::process::ExitStatus::default());
    plugin.set_state(PluginState::Failed);
    plugin.crashed();
    plugin.remove();
    let facts = [
        snapshot.plugin("dice").is_some_and(|dice| dice.version() == Some("1.0")),
        !snapshot.is_stopped(),
        plugin.events().get() == before + 1,
        collector.register("8ball").is_err_and(|error| error == RegisterError::Stopped),
        collector.plugin("dice").is_none(),
        collector.sample_now() == Err(Stopped),
    ];
    collector.stop();
    let wrong = facts.iter().position(|fact| !fact);
    let still = reader.snapshot() == snapshot;
    wrong.map_or(if still { 0 } else { 100 }, |at| at as i32 + 1)
}

/// Forks, lets the child do `child` and end with the number that it says, and returns that number.
fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child calls nothing but what these tests are about, and ends without returning.
    // glibc sees to its own locks.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = child();
        // SAFETY: ends this process, and runs nothing else.
        unsafe { libc::_exit(code) };
    }
    assert!(pid > 0, "there was no fork");
    let mut status = 0;
    // SAFETY: waits for a child of ours; writes one number.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "status {status}");
    libc::WEXITSTATUS(status)
}

#[test]
fn in_a_forked_child_reading_and_counting_work_and_all_else_returns_at_once() {
    let collector = Collector::start(Config::default()).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    collector.sample_now().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // At some of the forks the lock of those who register is held by a thread that the child
        // does not have.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                collector.register("comes and goes").unwrap().remove();
            }
        });
        let codes: Vec<i32> =
            (0..100).map(|_| fork(|| in_the_child(&collector, &plugin))).collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(codes, [0; 100], "a number is the fact that does not hold in the child");
    });
    // And here nothing has happened.
    let snapshot = collector.sample_now().unwrap();
    let dice = snapshot.plugin("dice").unwrap();
    assert_eq!((dice.version(), dice.crash_count()), (Some("1.0"), 0));
}

#[test]
fn a_collector_that_is_dropped_in_a_forked_child_goes_on_in_its_host() {
    let mut collector = Some(Collector::start(Config::default()).unwrap());
    let code = fork(|| {
        drop(collector.take());
        0
    });
    assert_eq!(code, 0);
    assert!(collector.unwrap().sample_now().is_ok());
}
