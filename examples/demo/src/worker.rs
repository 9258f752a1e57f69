//! The child processes: six plugins, each with its own load pattern.

use std::env;
use std::hint;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{self, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The first argument of a child process that runs a plugin; the second is the role's name.
pub const WORKER: &str = "--worker";
/// Set in the environment of a process that runs the second version of its plugin.
pub(crate) const SECOND_VERSION: &str = "PLUGMETER_DEMO_SECOND_VERSION";
/// The work for one event: that of the second version takes three times as long.
const EVENT_WORK: Duration = Duration::from_micros(200);
/// The length of one period of a duty cycle.
const PERIOD: Duration = Duration::from_millis(40);
/// How long the crashing plugin works before it crashes.
const LIFETIME: Duration = Duration::from_millis(1_600);
/// The exit code of a crash.
const CRASH: u8 = 3;
/// The leaking plugin allocates one more block per interval, up to a bound.
const LEAK: Duration = Duration::from_millis(250);
const BLOCK: usize = 1 << 20;
const MOST_BLOCKS: usize = 256;
/// Events in one period.
const EVENTS: usize = 10;
/// The number of workers that the wrapper keeps.
const WORKERS: usize = 2;
/// The time from the end of a short job of the wrapper to the start of the next.
const BETWEEN_JOBS: Duration = Duration::from_millis(100);

/// The load pattern of a plugin; [`habit`](Self::habit) describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A constant share of one core.
    Steady,
    /// Idle and busy in turns.
    Bursty,
    /// Memory that grows.
    Leaky,
    /// A stream of events.
    Events,
    /// A crash after a short time.
    Crashy,
    /// Idle itself, and the parent of processes that work.
    Wrapper,
    /// A process of the wrapper that stays: no plugin.
    Worker,
    /// A process of the wrapper that ends after a short time: no plugin.
    Job,
}

impl Role {
    /// The roles of plugins, in the order in which the host starts them.
    pub const ALL: [Self; 6] =
        [Self::Steady, Self::Bursty, Self::Leaky, Self::Events, Self::Crashy, Self::Wrapper];

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut roles = Self::ALL.into_iter().chain([Self::Worker, Self::Job]);
        roles.find(|role| role.name() == name)
    }

    /// The name of the plugin, or of the process of one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursty => "bursty",
            Self::Leaky => "leaky",
            Self::Events => "events",
            Self::Crashy => "crashy",
            Self::Wrapper => "wrapper",
            Self::Worker => "worker",
            Self::Job => "job",
        }
    }

    /// One line about the load, for people.
    pub const fn habit(self) -> &'static str {
        match self {
            Self::Steady => "keeps 30 % of a core busy",
            Self::Bursty => "idles for a second, then uses a whole core for a second",
            Self::Leaky => "allocates 4 MB more every second, and frees none",
            Self::Events => "reports 250 events a second to the host, over a pipe",
            Self::Crashy => "crashes after 1.6 seconds; the host starts the next version of it",
            Self::Wrapper => "is idle itself; two workers and short jobs do its work",
            Self::Worker => "keeps 10 % of a core busy",
            Self::Job => "exits after 30 milliseconds of work",
        }
    }

    /// The command that starts a child process with this role.
    ///
    /// Its standard input is a pipe whose other end the host holds. When the host exits, however it
    /// does, the pipe ends, and the child exits.
    pub fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args([WORKER, self.name()]).stdin(Stdio::piped());
        command.stdout(match self {
            Self::Events => Stdio::piped(),
            Self::Steady | Self::Bursty | Self::Leaky | Self::Crashy => Stdio::null(),
            Self::Wrapper | Self::Worker | Self::Job => Stdio::null(),
        });
        command
    }

    /// Runs the role, in the child process.
    ///
    /// # Errors
    ///
    /// If the thread that waits for the end of the host cannot be started.
    pub fn work(self) -> io::Result<ExitCode> {
        end_with_the_host()?;
        match self {
            Self::Steady => keep_busy(0.3),
            Self::Bursty => burst(),
            Self::Leaky => leak(),
            Self::Events => Ok(emit_events()),
            Self::Crashy => Ok(crash()),
            Self::Wrapper => wrap(),
            Self::Worker => keep_busy(0.1),
            Self::Job => Ok(work_briefly()),
        }
    }
}

/// Exits with code 0 at the end of standard input.
fn end_with_the_host() -> io::Result<()> {
    let wait = || {
        // An error, too, means that the host has exited.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0)
    };
    thread::Builder::new().spawn(wait)?;
    Ok(())
}

/// Divides time into periods, and is busy for a share of each. The share is measured by the clock,
/// so that it is the same on every machine.
struct Duty {
    /// The start of the next period.
    next: Instant,
}

impl Duty {
    fn new() -> Self {
        Self { next: Instant::now() }
    }

    /// Waits for the next period, and is busy for the first `share` of it.
    fn period(&mut self, share: f64) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        // A late period is not made up for: the share is never exceeded.
        self.next = start.max(self.next + PERIOD);
        let busy = PERIOD.mul_f64(share);
        while start.elapsed() < busy {
            hint::spin_loop();
        }
    }
}

fn keep_busy(share: f64) -> ! {
    let mut duty = Duty::new();
    loop {
        duty.period(share);
    }
}

fn burst() -> ! {
    let (start, mut duty) = (Instant::now(), Duty::new());
    loop {
        let resting = start.elapsed().as_secs().is_multiple_of(2);
        duty.period(if resting { 0.02 } else { 1.0 });
    }
}

fn leak() -> ! {
    let mut kept = Vec::new();
    loop {
        if kept.len() < MOST_BLOCKS {
            // Written to, because untouched pages are not resident.
            kept.push(vec![1u8; BLOCK]);
            hint::black_box(&kept);
        }
        thread::sleep(LEAK);
    }
}

/// Writes events until the pipe is closed, which means that the host has exited.
fn emit_events() -> ExitCode {
    let mut out = io::stdout().lock();
    let work = EVENT_WORK * if env::var_os(SECOND_VERSION).is_some() { 3 } else { 1 };
    for first in (1u64..).step_by(EVENTS) {
        for nth in 0..EVENTS as u64 {
            let start = Instant::now();
            while start.elapsed() < work {
                hint::spin_loop();
            }
            if writeln!(out, "event {}", first + nth).is_err() {
                return ExitCode::SUCCESS;
            }
        }
        thread::sleep(PERIOD);
    }
    ExitCode::SUCCESS
}

fn crash() -> ExitCode {
    let (start, mut duty) = (Instant::now(), Duty::new());
    while start.elapsed() < LIFETIME {
        duty.period(0.15);
    }
    ExitCode::from(CRASH)
}

/// Starts workers, then one short job after another. When this process ends, so do the pipes to all of
/// them, and they exit.
fn wrap() -> io::Result<ExitCode> {
    let program = env::current_exe()?;
    let _workers = (0..WORKERS)
        .map(|_| Role::Worker.command(&program).spawn())
        .collect::<io::Result<Vec<_>>>()?;
    loop {
        let mut job = Role::Job.command(&program).spawn()?;
        // Waiting would close the pipe, and the job would exit before its work is done.
        let pipe = job.stdin.take();
        job.wait()?;
        drop(pipe);
        thread::sleep(BETWEEN_JOBS);
    }
}

fn work_briefly() -> ExitCode {
    Duty::new().period(0.75);
    ExitCode::SUCCESS
}
