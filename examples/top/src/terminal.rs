//! The terminal, which is restored at the end, after an error, and after a panic.

use std::io::{self, IsTerminal as _, Stdout};
use std::mem::ManuallyDrop;
use std::panic;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Position, Rect};

/// The terminal in raw mode, on its alternate screen. Dropping it restores the terminal.
///
/// The inner value is not dropped: if the terminal is closed, its destructor reports on standard error
/// that it cannot show the cursor, and panics because standard error is closed too.
#[derive(Debug)]
pub(crate) struct Screen(ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>);

impl Screen {
    pub(crate) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Enters raw mode and the alternate screen.
    pub(crate) fn open() -> io::Result<Self> {
        restore_before_panic_message();
        enable_raw_mode()?;
        let opened = execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match opened {
            Ok(terminal) => Ok(Self(ManuallyDrop::new(terminal))),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.0.draw(|frame| draw(frame.buffer_mut())).map(|_| ())
    }

    /// Restores the terminal, runs `stop`, which returns when the process is continued, and enters
    /// the alternate screen again.
    pub(crate) fn suspend(&mut self, stop: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        restore();
        stop()?;
        self.reenter()
    }

    /// Enters raw mode and the alternate screen again, whatever another program has done to the
    /// terminal, and clears it, so that the next drawing is complete.
    pub(crate) fn reenter(&mut self) -> io::Result<()> {
        // Without this, the second call would have no effect. Both come before any output: in the
        // background they stop the process until it is in the foreground again.
        disable_raw_mode()?;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture)?;
        // `Terminal::clear` would request the position of the cursor, and the thread that reads keys
        // would take the response.
        let size = self.0.size()?;
        self.0.resize(Rect::from((Position::ORIGIN, size)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Returns a channel of keys and changes of size; an error is the last event.
///
/// A thread reads them: when the terminal is closed, crossterm reads the end of its input in an
/// endless loop, and the main thread still has to handle signals.
pub(crate) fn events() -> io::Result<Receiver<io::Result<Event>>> {
    let (sender, events) = mpsc::channel();
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(events)
}

/// Ignores errors, because the terminal may be closed.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
}

/// Restores the terminal before a panic message, which would vanish with the alternate screen.
fn restore_before_panic_message() {
    let drawing = thread::current().id();
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // After a panic of another thread, this one continues to draw.
        if thread::current().id() == drawing {
            restore();
        }
        print(info);
    }));
}
