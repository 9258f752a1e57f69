//! A child that is forked from the host, without exec: there is no sampler in it, and locks may be held
//! by threads that do not exist there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so
#![allow(unsafe_code)] // there is no safe fork

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use plugmeter::{
    Collector, Config, Plugin, PluginState, ProbeKind, RegisterError, Snapshot, Stopped, Window,
};
use support::{on_demand, probes, sleeper, ticking, wait_for};

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

/// A forked child that was not waited for.
struct Forked(libc::pid_t);

impl Forked {
    /// Forks, and lets the child do `child` and end with the number that it says.
    fn doing(child: impl FnOnce() -> i32) -> Self {
        // SAFETY: the child calls nothing but what these tests are about, and ends without returning.
        // glibc sees to its own locks.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let code = child();
            // SAFETY: ends this process, and runs nothing else.
            unsafe { libc::_exit(code) };
        }
        assert!(pid > 0, "there was no fork");
        Self(pid)
    }

    /// The number that it has ended with. It is killed if it hangs.
    fn code(self) -> i32 {
        let pid = self.0;
        let status = wait_for("the forked child to end", || {
            let mut status = 0;
            // SAFETY: asks for a child of ours; writes one number.
            let ended = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
            (ended == pid).then_some(status)
        });
        std::mem::forget(self);
        assert!(libc::WIFEXITED(status), "status {status}");
        libc::WEXITSTATUS(status)
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: ends and reaps a child of ours that was not waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, &raw mut status, 0);
        }
    }
}

/// Forks, lets the child do `child` and end with the number that it says, and returns that number.
fn fork(child: impl FnOnce() -> i32) -> i32 {
    Forked::doing(child).code()
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

/// Forks with each probe, and as many in the children.
const FORKS: usize = 60;

/// Reads a snapshot in every way there is; a sum over it.
fn read(snapshot: &Snapshot) -> usize {
    let text = snapshot.to_string() + &serde_json::to_string(snapshot).unwrap();
    let views = snapshot.plugins().map(|view| {
        let samples = view.history(Window::All).map(|sample| sample.event_count as usize);
        samples.sum::<usize>() + view.aggregates(Window::All).map_or(0, |all| all.sample_count)
    });
    text.len() + views.sum::<usize>()
}

#[test]
fn forks_in_the_middle_of_ticks_publications_and_reads_leave_both_sides_whole() {
    for probe in probes() {
        let collector = ticking(probe, Duration::from_millis(10));
        let plugin = collector.register("dice").unwrap();
        plugin.started(std::process::id(), "1.0");
        collector.sample_now().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            // Something changes, is published and is read all the time.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    plugin.set_state(PluginState::Unhealthy);
                    plugin.set_state(PluginState::Running);
                    drop(collector.sample_now());
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    read(&collector.snapshot());
                }
            });
            let held = collector.snapshot();
            let sum = read(&held);
            let codes: Vec<i32> = (0..FORKS)
                .map(|_| {
                    fork(|| {
                        let snapshot = collector.snapshot();
                        let facts = [
                            read(&held) == sum,
                            read(&snapshot) == read(&collector.snapshot()),
                            snapshot.tick() >= held.tick(),
                        ];
                        drop(snapshot);
                        // In the child's child too, and when all is dropped there.
                        let grandchild = fork(|| {
                            collector.stop();
                            i32::from(read(&held) != sum)
                        });
                        facts.iter().position(|fact| !fact).map_or(grandchild, |at| at as i32 + 2)
                    })
                })
                .collect();
            done.store(true, Ordering::Relaxed);
            assert_eq!(codes, [0; FORKS], "{probe}");
        });
        assert!(!collector.sample_now().unwrap().is_stopped());
    }
}

#[test]
fn a_forked_child_that_lives_on_keeps_no_end_from_the_host() {
    for probe in probes() {
        let collector = on_demand(probe);
        let mut old = sleeper();
        let plugin = collector.register("old").unwrap();
        plugin.started(old.pid(), "");
        collector.sample_now().unwrap();
        // It has all descriptors that the sampler holds, and does not let go of them.
        let _forked = Forked::doing(|| {
            thread::sleep(Duration::from_secs(1_000));
            0
        });
        // The slot of the old plugin goes to the new one, and the end of the old process, which the
        // kernel still tells of, is not that of the new one's.
        plugin.remove();
        let new = collector.register("new").unwrap();
        let mut child = sleeper();
        new.started(child.pid(), "");
        collector.sample_now().unwrap();
        old.kill();
        old.wait();
        for _ in 0..20 {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("new").unwrap();
            assert_eq!((view.state(), view.pid()), (PluginState::Running, Some(child.pid())));
        }
        child.kill();
        wait_for("its end", || {
            // Where nothing tells of an end, a tick finds it.
            let tells = probe == ProbeKind::Native;
            let snapshot =
                if tells { collector.snapshot() } else { collector.sample_now().unwrap() };
            (snapshot.plugin("new").unwrap().state() == PluginState::Crashed).then_some(())
        });
    }
}

#[test]
fn a_forked_child_may_start_a_collector_of_its_own() {
    let collector = Collector::start(Config::default()).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    collector.sample_now().unwrap();
    plugmeter::init(Config::default()).unwrap();
    let code = fork(|| {
        // The process-wide one is the host's, and has no sampler here.
        let global = plugmeter::global().is_some_and(|global| global.sample_now() == Err(Stopped));
        let again = plugmeter::init(Config::default()).is_err();
        drop((plugin.clone(), collector.snapshot()));
        let own = probes().into_iter().all(|probe| {
            let own = Collector::start(Config::default().probe(probe)).unwrap();
            let plugin: Plugin = own.register("dice").unwrap();
            plugin.started(std::process::id(), "2.0");
            let snapshot = own.sample_now().unwrap();
            own.stop();
            let view = snapshot.plugin("dice").unwrap();
            view.pid() == Some(std::process::id()) && own.snapshot().is_stopped()
        });
        i32::from(!global) + 2 * i32::from(!again) + 4 * i32::from(!own)
    });
    assert_eq!(code, 0, "the sum of what does not hold");
    let snapshot = collector.sample_now().unwrap();
    assert_eq!(snapshot.plugin("dice").unwrap().version(), Some("1.0"));
    assert!(plugmeter::global().unwrap().sample_now().is_ok());
}

#[cfg(feature = "http")]
#[test]
fn a_server_is_not_stopped_by_a_forked_child_that_stops_and_drops_its_copy() {
    use std::io::{Read as _, Write as _};

    use plugmeter::http::{self, HttpConfig};

    let collector = on_demand(ProbeKind::Native);
    let server = http::serve(collector.reader(), HttpConfig::default().port(0)).unwrap();
    let address = server.local_addr().unwrap();
    let answer = || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..20 {
        let child = Forked::doing(|| {
            server.stop();
            // SAFETY: all of this process is the child's, which ends without using it again.
            drop(unsafe { std::ptr::read(&raw const server) });
            0
        });
        assert_eq!(child.code(), 0);
        assert!(answer().starts_with("HTTP/1.1 200"), "{}", answer());
    }
}
