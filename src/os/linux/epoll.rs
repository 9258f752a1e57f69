//! Waits for a wake-up by the host, for exits of processes, and for a deadline: epoll(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::os::clock;
use crate::sync::command::Wake;
use crate::time::MonoNanos;

/// The token of the eventfd. No process has it: a token of a process begins with a slot number.
const WAKE_TOKEN: u64 = u64::MAX;

/// Events received by one system call.
const BATCH: usize = 64;

/// The longest wait of one system call. Any length would do: the caller checks its deadline.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest sleep in place of a wait that fails.
const FALLBACK_SLEEP: Duration = Duration::from_millis(50);

/// An epoll instance with an eventfd for wake-ups and the pidfds of watched processes.
pub(super) struct Epoll {
    epoll: OwnedFd,
    eventfd: Arc<OwnedFd>,
    /// Tokens of exited processes that were received and not yet drained.
    exited: Vec<u64>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<(Self, Wake)> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let eventfd = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &*eventfd, EventData::new_u64(WAKE_TOKEN), EventFlags::IN)?;
        let sender = Arc::clone(&eventfd);
        let wake = move || {
            // Fails only if 2^64 - 2 wake-ups are pending (eventfd(2)): one more is not needed.
            let _: Result<usize, _> = rustix::io::write(&*sender, &1u64.to_ne_bytes());
        };
        Ok((Self { epoll, eventfd, exited: Vec::new() }, Box::new(wake)))
    }

    /// Reports the exit of the process by `token`, until its pidfd is closed.
    ///
    /// A pidfd stays readable after the exit, so it is watched for one event only: otherwise every
    /// wait would report it again.
    pub(super) fn watch(&self, pidfd: &OwnedFd, token: u64) {
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        // If it cannot be watched (epoll_ctl(2): ENOMEM, ENOSPC) the next tick detects the exit.
        let _: Result<(), _> = epoll::add(&self.epoll, pidfd, EventData::new_u64(token), flags);
    }

    pub(super) fn wait(&mut self, until: Option<MonoNanos>) {
        if !self.exited.is_empty() {
            return;
        }
        let timeout = until.map_or(MAX_WAIT, |until| until.since(clock::mono()));
        self.receive_events(timeout.min(MAX_WAIT));
    }

    pub(super) fn drain_exits(&mut self, each: impl FnMut(u64)) {
        // All pending events, not only those that the last wait received.
        while self.receive_events(Duration::ZERO) == BATCH {}
        self.exited.drain(..).for_each(each);
    }

    /// Receives up to [`BATCH`] events, waiting up to `timeout` for the first, and returns their
    /// number.
    fn receive_events(&mut self, timeout: Duration) -> usize {
        let timespec =
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let mut buffer = [MaybeUninit::<Event>::uninit(); BATCH];
        // Where the kernel takes milliseconds only, rustix rounds up, so a wait never spins.
        let events = match epoll::wait(&self.epoll, &mut buffer, Some(&timespec)) {
            Ok((events, _)) => events,
            // Interrupted by a signal: the caller checks its deadline again.
            Err(Errno::INTR) => return 0,
            // The host has closed descriptors that it does not own, as some programs do when they
            // become daemons. Wake-ups are lost then, but the thread must not spin.
            Err(_) => {
                thread::sleep(timeout.min(FALLBACK_SLEEP));
                return 0;
            }
        };
        for event in &*events {
            match event.data.u64() {
                WAKE_TOKEN => {
                    // Resets the counter: it stands for all wake-ups so far.
                    let mut count = [0; 8];
                    let _: Result<usize, _> = rustix::io::read(&*self.eventfd, &mut count);
                }
                token => self.exited.push(token),
            }
        }
        events.len()
    }
}

// Miri runs no such system calls.
#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn in_millis(millis: u64) -> MonoNanos {
        clock::mono().checked_add(Duration::from_millis(millis)).unwrap()
    }

    /// Also two at the same time; the next wait ends at its deadline.
    #[test]
    fn wake_up_before_wait_is_not_lost() {
        let (mut epoll, wake) = Epoll::new().unwrap();
        wake();
        wake();
        epoll.wait(None);
        let until = in_millis(5);
        epoll.wait(Some(until));
        assert!(clock::mono() >= until);
    }

    #[test]
    fn failing_wait_does_not_spin() {
        let (mut epoll, _wake) = Epoll::new().unwrap();
        // Not an epoll instance: as if the number had been closed and reused.
        epoll.epoll = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let until = in_millis(5);
        epoll.wait(Some(until));
        assert!(clock::mono() >= until);
        let start = clock::mono();
        epoll.wait(None);
        assert!(clock::mono().since(start) >= FALLBACK_SLEEP);
        epoll.drain_exits(|token| panic!("{token} has not exited"));
    }

    #[test]
    fn exit_is_reported_once() {
        let (mut epoll, _wake) = Epoll::new().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        epoll.watch(&pidfd, 7);
        epoll.wait(None);
        let mut tokens = Vec::new();
        epoll.drain_exits(|token| tokens.push(token));
        assert_eq!(tokens, [7]);
        child.wait().unwrap();
        epoll.drain_exits(|token| panic!("{token} twice"));
        epoll.wait(Some(in_millis(1)));
        epoll.drain_exits(|token| panic!("{token} twice"));
    }
}
