//! The terminal, which is given back as it was: at the end, after an error, and after a panic.

use std::io::{self, IsTerminal as _, Stdout};
use std::panic;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// The terminal in raw mode, on its alternate screen. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    pub(crate) fn is_there() -> bool {
        io::stdout().is_terminal()
    }

    /// Takes the terminal.
    pub(crate) fn open() -> io::Result<Self> {
        restore_before_a_panic_is_told();
        enable_raw_mode()?;
        let opened = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match opened {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.0.draw(|frame| draw(frame.buffer_mut())).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Keys and changes of size, from now on; an error is the last of them.
///
/// They are read in a thread of its own: when the terminal has gone away, crossterm reads the end of
/// its input for ever, and nothing else would be heard again, no signal either.
pub(crate) fn events() -> io::Result<Receiver<io::Result<Event>>> {
    let (told, events) = mpsc::channel();
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if told.send(event).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(events)
}

/// Each step whether or not the one before went well: there may be no terminal any more.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// The message of a panic would go to the alternate screen, and be gone with it.
fn restore_before_a_panic_is_told() {
    let drawing = thread::current().id();
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // Of another thread, this one goes on to draw.
        if thread::current().id() == drawing {
            restore();
        }
        tell(info);
    }));
}
