//! The host: starts child processes as plugins, restarts the ones that end, and stops them all.

use std::env;
use std::error::Error;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdout, ExitStatus};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plugmeter::{Collector, EventCounter, Plugin, PluginState, RunId};

use crate::worker::Role;

/// From the end of a process to the start of the next.
const BACKOFF: Duration = Duration::from_millis(200);
/// How long a child that was asked to end is waited for before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(2);

/// All children.
#[derive(Debug, Default)]
pub(crate) struct Host {
    children: Vec<Child>,
}

impl Host {
    /// Registers and starts one child for each role.
    pub(crate) fn with_children(collector: &Collector) -> Result<Self, Box<dyn Error>> {
        let program = env::current_exe()?;
        let mut host = Self::default();
        for role in Role::ALL {
            let plugin = collector.register(role.name())?;
            host.children.push(Child::new(role, plugin, &program));
        }
        host.tend()?;
        Ok(host)
    }

    /// One round: says which children have ended, and starts those that are due.
    pub(crate) fn tend(&mut self) -> io::Result<()> {
        self.children.iter_mut().try_for_each(Child::tend)
    }

    /// Stops all children: first asks every one, then waits for every one.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        for child in &mut self.children {
            child.ask_to_end();
        }
        let deadline = Instant::now() + PATIENCE;
        self.children.iter_mut().try_for_each(|child| child.wait_or_kill(deadline))
    }
}

/// A plugin whose process is our child.
#[derive(Debug)]
struct Child {
    role: Role,
    plugin: Plugin,
    program: PathBuf,
    process: Option<Process>,
    /// When to start the next process, while there is none.
    due: Instant,
    started: u32,
}

#[derive(Debug)]
struct Process {
    child: process::Child,
    run: RunId,
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
        }
    }

    fn tend(&mut self) -> io::Result<()> {
        match &mut self.process {
            Some(process) => {
                if let Some(status) = process.child.try_wait()? {
                    self.ended(status);
                }
            }
            None if Instant::now() >= self.due => self.start()?,
            None => {}
        }
        Ok(())
    }

    fn start(&mut self) -> io::Result<()> {
        self.plugin.set_state(PluginState::Starting);
        let spawned = self.role.command(&self.program).spawn();
        let mut child = spawned.inspect_err(|_| self.plugin.set_state(PluginState::Failed))?;
        let version = format!("1.{}", self.started);
        let run = self.plugin.started(child.id(), &version);
        self.started += 1;
        let stdout = child.stdout.take();
        // From here on somebody waits for the child, whatever else fails.
        let process = self.process.insert(Process { child, run, listener: None });
        if let Some(stdout) = stdout {
            process.listener = Some(count_lines(stdout, self.plugin.events().clone())?);
        }
        Ok(())
    }

    /// The process was waited for: the collector is told how it ended, whatever that was.
    fn ended(&mut self, status: ExitStatus) {
        let Some(process) = self.process.take() else {
            return;
        };
        self.plugin.exited(process.run, status);
        self.due = Instant::now() + BACKOFF;
        if let Some(listener) = process.listener {
            // The pipe has ended with the process, for these have no children. A host whose plugins
            // have some must not wait here: they hold the pipe. A listener that panicked has
            // counted less.
            let _ = listener.join();
        }
    }

    /// Says that the end is wanted, then closes the child's standard input.
    fn ask_to_end(&mut self) {
        if let Some(process) = &mut self.process {
            self.plugin.set_state(PluginState::Stopping);
            drop(process.child.stdin.take());
        }
    }

    fn wait_or_kill(&mut self, deadline: Instant) -> io::Result<()> {
        let Some(Process { child, .. }) = &mut self.process else {
            return Ok(());
        };
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill()?;
                break child.wait()?;
            }
            thread::sleep(GLANCE);
        };
        self.ended(status);
        Ok(())
    }
}

impl Drop for Child {
    /// Where an error cuts the host short, the child goes too.
    fn drop(&mut self) {
        if let Some(Process { child, .. }) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Counts each line that the child writes, in a thread of its own, until the pipe ends.
fn count_lines(stdout: ChildStdout, events: EventCounter) -> io::Result<JoinHandle<()>> {
    let count = move || {
        for _line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            events.increment();
        }
    };
    thread::Builder::new().name("listener".to_owned()).spawn(count)
}
