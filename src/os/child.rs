//! Children of the host: their CPU time until they are reaped, waiting for their exit, and the
//! request to terminate.
//!
//! A process that has exited keeps its CPU clock, with its final value, until it is reaped. So the
//! host's thread first waits without reaping (`WNOWAIT`, see waitid(2)), then reads the clock, and
//! only then reaps. All functions take the pid of a child that was not reaped, which no other
//! process can have.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(all(feature = "tokio", target_os = "linux"))]
mod tokio_linux;
#[cfg(all(feature = "tokio", not(target_os = "linux")))]
mod tokio_other;

use std::io;
use std::process::Command;

#[cfg(target_os = "linux")]
pub(crate) use self::linux::{check, read, sleep_until_exit, wait};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::other::{check, read, sleep_until_exit, wait};
#[cfg(all(feature = "tokio", target_os = "linux"))]
pub(crate) use self::tokio_linux::ExitSignal;
#[cfg(all(feature = "tokio", not(target_os = "linux")))]
pub(crate) use self::tokio_other::ExitSignal;
use super::clock;
use crate::history::units::CpuTime;
use crate::sync::command::ChildReading;

/// The state of a child, without reaping it.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // elsewhere it is always unknown
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChildState {
    Running,
    /// With its last reading, if the clock could be read.
    Exited(Option<ChildReading>),
    /// It cannot be determined: the platform has no such call, or somebody else has reaped the child.
    Unknown,
}

#[cfg(feature = "tokio")]
impl ChildState {
    /// Whether somebody else has reaped the child: its pid may be that of another process. Not known on
    /// platforms that cannot check a child without reaping it.
    pub(crate) const fn is_reaped_elsewhere(&self) -> bool {
        cfg!(target_os = "linux") && matches!(self, Self::Unknown)
    }
}

/// Lets the command start its child in a process group of its own.
#[cfg(unix)]
pub(crate) fn set_own_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

/// There are no process groups.
#[cfg(not(unix))]
pub(crate) fn set_own_group(_command: &mut Command) {}

/// A process group that a child leads. No other group has its number until the child is reaped.
#[derive(Clone, Copy, Debug)]
#[cfg(unix)]
pub(crate) struct ProcessGroup(nix::unistd::Pid);

#[cfg(unix)]
impl ProcessGroup {
    /// The group that the child leads; an error if it leads none.
    pub(crate) fn led_by(pid: u32) -> io::Result<Self> {
        use nix::unistd::{Pid, getpgid};

        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
        let pid = Pid::from_raw(pid.ok_or(io::ErrorKind::InvalidInput)?);
        if getpgid(Some(pid))? == pid {
            return Ok(Self(pid));
        }
        let text = "the process does not lead a process group: see `Plugin::spawn_in_group`";
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Sends SIGTERM to all processes of the group.
    pub(crate) fn terminate(self) -> io::Result<()> {
        self.send(nix::sys::signal::Signal::SIGTERM)
    }

    /// Sends SIGKILL to all processes of the group.
    pub(crate) fn kill(self) -> io::Result<()> {
        self.send(nix::sys::signal::Signal::SIGKILL)
    }

    fn send(self, signal: nix::sys::signal::Signal) -> io::Result<()> {
        match nix::sys::signal::killpg(self.0, signal) {
            // It has no process any more.
            Err(nix::errno::Errno::ESRCH) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// There are no process groups.
#[derive(Clone, Copy, Debug)]
#[cfg(not(unix))]
pub(crate) enum ProcessGroup {}

#[cfg(not(unix))]
impl ProcessGroup {
    pub(crate) fn led_by(_pid: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) const fn terminate(self) -> io::Result<()> {
        match self {}
    }

    pub(crate) const fn kill(self) -> io::Result<()> {
        match self {}
    }
}

/// The reading of a process that starts now.
pub(crate) fn before_start() -> ChildReading {
    let zero = CpuTime::default();
    ChildReading { at: clock::mono(), cpu_time: zero, children_cpu: Some(zero) }
}

/// Sends SIGTERM.
#[cfg(unix)]
pub(crate) fn terminate(pid: u32) -> io::Result<()> {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    // A number of 0 or less would name a group of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    kill(Pid::from_raw(pid.ok_or(io::ErrorKind::InvalidInput)?), Signal::SIGTERM)?;
    Ok(())
}

/// There is no request to terminate.
#[cfg(not(unix))]
pub(crate) fn terminate(_pid: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
