//! The child processes: five plugins, each with its own load pattern.

use std::hint;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{self, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The first argument of a child process that runs a plugin; the second is the role's name.
pub const WORKER: &str = "--worker";
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

/// The load pattern of a plugin; [`habit`](Self::habit) describes each.
#[derive(Clone, Copy, Debug)]
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
}

impl Role {
    /// All roles, in the order in which the host starts them.
    pub const ALL: [Self; 5] =
        [Self::Steady, Self::Bursty, Self::Leaky, Self::Events, Self::Crashy];

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The name of the plugin.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursty => "bursty",
            Self::Leaky => "leaky",
            Self::Events => "events",
            Self::Crashy => "crashy",
        }
    }

    /// One line about the load, for people.
    pub const fn habit(self) -> &'static str {
        match self {
            Self::Steady => "keeps 30 % of a core busy",
            Self::Bursty => "rests for a second, then takes a whole core for one",
            Self::Leaky => "asks for 4 MB more every second, and gives none back",
            Self::Events => "reports 250 events a second to the host, over a pipe",
            Self::Crashy => "crashes after 1.6 seconds; the host starts the next version of it",
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
    for first in (1u64..).step_by(EVENTS) {
        for nth in 0..EVENTS as u64 {
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
