//! The open run of a plugin: its process, and what was read of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::model::problem::ReadError;
use crate::model::reading::{CpuTime, Reading, Span};
use crate::model::run::{Outcome, RunId};
use crate::model::time::Now;
use crate::os::{self, Found, Identity, Opened, Probe, Unread};

/// A run that has not ended. First what a tick needs of it.
#[derive(Debug)]
pub(crate) struct Open<P> {
    /// `None` as long as it could not be opened; then every tick tries again.
    pub process: Option<P>,
    /// Its readings since the last sample with a CPU value.
    pub span: Option<Span>,
    /// CPU time between first and last reading; `None` until there are two.
    pub used: Option<CpuTime>,
    /// Its process is known to have ended, and that is on the list.
    known_gone: bool,
    pub about: Box<About>,
}

/// What a tick does not need of a run.
#[derive(Debug)]
pub(crate) struct About {
    pub run: RunId,
    pub pid: u32,
    /// When the host named the process.
    called: Option<Now>,
    token: u64,
    /// Start of the process on the boot clock.
    pub began: Option<Duration>,
    pub problem: Option<ReadError>,
    /// The first tick that may have a row of it.
    pub first_tick: u64,
}

/// What a look at the process shows.
#[derive(Debug)]
pub(crate) enum Look {
    /// It lives, or nothing says otherwise.
    Alive,
    /// It has ended: news.
    Gone(Outcome),
    /// It has ended, and that is on the list already.
    ListedBefore,
}

/// Calls the probe. One that panics has failed, and nothing else has.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| ReadError::UNREAD)
}

impl<P> Open<P> {
    /// A run of which nothing was read yet.
    pub(crate) fn unread(run: RunId, pid: u32, called: Option<Now>, token: u64, tick: u64) -> Self {
        let first_tick = tick + 1;
        let about = About { run, pid, called, token, began: None, problem: None, first_tick };
        Self { process: None, span: None, used: None, known_gone: false, about: Box::new(about) }
    }

    /// Looks for the process that the host named. What it is not, or has done, is for the caller to
    /// tell; a problem with reading it is noted.
    pub(crate) fn find<Pr: Probe<Process = P>>(&mut self, probe: &mut Pr) -> Opened<()> {
        if !os::is_plausible(self.about.pid) {
            return Opened::Refused(ReadError::InvalidPid);
        }
        match guarded(|| self.open(probe)).unwrap_or_else(Opened::Failed) {
            Opened::Found(Found { process, began, reading }) => {
                self.process = Some(process);
                self.about.began = began;
                match reading {
                    Ok(reading) => self.push(&reading),
                    Err(problem) => self.about.problem = Some(problem),
                }
                Opened::Found(())
            }
            Opened::Gone(outcome) => {
                self.known_gone = true;
                Opened::Gone(outcome)
            }
            Opened::Refused(problem) => Opened::Refused(problem),
            Opened::Failed(problem) => {
                self.about.problem = Some(problem);
                Opened::Failed(problem)
            }
        }
    }

    fn open<Pr: Probe<Process = P>>(&self, probe: &mut Pr) -> Opened<Found<P>> {
        let About { pid, called, token, .. } = &*self.about;
        probe.open(*pid, called.as_ref(), *token)
    }

    #[inline]
    fn push(&mut self, reading: &Reading) {
        match &mut self.span {
            Some(span) => {
                if let Some(CpuTime(more)) = span.push(reading) {
                    let CpuTime(used) = self.used.unwrap_or_default();
                    self.used = Some(CpuTime(used.saturating_add(more)));
                }
            }
            None => self.span = Some(Span::starting_with(reading)),
        }
    }

    /// What its process can be told by once nothing is held of it any more.
    pub(crate) fn identity<Pr: Probe<Process = P>>(&self, probe: &Pr) -> Option<Identity> {
        self.process.as_ref().and_then(|process| probe.identity(process))
    }

    /// Reads the process between ticks, because its run is about to end, and looks if it lives.
    pub(crate) fn look<Pr: Probe<Process = P>>(&mut self, probe: &mut Pr) -> Look {
        if self.known_gone {
            return Look::ListedBefore;
        }
        let Some(process) = &mut self.process else {
            return match guarded(|| self.find_late(probe)) {
                Ok(Err(Unread::Ended(outcome, _))) => {
                    self.known_gone = true;
                    Look::Gone(outcome)
                }
                Ok(Ok(_) | Err(Unread::Failed(_))) | Err(_) => Look::Alive,
            };
        };
        match guarded(|| probe.check(process)) {
            Ok(Ok(Some(reading))) => {
                self.push(&reading);
                Look::Alive
            }
            Ok(Err(Unread::Ended(outcome, last))) => {
                if let Some(last) = last {
                    self.push(&last);
                }
                self.known_gone = true;
                Look::Gone(outcome)
            }
            // That it cannot be read now does not say that it has ended.
            Ok(Ok(None) | Err(Unread::Failed(_))) | Err(_) => Look::Alive,
        }
    }

    /// Reads the process in a tick; tries to open it if it is not. The roster guards it: once a
    /// tick, not once a process, which would cost as much as all the rest.
    #[inline]
    pub(crate) fn read<Pr: Probe<Process = P>>(
        &mut self,
        probe: &mut Pr,
    ) -> Result<Read, NoReading> {
        if self.known_gone {
            // Its number may be another process's by now.
            return Err(NoReading::ListedBefore);
        }
        let found_now = self.process.is_none();
        let read = match &mut self.process {
            Some(process) => probe.read(process),
            None => self.find_late(probe),
        };
        match read {
            Ok(reading) => {
                self.push(&reading);
                Ok(Read { reading, found_now })
            }
            Err(Unread::Ended(outcome, last)) => {
                if let Some(last) = last {
                    self.push(&last);
                }
                self.known_gone = true;
                Err(NoReading::Gone(outcome))
            }
            Err(Unread::Failed(problem)) => Err(NoReading::Failed(problem)),
        }
    }

    /// Opens what could not be opened before.
    fn find_late<Pr: Probe<Process = P>>(&mut self, probe: &mut Pr) -> Result<Reading, Unread> {
        match self.open(probe) {
            Opened::Found(Found { process, began, reading }) => {
                // It is found when it can be read: then the run gets its start.
                let reading = reading.map_err(Unread::Failed)?;
                self.process = Some(process);
                self.about.began = began;
                Ok(reading)
            }
            Opened::Gone(outcome) => Err(Unread::Ended(outcome, None)),
            // What was named has ended before it could be read, and its number was used again.
            Opened::Refused(ReadError::PidReused) => Err(Unread::Ended(Outcome::Unknown, None)),
            Opened::Refused(problem) | Opened::Failed(problem) => Err(Unread::Failed(problem)),
        }
    }
}

/// A reading of a tick.
#[derive(Debug)]
pub(crate) struct Read {
    pub reading: Reading,
    /// The process could not be opened before.
    pub found_now: bool,
}

/// Why a tick has no reading of a process.
#[derive(Debug)]
pub(crate) enum NoReading {
    /// It has ended: news.
    Gone(Outcome),
    /// It has ended, and that is on the list already.
    ListedBefore,
    Failed(ReadError),
}
