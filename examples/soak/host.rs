//! A host that starts and restarts children without pause, and computes the expected counts.

use std::error::Error;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{Collector, EventCounter, Plugin, PluginState, RunId, Snapshot};

use crate::Violation;

/// How the children of a plugin end.
#[derive(Clone, Copy, Debug)]
enum Lifecycle {
    /// They exit with varying codes, and the host reports the status.
    Reported,
    /// They crash, and the host starts the next one without a report.
    Unreported,
    /// They are replaced while they run.
    Reloaded,
    /// They are killed after the state `Stopping` was set.
    Announced,
    /// The plugin is removed after some of its children, and another one is registered.
    Job,
    /// They start processes of their own without pause, and are replaced while they run.
    Wrapper,
}

const LIFECYCLES: [Lifecycle; 14] = [
    Lifecycle::Reported,
    Lifecycle::Unreported,
    Lifecycle::Reloaded,
    Lifecycle::Announced,
    Lifecycle::Job,
    Lifecycle::Reported,
    Lifecycle::Unreported,
    Lifecycle::Job,
    Lifecycle::Reported,
    Lifecycle::Reloaded,
    Lifecycle::Job,
    Lifecycle::Unreported,
    Lifecycle::Wrapper,
    Lifecycle::Wrapper,
];

/// A worker that ends soon after its wrapper, and short jobs one after the other.
const WRAPPER: &str = "
    (n=0; while [ $n -lt 300 ] && kill -0 $$ 2>/dev/null; do n=$((n+1)); sleep 0.05; done) &
    while :; do (i=0; while [ $i -lt 300 ]; do i=$((i+1)); done); sleep 0.02; done";

/// A new plugin follows each time that so many children were started.
const CHILDREN_OF_JOB: u64 = 16;

/// The interval between two steps of the host.
const STEP_INTERVAL: Duration = Duration::from_millis(4);

/// How long the sampler may take to apply a report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// A plugin, its child, and the expected counts.
struct Lane {
    lifecycle: Lifecycle,
    plugin: Plugin,
    child: Option<(Child, RunId)>,
    starts: u64,
    crashes: u64,
}

pub(crate) struct Host {
    lanes: Vec<Lane>,
    children: u64,
    /// Expected crashes, including those of removed plugins.
    crashes: u64,
    random: u64,
}

impl Host {
    pub(crate) fn new(collector: &Collector) -> Result<Self, Box<dyn Error>> {
        let lane = |(number, &lifecycle)| -> Result<Lane, Box<dyn Error>> {
            let plugin = collector.register(&format!("{lifecycle:?} {number}"))?;
            Ok(Lane { lifecycle, plugin, child: None, starts: 0, crashes: 0 })
        };
        let lanes = LIFECYCLES.iter().enumerate().map(lane).collect::<Result<_, _>>()?;
        Ok(Self { lanes, children: 0, crashes: 0, random: 7 })
    }

    /// The event counters of two plugins that are never removed.
    pub(crate) fn counters(&self) -> Vec<EventCounter> {
        self.lanes.iter().take(2).map(|lane| lane.plugin.events().clone()).collect()
    }

    /// Children started so far.
    pub(crate) const fn children(&self) -> u64 {
        self.children
    }

    /// Expected crashes so far.
    pub(crate) const fn crashes(&self) -> u64 {
        self.crashes
    }

    fn random(&mut self) -> u64 {
        // The generator of Knuth's MMIX; the upper bits are the random ones.
        let Self { random, .. } = self;
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *random >> 33
    }

    /// One step of a random plugin: ends its child if due, and starts the next one.
    pub(crate) fn tend(&mut self, collector: &Collector) -> Result<(), Box<dyn Error>> {
        thread::sleep(STEP_INTERVAL);
        let random = self.random();
        let at = (random % LIFECYCLES.len() as u64) as usize;
        let random = random / LIFECYCLES.len() as u64;
        let lane = &mut self.lanes[at];
        lane.plugin.events().increment();
        let crashes = lane.crashes;
        let ready = lane.end(random)?;
        if ready {
            self.crashes += lane.crashes - crashes;
            let is_new = self.children.is_multiple_of(CHILDREN_OF_JOB);
            if let (Lifecycle::Job, true) = (lane.lifecycle, is_new) {
                lane.plugin.remove();
                lane.plugin = collector.register(&format!("Job {at} after {}", self.children))?;
                (lane.starts, lane.crashes) = (0, 0);
            }
            let script = lane.script(random);
            lane.start(&script, collector)?;
            self.children += 1;
        }
        Ok(())
    }

    /// Kills the remaining children, and reports their exits.
    pub(crate) fn end(&mut self) -> Result<(), Box<dyn Error>> {
        for lane in &mut self.lanes {
            if let Some((mut child, run)) = lane.child.take() {
                child.kill()?;
                let status = child.wait()?;
                lane.plugin.exited(run, status);
                lane.crashes += u64::from(is_crash(status));
            }
        }
        Ok(())
    }

    /// Compares the last snapshot with the expected counts.
    pub(crate) fn check(&self, last: &Snapshot) -> Result<(), Violation> {
        for Lane { lifecycle, plugin, starts, crashes, .. } in &self.lanes {
            let name = plugin.name();
            let view = last.plugin(name).ok_or_else(|| format!("{name} is missing"))?;
            let mut counted = (view.crash_count(), view.restart_count());
            if let Lifecycle::Unreported = lifecycle {
                // Whether it was a crash is unknown of a child that was reaped before the sampler
                // could open it, as on a machine that is very busy.
                counted.0 += view.unknown_end_count();
            }
            let expected = (*crashes, starts.saturating_sub(1));
            if counted != expected {
                return Err(format!("{name}: {counted:?} crashes and restarts, not {expected:?}"));
            }
            if view.run().is_some() || view.event_count() > plugin.events().get() {
                return Err(format!("{name}: {view:?}"));
            }
        }
        if last.plugins().len() != self.lanes.len() || !last.is_stopped() {
            return Err(format!("{last:?}"));
        }
        Ok(())
    }
}

/// Kills and reaps the children, so that none is left after an error.
impl Drop for Host {
    fn drop(&mut self) {
        for (child, _) in self.lanes.iter_mut().filter_map(|lane| lane.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The definition of a crash: an exit code other than 0, or a signal other than HUP, INT, PIPE,
/// TERM.
fn is_crash(status: ExitStatus) -> bool {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return ![1, 2, 13, 15].contains(&signal);
    }
    !status.success()
}

impl Lane {
    /// The shell script of the next child. A quarter of them use a few milliseconds of CPU time.
    fn script(&self, random: u64) -> String {
        let code = match self.lifecycle {
            Lifecycle::Reported | Lifecycle::Job => random % 3,
            Lifecycle::Unreported => 3,
            Lifecycle::Reloaded | Lifecycle::Announced => return "exec sleep 1000".to_owned(),
            Lifecycle::Wrapper => return WRAPPER.to_owned(),
        };
        let milliseconds = random % 90;
        if random.is_multiple_of(4) {
            let most = random % 9_000;
            format!("i=0; while [ $i -lt {most} ]; do i=$((i+1)); done; exit {code}")
        } else {
            format!("sleep 0.0{milliseconds:02}; exit {code}")
        }
    }

    fn start(&mut self, script: &str, collector: &Collector) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let child = command.spawn()?;
        let run = self.plugin.started(child.id(), &format!("1.{}", self.starts));
        self.starts += 1;
        if let Some((mut old, _)) = self.child.replace((child, run)) {
            // The end of the old process is a replacement if it is alive when the sampler applies
            // the report of the new one.
            let applied_run = || {
                let snapshot = collector.snapshot();
                snapshot.plugin(self.plugin.name()).and_then(|view| Some(view.run()?.id))
            };
            let start = Instant::now();
            while applied_run() != Some(run) {
                if start.elapsed() > REPORT_TIMEOUT {
                    return Err(format!("{} does not show its new run", self.plugin.name()).into());
                }
                thread::sleep(STEP_INTERVAL);
            }
            old.kill()?;
            old.wait()?;
        }
        Ok(())
    }

    /// Ends the child, or checks whether it has exited. Returns whether the next one is due.
    fn end(&mut self, random: u64) -> Result<bool, Box<dyn Error>> {
        let Some((mut child, run)) = self.child.take() else {
            return Ok(true);
        };
        match self.lifecycle {
            Lifecycle::Reported | Lifecycle::Job => {
                let Some(status) = child.try_wait()? else {
                    self.child = Some((child, run));
                    return Ok(false);
                };
                self.plugin.exited(run, status);
                self.crashes += u64::from(is_crash(status));
            }
            Lifecycle::Unreported => {
                if child.try_wait()?.is_none() {
                    self.child = Some((child, run));
                    return Ok(false);
                }
                self.crashes += 1;
            }
            Lifecycle::Reloaded | Lifecycle::Wrapper => {
                self.child = Some((child, run));
                return Ok(random.is_multiple_of(5));
            }
            Lifecycle::Announced => {
                if !random.is_multiple_of(5) {
                    self.child = Some((child, run));
                    return Ok(false);
                }
                self.plugin.set_state(PluginState::Stopping);
                child.kill()?;
                child.wait()?;
            }
        }
        Ok(true)
    }
}
