//! The main loop: starts the collector, then draws and reads keys until the end.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use plugmeter::{Collector, Config, Reader, StartError};
use plugmeter_demo::Host;
use plugmeter_demo::arguments::UsageError;
use ratatui::crossterm::event::{Event, KeyEventKind};

use crate::app::{After, App};
use crate::arguments::{self, Arguments, Request};
use crate::facts::{Freshness, limits};
use crate::screen;
use crate::signals::{self, Request as SignalRequest, Signals, Suspend};
use crate::terminal::{self, Screen};

/// The interval between two checks for exited children and new data.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The longest time between two drawings, because the screen shows the age of the data.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
/// The environment variable that makes the program panic after the first drawing, for the test that
/// the terminal is restored then.
const PANIC_VARIABLE: &str = "PLUGMETER_TOP_PANICS";

/// Runs the program with the arguments after its name, until the operator or a signal ends it.
///
/// # Errors
///
/// A [`UsageError`] if the arguments cannot be used, or if standard output is not a terminal; any
/// other error if the collector, the demo plugins or the terminal fail.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Box<dyn Error>> {
    match arguments::parse(args)? {
        Request::Help => writeln!(io::stdout(), "{}", arguments::HELP)?,
        Request::Work(role) => {
            signals::unblock()?;
            return Ok(role.work()?);
        }
        Request::Show(arguments) => show(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // Checked first, so that no child is started in vain.
    if !Screen::is_terminal() {
        return Err(UsageError::new("standard output is not a terminal").into());
    }
    let signals = Signals::watch()?;
    let config = Config::default().poll_interval(arguments.interval).limits(limits());
    let collector = Collector::start(config.history_duration(arguments.history));
    let collector = collector.map_err(|error| -> Box<dyn Error> {
        match error {
            // Both durations come from the command line; the library checks their bounds.
            StartError::Config(error) => UsageError::new(error).into(),
            error => error.into(),
        }
    })?;
    let mut host = if arguments.processes.is_empty() {
        Host::with_children(&collector)?
    } else {
        for (name, pid) in &arguments.processes {
            collector.register(name).map_err(UsageError::new)?.started(*pid, "");
        }
        Host::default()
    };
    // The terminal is restored before the children are waited for, and before an error is printed.
    let shown = Screen::open()
        .and_then(|mut screen| watch(&mut screen, &collector.reader(), &mut host, &signals));
    host.stop()?;
    match shown {
        // The operator has closed the terminal, and an error cannot be shown.
        Err(_) if signals::has_terminal_closed() => Ok(()),
        shown => Ok(shown?),
    }
}

/// Runs until a key, a signal or the end of the terminal ends it. Draws after a new revision, a key or a change of size, and
/// at least once per second.
fn watch(
    screen: &mut Screen,
    reader: &Reader,
    host: &mut Host,
    signals: &Signals,
) -> io::Result<()> {
    let events = terminal::events()?;
    let mut app = App::default();
    let mut drawn: Option<(u64, Instant)> = None;
    while !signals::has_terminal_closed() {
        match signals.take()? {
            None => {}
            Some(SignalRequest::Exit) => return Ok(()),
            Some(SignalRequest::Suspend) => {
                screen.suspend(|| signals.suspend(Suspend::Process))?;
                drawn = None;
            }
            Some(SignalRequest::Redraw) => {
                screen.reenter()?;
                drawn = None;
            }
        }
        host.tend()?;
        let snapshot = reader.snapshot();
        let is_fresh = drawn.is_some_and(|(revision, at)| {
            revision == snapshot.revision() && at.elapsed() < REDRAW_INTERVAL
        });
        if !is_fresh {
            let freshness = Freshness::of(&snapshot);
            screen.draw(|buf| screen::draw(buf, &snapshot, freshness, &mut app))?;
            drawn = Some((snapshot.revision(), Instant::now()));
            assert!(env::var_os(PANIC_VARIABLE).is_none(), "{PANIC_VARIABLE} is set");
        }
        let mut next = events.recv_timeout(POLL_INTERVAL);
        while let Ok(event) = next {
            match event? {
                // Movements of the pointer change nothing.
                Event::Mouse(mouse) if !app.mouse(mouse) => {}
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    drawn = None;
                    match app.key(key) {
                        After::Quit => return Ok(()),
                        After::Suspend => screen.suspend(|| signals.suspend(Suspend::Group))?,
                        After::GoOn => {}
                    }
                }
                _ => drawn = None,
            }
            // Keys that are queued already are handled before the next drawing.
            next = events.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        }
    }
    Ok(())
}
