//! What needs attention, in sentences.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::super::judge::{Concern, Since, Status};
use super::row::{Row, word};
use super::words::{self, Moment};
use crate::{PluginState, RunEnd};

/// A part of a sentence. A moment is one by itself: the browser shows it in its own zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Time(Moment),
}

/// A text is a string; a moment is its milliseconds.
impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(moment) => serializer.serialize_u64(moment.millis()),
        }
    }
}

/// One plugin, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Sentence<'a> {
    pub status: Status,
    pub name: &'a str,
    pub pieces: Vec<Piece>,
}

impl<'a> Sentence<'a> {
    /// `None` where there is nothing to say.
    pub(super) fn of(row: &Row<'a>) -> Option<Self> {
        let pieces = pieces(&row.concerns, row.since.now);
        (!pieces.is_empty()).then_some(Self { status: row.status, name: row.name, pieces })
    }

    pub(super) fn word(&self) -> &'static str {
        match self.status {
            Status::Ok => "note",
            status => word(status),
        }
    }
}

/// All concerns, after one another.
pub(super) fn pieces(concerns: &[Concern], now: SystemTime) -> Vec<Piece> {
    let mut out = Writer { pieces: Vec::new(), now, is_on_memory: false };
    for (nth, concern) in concerns.iter().enumerate() {
        if nth > 0 {
            out.text("; ");
        }
        out.say(concern);
    }
    out.pieces
}

struct Writer {
    pieces: Vec<Piece>,
    now: SystemTime,
    is_on_memory: bool,
}

impl Writer {
    fn text(&mut self, text: impl AsRef<str>) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text.as_ref()),
            _ => self.pieces.push(Piece::Text(text.as_ref().to_owned())),
        }
    }

    fn time(&mut self, at: SystemTime) {
        self.pieces.push(Piece::Time(Moment { at, now: self.now }));
    }

    fn since(&mut self, since: Since) {
        let (said, at) = match since {
            Since::At(at) => (" since ", at),
            Since::Before(at) => (" since before ", at),
        };
        self.text(said);
        self.time(at);
    }

    fn say(&mut self, concern: &Concern) {
        match concern {
            Concern::Down { state, since, end } => {
                let failed = *state == PluginState::Failed;
                self.text(if failed { "failed, down since " } else { "crashed, down since " });
                self.time(*since);
                // The host's word, and nobody's: there is nothing more to be said of these.
                if let Some(end @ (RunEnd::Exited(_) | RunEnd::Signaled(_))) = end
                    && !failed
                {
                    self.text(format!(" ({end})"));
                }
            }
            Concern::Problem(problem) => self.text(problem.to_string()),
            Concern::Unhealthy { since } => {
                self.text("unhealthy since ");
                self.time(*since);
            }
            Concern::Crashes { count, within, last } => {
                if *count > 1 {
                    let (times, span) = (words::times(*count), words::span(*within));
                    self.text(format!("crashed {times} in the last {span}, last at "));
                } else {
                    self.text("crashed at ");
                }
                self.time(*last);
            }
            Concern::Cpu { percent, limit, since } => {
                let (percent, limit) = (words::about(*percent), words::about(*limit));
                let limit = limit.replace(".0\u{a0}", "\u{a0}");
                self.text(format!("CPU {percent} of one core, over {limit}"));
                self.since(*since);
            }
            Concern::Memory { bytes, limit_mb, since } => {
                self.is_on_memory = true;
                let whole = |mb: f64| format!("{mb:.0}\u{a0}MB");
                let mb = whole(crate::format::number::mebibytes(*bytes));
                self.text(format!("memory {mb}, over {}", whole(*limit_mb)));
                self.since(*since);
            }
            Concern::Growth(growth) => {
                let mb = crate::format::number::mebibytes(growth.bytes.unsigned_abs());
                let span = words::span(growth.over);
                // Of what, was said just before where it is over the threshold too.
                let of = if self.is_on_memory { "" } else { "memory " };
                self.text(format!("{of}up {mb:.0}\u{a0}MB in the last {span}"));
            }
        }
    }
}
