//! What runs in the children: five plugins, each with a habit of its own.

use std::hint;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{self, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The first argument of a child that is to play a plugin.
pub(crate) const WORKER: &str = "--worker";
/// Busy times are dealt out in slices of this length.
const PERIOD: Duration = Duration::from_millis(40);
/// How long the crashing one works before it crashes, and with which exit code.
const LIFETIME: Duration = Duration::from_millis(1_600);
const CRASH: u8 = 3;
/// The leaking one keeps a block more every so often, up to a bound: it is only an example.
const LEAK: Duration = Duration::from_millis(250);
const BLOCK: usize = 1 << 20;
const MOST_BLOCKS: usize = 256;
/// Events in one period.
const EVENTS: usize = 10;

/// The habit of a plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Steady,
    Bursty,
    Leaky,
    Events,
    Crashy,
}

impl Role {
    pub(crate) const ALL: [Self; 5] =
        [Self::Steady, Self::Bursty, Self::Leaky, Self::Events, Self::Crashy];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursty => "bursty",
            Self::Leaky => "leaky",
            Self::Events => "events",
            Self::Crashy => "crashy",
        }
    }

    pub(crate) const fn habit(self) -> &'static str {
        match self {
            Self::Steady => "keeps 30 % of a core busy",
            Self::Bursty => "idles for a second, then uses a whole core for a second",
            Self::Leaky => "allocates 4 MB more every second, and frees none",
            Self::Events => "reports 250 events a second to the host, over a pipe",
            Self::Crashy => "crashes after 1.6 seconds; the host starts the next version of it",
        }
    }

    /// How to start a child that plays this role.
    ///
    /// Its standard input is a pipe of which the host holds the other end. When the host is gone,
    /// whichever way it went, the pipe ends, and so does the child.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args([WORKER, self.name()]).stdin(Stdio::piped());
        command.stdout(match self {
            Self::Events => Stdio::piped(),
            Self::Steady | Self::Bursty | Self::Leaky | Self::Crashy => Stdio::null(),
        });
        command
    }

    /// Plays the role, in the child.
    pub(crate) fn work(self) -> io::Result<ExitCode> {
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

/// Ends this process, cleanly, at the end of its standard input.
fn end_with_the_host() -> io::Result<()> {
    let wait = || {
        // An error says the same: there is nobody at the other end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0)
    };
    thread::Builder::new().spawn(wait)?;
    Ok(())
}

/// Divides time into periods, and is busy for a share of each. Measured on the clock, it is the same
/// share on every machine.
struct Duty {
    /// When the next period begins.
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
        // What is late is not made up for: nobody shall see more than was asked for.
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
            // Written to, not only asked for: untouched pages are not resident.
            kept.push(vec![1u8; BLOCK]);
            hint::black_box(&kept);
        }
        thread::sleep(LEAK);
    }
}

/// Until the pipe is closed: then the host is gone.
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
