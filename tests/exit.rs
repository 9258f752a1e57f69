//! Processes that exit while a collector runs: in a static, leaked, in a thread or a thread-local,
//! or during a panic. They have the expected exit code, do not hang, and print nothing.
//!
//! This suite has no test harness, so that its `main` is the `main` that returns. It runs ten
//! rounds of each case, or `PLUGMETER_ROUNDS` rounds.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::cell::RefCell;
use std::env;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use plugmeter::{Collector, Config, Plugin, ProbeKind, Snapshot, Window};
use plugmeter_test_support::{ChildGuard, probes, wait_for};

/// Passes to a child of this program its case, its probe, and its lifetime in milliseconds.
const CASE: &str = "PLUGMETER_TEST_EXIT";
const CODE: u8 = 7;

thread_local! {
    static COLLECTOR: RefCell<Option<(Collector, Plugin)>> = const { RefCell::new(None) };
    static SNAPSHOT: RefCell<Option<Snapshot>> = const { RefCell::new(None) };
}

struct Case {
    name: &'static str,
    code: i32,
    run: fn(Arguments),
}

/// The arguments of a case.
struct Arguments {
    config: Config,
    /// Varies, so that the exit meets the sampler at different points.
    lifetime: Duration,
}

const CASES: [Case; 9] = [
    Case {
        name: "the collector is process-wide",
        code: CODE as i32,
        run: |arguments| {
            let collector = plugmeter::init(arguments.config).unwrap();
            register_self(collector);
            thread::sleep(arguments.lifetime);
        },
    },
    Case {
        name: "the collector is leaked",
        code: CODE as i32,
        run: |arguments| {
            let collector = Collector::start(arguments.config).unwrap();
            std::mem::forget(register_self(&collector));
            thread::sleep(arguments.lifetime);
            std::mem::forget(collector);
        },
    },
    Case {
        name: "`exit` is called with a running collector",
        code: CODE as i32,
        run: |arguments| {
            let collector = Collector::start(arguments.config).unwrap();
            let _plugin = register_self(&collector);
            thread::sleep(arguments.lifetime);
            std::process::exit(CODE.into());
        },
    },
    Case {
        name: "`exit` is called in a thread",
        code: CODE as i32,
        run: |arguments| {
            let collector = Collector::start(arguments.config).unwrap();
            let _plugin = register_self(&collector);
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(arguments.lifetime);
                    std::process::exit(CODE.into());
                });
                while collector.sample_now().is_ok() {}
            });
        },
    },
    Case {
        name: "a running thread owns the collector",
        code: CODE as i32,
        run: |arguments| {
            let (started, has_started) = mpsc::channel();
            thread::spawn(move || {
                let collector = Collector::start(arguments.config).unwrap();
                let _plugin = register_self(&collector);
                started.send(()).unwrap();
                while collector.sample_now().is_ok() {}
            });
            has_started.recv().unwrap();
            thread::sleep(arguments.lifetime);
        },
    },
    Case {
        name: "a thread-local of the main thread owns the collector",
        code: CODE as i32,
        run: |arguments| {
            put_into_thread_locals(arguments.config);
            thread::sleep(arguments.lifetime);
        },
    },
    Case {
        name: "a thread-local of an exiting thread owns the collector",
        code: CODE as i32,
        run: |arguments| {
            let thread = thread::spawn(move || {
                put_into_thread_locals(arguments.config);
                thread::sleep(arguments.lifetime);
            });
            thread.join().unwrap();
        },
    },
    Case {
        name: "threads read, register and count",
        code: CODE as i32,
        run: |arguments| {
            let collector = plugmeter::init(arguments.config).unwrap();
            let plugin = register_self(collector);
            for number in 0..4 {
                let plugin = plugin.clone();
                thread::spawn(move || {
                    for round in 0u64.. {
                        plugin.events().increment();
                        let snapshot = collector.snapshot();
                        let _ = snapshot.plugin("self").map(|view| view.aggregates(Window::All));
                        collector.register(&format!("{number} {round}")).unwrap().remove();
                    }
                });
            }
            thread::sleep(arguments.lifetime);
        },
    },
    Case {
        name: "main panics",
        code: 101,
        run: |arguments| {
            let collector = Collector::start(arguments.config).unwrap();
            let _plugin = register_self(&collector);
            thread::sleep(arguments.lifetime);
            // Unlike `panic!`, this prints no message; this suite asserts that nothing is printed.
            std::panic::resume_unwind(Box::new("exit"));
        },
    },
];

/// Registers this process as a plugin.
fn register_self(collector: &Collector) -> Plugin {
    let plugin = collector.register("self").unwrap();
    plugin.started(std::process::id(), "1.0");
    plugin.events().increment();
    plugin
}

/// Puts a collector, its plugin and a snapshot into thread-locals, to be dropped when this thread
/// exits.
fn put_into_thread_locals(config: Config) {
    let collector = Collector::start(config).unwrap();
    let plugin = register_self(&collector);
    SNAPSHOT.set(Some(collector.sample_now().unwrap()));
    COLLECTOR.set(Some((collector, plugin)));
}

/// Runs a case in the child: `case probe milliseconds`.
fn run_case(case: &str) -> ExitCode {
    let parts: Vec<&str> = case.split(' ').collect();
    let probe = if parts[1] == "native" { ProbeKind::Native } else { ProbeKind::Portable };
    let config = Config::default().poll_interval(Duration::from_millis(10)).probe(probe);
    let lifetime = Duration::from_millis(parts[2].parse().unwrap());
    (CASES[parts[0].parse::<usize>().unwrap()].run)(Arguments { config, lifetime });
    ExitCode::from(CODE)
}

fn assert_exits(case: usize, probe: ProbeKind, lifetime: u64) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(CASE, format!("{case} {probe} {lifetime}")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ChildGuard(command.spawn().unwrap());
    let Case { name, code, .. } = CASES[case];
    let status = wait_for(&format!("the exit if {name} ({probe})"), || child.0.try_wait().unwrap());
    let read = |pipe: &mut dyn std::io::Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    };
    let output = read(child.0.stdout.as_mut().unwrap()) + &read(child.0.stderr.as_mut().unwrap());
    assert_eq!((status.code(), &*output), (Some(code), ""), "{name}: {probe}, {status}");
}

fn main() -> ExitCode {
    if let Ok(case) = env::var(CASE) {
        return run_case(&case);
    }
    let rounds = env::var("PLUGMETER_ROUNDS").ok();
    let rounds = rounds.map_or(10, |text| text.parse::<u64>().expect("a number of rounds"));
    for (case, Case { name, .. }) in CASES.iter().enumerate() {
        for probe in probes() {
            (0..rounds).for_each(|round| assert_exits(case, probe, round * 7 % 25));
        }
        println!("a process exits while {name} ... ok, {rounds} times with each probe");
    }
    ExitCode::SUCCESS
}
