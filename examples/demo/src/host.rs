//! The host: starts child processes as plugins, restarts those that exit, and stops all of them.

use std::env;
use std::error::Error;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plugmeter::{Collector, EventCounter, Plugin, PluginChild};

use crate::worker::{Role, SECOND_VERSION};

/// The time from the exit of a process to the start of the next.
const BACKOFF: Duration = Duration::from_millis(200);
/// How long a child may take to exit before it is killed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// All child processes. Dropping it kills those that still run.
#[derive(Debug, Default)]
pub struct Host {
    children: Vec<Child>,
}

impl Host {
    /// Registers and starts one child process for each role.
    ///
    /// # Errors
    ///
    /// If a name is registered already, or a process cannot be started.
    pub fn with_children(collector: &Collector) -> Result<Self, Box<dyn Error>> {
        let program = env::current_exe()?;
        let mut host = Self::default();
        for role in Role::ALL {
            let plugin = collector.register(role.name())?;
            host.children.push(Child::new(role, plugin, &program));
        }
        host.tend()?;
        Ok(host)
    }

    /// Reports the children that have exited, and starts those that are due. Call it repeatedly.
    ///
    /// # Errors
    ///
    /// If a process cannot be started or waited for.
    pub fn tend(&mut self) -> io::Result<()> {
        self.children.iter_mut().try_for_each(Child::tend)
    }

    /// Replaces the process of the role's plugin by one of its second version, as a hot reload does:
    /// the new process is started before the old one is stopped.
    ///
    /// # Errors
    ///
    /// If a process cannot be started, waited for or killed.
    pub fn reload(&mut self, role: Role) -> io::Result<()> {
        let mut children = self.children.iter_mut();
        children.find(|child| child.role == role).map_or(Ok(()), Child::reload)
    }

    /// Stops all children: requests all of them to exit, then waits for each, and kills those that
    /// do not exit within two seconds.
    ///
    /// # Errors
    ///
    /// If a process cannot be waited for or killed.
    pub fn stop(&mut self) -> io::Result<()> {
        self.children.iter_mut().try_for_each(Child::request_exit)?;
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        self.children.iter_mut().try_for_each(|child| child.stop(deadline))
    }
}

/// A plugin and its current process.
#[derive(Debug)]
struct Child {
    role: Role,
    plugin: Plugin,
    program: PathBuf,
    process: Option<Process>,
    /// When to start the next process if there is none.
    due: Instant,
    started: u32,
    is_reloaded: bool,
}

#[derive(Debug)]
struct Process {
    child: PluginChild,
    listener: Option<JoinHandle<()>>,
}

impl Child {
    fn new(role: Role, plugin: Plugin, program: &Path) -> Self {
        Self {
            role,
            plugin,
            program: program.to_owned(),
            process: None,
            due: Instant::now(),
            started: 0,
            is_reloaded: false,
        }
    }

    fn tend(&mut self) -> io::Result<()> {
        if let Some(process) = &mut self.process {
            // Reported with its status and its CPU time.
            if process.child.try_wait()?.is_some() {
                self.ended();
            }
        } else if Instant::now() >= self.due {
            self.start()?;
        }
        Ok(())
    }

    fn start(&mut self) -> io::Result<()> {
        let mut command = self.role.command(&self.program);
        let version = if self.is_reloaded {
            command.env(SECOND_VERSION, "1");
            "2.0".to_owned()
        } else {
            format!("1.{}", self.started)
        };
        let mut child = self.plugin.spawn(&mut command, &version)?;
        self.started += 1;
        let stdout = child.stdout.take();
        // Stored first: from here on the child is waited for, whatever else fails.
        let process = self.process.insert(Process { child, listener: None });
        if let Some(stdout) = stdout {
            process.listener = Some(count_lines(stdout, self.plugin.events().clone())?);
        }
        Ok(())
    }

    fn reload(&mut self) -> io::Result<()> {
        let old = self.process.take();
        self.is_reloaded = true;
        self.start()?;
        if let Some(mut old) = old {
            old.child.stop(SHUTDOWN_TIMEOUT)?;
            if let Some(listener) = old.listener {
                let _ = listener.join(); // its pipe has ended
            }
        }
        Ok(())
    }

    /// The process was waited for.
    fn ended(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        self.due = Instant::now() + BACKOFF;
        if let Some(listener) = process.listener {
            // The pipe has ended with the process, because no other process has it. Children that have
            // inherited it would hold it open, and a host of such plugins must not wait here.
            let _ = listener.join();
        }
    }

    fn request_exit(&mut self) -> io::Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| process.child.terminate())
    }

    /// Waits until `deadline`, then kills the process.
    fn stop(&mut self, deadline: Instant) -> io::Result<()> {
        if let Some(process) = &mut self.process {
            process.child.stop(deadline.saturating_duration_since(Instant::now()))?;
            self.ended();
        }
        Ok(())
    }
}

impl Drop for Child {
    /// No child outlives the host, even after an error.
    fn drop(&mut self) {
        if let Some(Process { child, .. }) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Counts the lines that the child writes as events, in a thread, until the pipe ends.
fn count_lines(stdout: ChildStdout, events: EventCounter) -> io::Result<JoinHandle<()>> {
    let count = move || {
        for _line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            events.increment();
        }
    };
    thread::Builder::new().name("listener".to_owned()).spawn(count)
}
