//! Tests of the sampler's thread on the real clock, with a scripted probe.

mod faults;
mod ordering;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{RunningSampler, StartSampler};
use crate::config::Config;
use crate::os::UseProbe;
use crate::os::fake_probe::{Condition, FakeProbe, FakeProcess, FakeProcesses};
use crate::snapshot::Snapshot;
use crate::sync::command::{
    Command, CommandSender, PluginId, PluginUpdate, ProcessStart, SampleReply, SampleRequest,
};
use crate::sync::counter::{EventCounter, next_run_id};

const HOUR: Duration = Duration::from_secs(3_600);
/// A bound against hanging: no test measures it.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);
/// CPU time that a scripted process uses between two readings.
const CPU_PER_READING: Duration = Duration::from_millis(10);

/// A running sampler. The plugins are "1", "2", ... with processes of these pids.
struct Harness {
    /// `None` once it was stopped.
    running: Option<RunningSampler>,
    processes: FakeProcesses,
    sender: Arc<CommandSender>,
}

impl Harness {
    fn new(interval: Duration, plugins: u32) -> Self {
        let config = Config::default().poll_interval(interval).history_duration(interval * 10_000);
        let (probe, processes, wake) = FakeProbe::new();
        let running = StartSampler(config.validate().unwrap(), None).run(probe, wake).unwrap();
        let sender = Arc::clone(&running.sender);
        for pid in 1..=plugins {
            let process = FakeProcess {
                condition: Condition::Alive,
                process_start: Duration::ZERO,
                cpu_per_reading: CPU_PER_READING,
                ..FakeProcess::default()
            };
            processes.insert(pid, process);
            let id = PluginId(pid.into());
            let (name, events) = (Arc::from(pid.to_string()), EventCounter::new());
            sender.send(Command::Register { id, name, events });
            sender.send(started(pid, pid));
        }
        let harness = Self { running: Some(running), processes, sender };
        harness.sample();
        harness
    }

    fn running(&self) -> &RunningSampler {
        self.running.as_ref().expect("it was not stopped")
    }

    fn snapshot(&self) -> Snapshot {
        self.running().reader.snapshot()
    }

    /// What `Collector::sample_now` does.
    fn sample(&self) -> Snapshot {
        wait(request_sample(&self.sender)).expect("the sampler runs")
    }

    /// Waits for a snapshot that is at least so many ticks newer than `before`.
    fn ticks_after(&self, before: &Snapshot, ticks: u64) -> Snapshot {
        wait_until(|| self.snapshot().tick() >= before.tick() + ticks);
        self.snapshot()
    }
}

/// However the test ends.
impl Drop for Harness {
    fn drop(&mut self) {
        if let Some(RunningSampler { worker, .. }) = self.running.take() {
            let joined = worker.stop();
            // While a test fails, a second panic would abort all tests.
            assert!(thread::panicking() || matches!(joined, Some(Ok(()))), "the thread panicked");
        }
    }
}

fn update(plugin: u32, update: PluginUpdate) -> Command {
    Command::Update(PluginId(plugin.into()), update)
}

/// A report that a process of the plugin was started.
fn started(plugin: u32, pid: u32) -> Command {
    let start =
        ProcessStart { run: next_run_id(), pid, version: None, reported_at: None, cgroup: None };
    update(plugin, PluginUpdate::Started(start))
}

fn request_sample(sender: &CommandSender) -> SampleReply {
    let (request, reply) = SampleRequest::new();
    sender.send(Command::SampleNow(request));
    reply
}

/// Waits for the reply, with a bound; `None` if the request was dropped.
fn wait(reply: SampleReply) -> Option<Snapshot> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(reply.wait()));
    receiver.recv_timeout(HANG_TIMEOUT).expect("the request is answered or dropped")
}

#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG_TIMEOUT, "the condition does not become true");
        thread::sleep(Duration::from_millis(1));
    }
}
