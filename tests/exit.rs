//! Processes that exit while a collector runs: in a static, leaked, in a thread or a thread-local,
//! or during a panic. They have the expected exit code, do not hang, and print nothing.
//!
//! This suite has no test harness, so that its `main` is the `main` that returns. It runs ten
//! rounds of each case, or as many as `PLUGMETER_ROUNDS` says.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::cell::RefCell;
use std::env;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use plugmeter::{Collector, Config, Plugin, ProbeKind, Snapshot, Window};
use plugmeter_test_support::{ChildGuard, probes, wait_for};

/// Tells a child of this program its case, its probe, and its lifetime in milliseconds.
const PART: &str = "PLUGMETER_TEST_EXIT";
const CODE: u8 = 7;

thread_local! {
    static COLLECTOR: RefCell<Option<(Collector, Plugin)>> = const { RefCell::new(None) };
    static SNAPSHOT: RefCell<Option<Snapshot>> = const { RefCell::new(None) };
}

struct Way {
    name: &'static str,
    code: i32,
    run: fn(Part),
}

/// The arguments of a case.
struct Part {
    config: Config,
    /// Varies, so that the exit meets the sampler at different points.
    life: Duration,
}

const WAYS: [Way; 9] = [
    Way {
        name: "it is the process-wide one",
        code: CODE as i32,
        run: |part| {
            let collector = plugmeter::init(part.config).unwrap();
            busy(collector);
            thread::sleep(part.life);
        },
    },
    Way {
        name: "it was leaked",
        code: CODE as i32,
        run: |part| {
            let collector = Collector::start(part.config).unwrap();
            std::mem::forget(busy(&collector));
            thread::sleep(part.life);
            std::mem::forget(collector);
        },
    },
    Way {
        name: "`exit` is called while it lives",
        code: CODE as i32,
        run: |part| {
            let collector = Collector::start(part.config).unwrap();
            let _plugin = busy(&collector);
            thread::sleep(part.life);
            std::process::exit(CODE.into());
        },
    },
    Way {
        name: "`exit` is called in a thread",
        code: CODE as i32,
        run: |part| {
            let collector = Collector::start(part.config).unwrap();
            let _plugin = busy(&collector);
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(part.life);
                    std::process::exit(CODE.into());
                });
                while collector.sample_now().is_ok() {}
            });
        },
    },
    Way {
        name: "a thread that goes on has it",
        code: CODE as i32,
        run: |part| {
            let (begun, begins) = mpsc::channel();
            thread::spawn(move || {
                let collector = Collector::start(part.config).unwrap();
                let _plugin = busy(&collector);
                begun.send(()).unwrap();
                while collector.sample_now().is_ok() {}
            });
            begins.recv().unwrap();
            thread::sleep(part.life);
        },
    },
    Way {
        name: "it is in the main thread's storage",
        code: CODE as i32,
        run: |part| {
            store(part.config);
            thread::sleep(part.life);
        },
    },
    Way {
        name: "it is in the storage of a thread that ends",
        code: CODE as i32,
        run: |part| {
            let thread = thread::spawn(move || {
                store(part.config);
                thread::sleep(part.life);
            });
            thread.join().unwrap();
        },
    },
    Way {
        name: "threads read, register and count",
        code: CODE as i32,
        run: |part| {
            let collector = plugmeter::init(part.config).unwrap();
            let plugin = busy(collector);
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
            thread::sleep(part.life);
        },
    },
    Way {
        name: "main panics",
        code: 101,
        run: |part| {
            let collector = Collector::start(part.config).unwrap();
            let _plugin = busy(&collector);
            thread::sleep(part.life);
            // Unlike `panic!`, this prints no message; this suite asserts that nothing is printed.
            std::panic::resume_unwind(Box::new("the end"));
        },
    },
];

/// Registers this process as a plugin.
fn busy(collector: &Collector) -> Plugin {
    let plugin = collector.register("self").unwrap();
    plugin.started(std::process::id(), "1.0");
    plugin.events().increment();
    plugin
}

/// Puts a collector, its plugin and a snapshot into thread-locals, to be dropped when this thread
/// exits.
fn store(config: Config) {
    let collector = Collector::start(config).unwrap();
    let plugin = busy(&collector);
    SNAPSHOT.set(Some(collector.sample_now().unwrap()));
    COLLECTOR.set(Some((collector, plugin)));
}

/// Runs a case in the child: `case probe milliseconds`.
fn play(part: &str) -> ExitCode {
    let words: Vec<&str> = part.split(' ').collect();
    let probe = if words[1] == "native" { ProbeKind::Native } else { ProbeKind::Portable };
    let config = Config::default().poll_interval(Duration::from_millis(10)).probe(probe);
    let life = Duration::from_millis(words[2].parse().unwrap());
    (WAYS[words[0].parse::<usize>().unwrap()].run)(Part { config, life });
    ExitCode::from(CODE)
}

fn ends_as_it_should(way: usize, probe: ProbeKind, life: u64) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(PART, format!("{way} {probe} {life}")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ChildGuard(command.spawn().unwrap());
    let Way { name, code, .. } = WAYS[way];
    let status =
        wait_for(&format!("the end, where {name} ({probe})"), || child.0.try_wait().unwrap());
    let read = |pipe: &mut dyn std::io::Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    };
    let said = read(child.0.stdout.as_mut().unwrap()) + &read(child.0.stderr.as_mut().unwrap());
    assert_eq!((status.code(), &*said), (Some(code), ""), "{name}: {probe}, {status}");
}

fn main() -> ExitCode {
    if let Ok(part) = env::var(PART) {
        return play(&part);
    }
    let rounds = env::var("PLUGMETER_ROUNDS").ok();
    let rounds = rounds.map_or(10, |text| text.parse::<u64>().expect("a number of rounds"));
    for (way, Way { name, .. }) in WAYS.iter().enumerate() {
        for probe in probes() {
            (0..rounds).for_each(|round| ends_as_it_should(way, probe, round * 7 % 25));
        }
        println!("a process ends while {name} ... ok, {rounds} times with each probe");
    }
    ExitCode::SUCCESS
}
