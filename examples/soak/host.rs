//! A host whose children give it no rest, and which knows what should have been counted of them.

use std::error::Error;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{Collector, EventCounter, Plugin, PluginState, RunId, Snapshot};

use crate::Broken;

/// What becomes of the children of a plugin.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// They end by themselves, one way or another, and the host tells how.
    Told,
    /// They crash, and the host just starts the next.
    Untold,
    /// They are replaced while they live.
    Reloaded,
    /// They are killed after it was announced.
    Announced,
    /// The plugin is removed after each, and another one registered.
    Job,
}

const HABITS: [Habit; 12] = [
    Habit::Told,
    Habit::Untold,
    Habit::Reloaded,
    Habit::Announced,
    Habit::Job,
    Habit::Told,
    Habit::Untold,
    Habit::Job,
    Habit::Told,
    Habit::Reloaded,
    Habit::Job,
    Habit::Untold,
];

/// Between two steps of the host.
const STEP: Duration = Duration::from_millis(4);

/// The sampler may be late, but not by so much.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plugin, its child, and what should have been counted.
struct Lane {
    habit: Habit,
    plugin: Plugin,
    child: Option<(Child, RunId)>,
    starts: u64,
    crashes: u64,
}

pub(crate) struct Host {
    lanes: Vec<Lane>,
    children: u64,
    /// Of lanes that are no more, too.
    crashes: u64,
    random: u64,
}

impl Host {
    pub(crate) fn new(collector: &Collector) -> Result<Self, Box<dyn Error>> {
        let lane = |(number, &habit)| -> Result<Lane, Box<dyn Error>> {
            let plugin = collector.register(&format!("{habit:?} {number}"))?;
            Ok(Lane { habit, plugin, child: None, starts: 0, crashes: 0 })
        };
        let lanes = HABITS.iter().enumerate().map(lane).collect::<Result<_, _>>()?;
        Ok(Self { lanes, children: 0, crashes: 0, random: 7 })
    }

    /// Counters of two plugins that stay.
    pub(crate) fn counters(&self) -> Vec<EventCounter> {
        self.lanes.iter().take(2).map(|lane| lane.plugin.events().clone()).collect()
    }

    /// Children that were started so far.
    pub(crate) const fn children(&self) -> u64 {
        self.children
    }

    pub(crate) const fn crashes(&self) -> u64 {
        self.crashes
    }

    fn random(&mut self) -> u64 {
        // The generator of Knuth's MMIX; the upper bits are the random ones.
        let Self { random, .. } = self;
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *random >> 33
    }

    /// One step with one of the plugins.
    pub(crate) fn tend(&mut self, collector: &Collector) -> Result<(), Box<dyn Error>> {
        thread::sleep(STEP);
        let random = self.random();
        let at = (random % HABITS.len() as u64) as usize;
        let random = random / HABITS.len() as u64;
        let lane = &mut self.lanes[at];
        lane.plugin.events().increment();
        let crashes = lane.crashes;
        let ready = lane.end(random)?;
        if ready {
            self.crashes += lane.crashes - crashes;
            if let Habit::Job = lane.habit {
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

    /// Ends all that still runs.
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

    /// Whether the last snapshot says what should have been counted.
    pub(crate) fn check(&self, last: &Snapshot) -> Result<(), Broken> {
        for Lane { plugin, starts, crashes, .. } in &self.lanes {
            let name = plugin.name();
            let view = last.plugin(name).ok_or_else(|| format!("{name} is not there"))?;
            let counted = (view.crash_count(), view.restart_count());
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

/// However the soak ends, no child stays behind.
impl Drop for Host {
    fn drop(&mut self) {
        for (child, _) in self.lanes.iter_mut().filter_map(|lane| lane.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// As it is defined: everything but 0 and the signals that ask a process to end.
fn is_crash(status: ExitStatus) -> bool {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return ![1, 2, 13, 15].contains(&signal);
    }
    !status.success()
}

impl Lane {
    /// What the next child is to do. A part of them uses a few milliseconds of CPU time.
    fn script(&self, random: u64) -> String {
        let code = match self.habit {
            Habit::Told | Habit::Job => random % 3,
            Habit::Untold => 3,
            Habit::Reloaded | Habit::Announced => return "exec sleep 1000".to_owned(),
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
            // What becomes of it counts for nothing, if it lives when the sampler hears of the
            // next.
            let heard = || {
                let snapshot = collector.snapshot();
                snapshot.plugin(self.plugin.name()).and_then(|view| Some(view.run()?.id))
            };
            let asked = Instant::now();
            while heard() != Some(run) {
                if asked.elapsed() > PATIENCE {
                    return Err(format!("{} does not show its new run", self.plugin.name()).into());
                }
                thread::sleep(STEP);
            }
            old.kill()?;
            old.wait()?;
        }
        Ok(())
    }

    /// Sees to the end of the child. Whether it is time for the next one.
    fn end(&mut self, random: u64) -> Result<bool, Box<dyn Error>> {
        let Some((mut child, run)) = self.child.take() else {
            return Ok(true);
        };
        match self.habit {
            Habit::Told | Habit::Job => {
                let Some(status) = child.try_wait()? else {
                    self.child = Some((child, run));
                    return Ok(false);
                };
                self.plugin.exited(run, status);
                self.crashes += u64::from(is_crash(status));
            }
            Habit::Untold => {
                if child.try_wait()?.is_none() {
                    self.child = Some((child, run));
                    return Ok(false);
                }
                self.crashes += 1;
            }
            Habit::Reloaded => {
                self.child = Some((child, run));
                return Ok(random.is_multiple_of(5));
            }
            Habit::Announced => {
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
