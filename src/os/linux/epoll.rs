//! Waiting for the host, for the ends of processes and for a deadline, all at once: epoll(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::os::clock;
use crate::sync::command::Wake;
use crate::time::MonoNanos;

/// The eventfd's own token; those of processes are never this.
const HOST: u64 = u64::MAX;

/// Events that are taken from the kernel at once.
const BATCH: usize = 64;

/// How long it looks away where the kernel does not let it wait.
const MOMENT: Duration = Duration::from_millis(50);

pub(super) struct Epoll {
    epoll: OwnedFd,
    eventfd: Arc<OwnedFd>,
    /// Tokens of processes that have ended and were not handed out.
    ended: Vec<u64>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<(Self, Wake)> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let eventfd = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &*eventfd, EventData::new_u64(HOST), EventFlags::IN)?;
        let bell = Arc::clone(&eventfd);
        let wake = move || {
            // Fails only when 2^64 - 2 wake-ups wait already: then one more is not needed.
            let _: Result<usize, _> = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        };
        Ok((Self { epoll, eventfd, ended: Vec::new() }, Box::new(wake)))
    }

    /// Waits for the end of the process too. Its pidfd stays readable once it has ended; one shot,
    /// so that it is told once and not for ever. Closing the pidfd ends the watch.
    pub(super) fn watch(&self, pidfd: &OwnedFd, token: u64) {
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        // If it cannot be watched (epoll_ctl(2): ENOMEM, ENOSPC) the next tick finds the end.
        let _: Result<(), _> = epoll::add(&self.epoll, pidfd, EventData::new_u64(token), flags);
    }

    pub(super) fn wait(&mut self, until: Option<MonoNanos>) {
        if !self.ended.is_empty() {
            return;
        }
        let timeout = until.map(|until| until.since(clock::mono()));
        self.take_events(timeout);
    }

    pub(super) fn drain_exits(&mut self, mut each: impl FnMut(u64)) {
        // As many as there are, not only those that the wait has brought.
        while self.take_events(Some(Duration::ZERO)) == BATCH {}
        self.ended.drain(..).for_each(&mut each);
    }

    /// Takes events from the kernel, waiting for `timeout`, and returns how many.
    fn take_events(&mut self, timeout: Option<Duration>) -> usize {
        // A day is as good as any length: who is woken early looks at the clock again.
        const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
        let wanted = timeout.unwrap_or(LONGEST).min(LONGEST);
        // rustix rounds up to the milliseconds that the kernel takes, so there is no spinning.
        let timeout =
            Timespec { tv_sec: wanted.as_secs() as i64, tv_nsec: wanted.subsec_nanos().into() };
        let mut room = [MaybeUninit::<Event>::uninit(); BATCH];
        let events = match epoll::wait(&self.epoll, &mut room, Some(&timeout)) {
            Ok((events, _)) => events,
            // By a signal: the caller looks at the clock again.
            Err(Errno::INTR) => return 0,
            // A host that has closed all descriptors there were, as some do that become daemons. It
            // hears of nothing in time any more, but it does not keep a core busy with that.
            Err(_) => {
                std::thread::sleep(wanted.min(MOMENT));
                return 0;
            }
        };
        for event in &*events {
            match event.data.u64() {
                HOST => {
                    // Rings once for all that was said until now: who comes later rings again.
                    let mut count = [0; 8];
                    let _: Result<usize, _> = rustix::io::read(&*self.eventfd, &mut count);
                }
                token => self.ended.push(token),
            }
        }
        events.len()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn a_wake_up_before_the_wait_is_not_lost() {
        let (mut waiter, wake) = Epoll::new().unwrap();
        wake();
        wake();
        waiter.wait(None);
        // Both were heard; now there is none, and the wait ends at its time.
        let until = Instant::now() + Duration::from_millis(5);
        waiter.wait(Some(until));
        assert!(Instant::now() >= until);
    }

    #[test]
    fn where_the_kernel_does_not_wait_a_wait_still_takes_its_time() {
        let (mut waiter, _wake) = Epoll::new().unwrap();
        // Not an epoll, as a number that somebody else has now.
        waiter.epoll = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let until = Instant::now() + Duration::from_millis(5);
        waiter.wait(Some(until));
        assert!(Instant::now() >= until);
        let begin = Instant::now();
        waiter.wait(None);
        assert!(begin.elapsed() >= MOMENT);
        waiter.drain_exits(|token| panic!("{token} has not ended"));
    }

    #[test]
    fn an_end_is_told_once() {
        let (mut waiter, _wake) = Epoll::new().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        waiter.watch(&pidfd, 7);
        waiter.wait(None);
        let mut told = Vec::new();
        waiter.drain_exits(|token| told.push(token));
        assert_eq!(told, [7]);
        child.wait().unwrap();
        waiter.drain_exits(|token| panic!("{token} twice"));
        waiter.wait(Some(Instant::now() + Duration::from_millis(1)));
        waiter.drain_exits(|token| panic!("{token} twice"));
    }
}
