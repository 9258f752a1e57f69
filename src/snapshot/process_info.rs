//! One process of a plugin.

use std::borrow::Cow;

use super::rows::PluginRows;
use super::sample::Sample;
use crate::history::packed::RUN_KEY_MASK;
use crate::history::tree_row::{MAX_LISTED, ProcessRow, process_rows};
use crate::history::units::CpuShare;

/// One process of a plugin at the tick: [`PluginView::processes`](crate::PluginView::processes)
/// returns them.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// plugin.started(std::process::id(), "1.0");
/// let snapshot = collector.sample_now()?;
/// for process in snapshot.plugin("dice").unwrap().processes() {
///     println!("{} {} {:?}", process.pid, process.name, process.cpu_percent);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessInfo<'a> {
    /// Process id.
    pub pid: u32,
    /// Process id of its parent; `None` for the reported process, and if it is unknown.
    pub parent: Option<u32>,
    /// Name of the executed file, on Linux at most 15 bytes (`comm` of proc(5)); empty if it is
    /// unknown. The process may have chosen it: it can contain any character.
    pub name: Cow<'a, str>,
    /// In percent of one core, as [`Sample::cpu_percent`](crate::Sample::cpu_percent); `None` if it
    /// is unknown.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes, as [`Sample::memory_bytes`](crate::Sample::memory_bytes); `None` if
    /// it is unknown.
    pub memory_bytes: Option<u64>,
}

impl<'a> From<&'a ProcessRow> for ProcessInfo<'a> {
    fn from(row: &'a ProcessRow) -> Self {
        Self {
            pid: row.pid,
            parent: Some(row.parent).filter(|&parent| parent != 0),
            name: row.name.text(),
            cpu_percent: row.cpu().map(CpuShare::percent),
            memory_bytes: row.resident(),
        }
    }
}

impl<'a> PluginRows<'a> {
    /// The processes of the newest tick, whose sample is `sample`.
    pub(super) fn processes(
        &self,
        sample: Option<Sample<'a>>,
    ) -> impl Iterator<Item = ProcessInfo<'a>> + Clone + use<'a> {
        let listed = match sample {
            Some(_) => process_rows(&self.inner.newest.processes, self.record.slot),
            None => &[],
        };
        // Processes are listed for trees of several processes only.
        let alone = sample.filter(|sample| listed.is_empty() && sample.process_count == Some(1));
        let root = alone.and_then(|sample| {
            let key = self.newest_packed()?.run()?;
            let run = self.record.runs.by_key(key, RUN_KEY_MASK)?;
            Some(ProcessInfo {
                pid: run.run.pid,
                parent: None,
                name: run.name.text(),
                cpu_percent: sample.cpu_percent,
                memory_bytes: sample.memory_bytes,
            })
        });
        listed.iter().take(MAX_LISTED).map(ProcessInfo::from).chain(root)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant, SystemTime};

    use crate::Snapshot;
    use crate::history::command_name::CommandName;
    use crate::history::frame::TickTotals;
    use crate::history::metric::UNKNOWN;
    use crate::history::packed::{Memory, PackedSample};
    use crate::history::plugin_record::{NameIndex, PluginRecord};
    use crate::history::tree_row::{ProcessRow, TreeRow, TreeValues};
    use crate::history::units::CpuTime;
    use crate::history::writer::{HistoryWriter, SnapshotHeader};
    use crate::snapshot::inner::CollectorInfo;
    use crate::snapshot::state::PluginState;
    use crate::snapshot::system::{CollectorStatus, SamplerStats, SystemMetrics};
    use crate::time::{MonoNanos, TimePoint};

    /// A snapshot of "dice", which has no run, with two processes that have survived their root.
    fn survivors() -> Snapshot {
        let started =
            TimePoint { mono: MonoNanos(0), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let second = Duration::from_secs(1);
        let mut writer = HistoryWriter::new(10, Duration::from_secs(5));
        let mut pending = writer.begin_tick(started.after(second), 1);
        let (frame, newest) = pending.parts();
        let state = PluginState::Stopped;
        frame.samples.push(PackedSample::pack(None, Memory::Unknown, 0, 0, 0, state));
        let values = TreeValues::new(Some(1_500), Some(2_048), Some(2));
        frame.trees.push(TreeRow { slot: 0, values });
        let others_cpu = CpuTime(2_000_000_000);
        newest.totals.push(TickTotals { others_cpu, ..TickTotals::default() });
        let process = |pid, parent, kib| ProcessRow {
            slot: 0,
            pid,
            parent,
            cpu: 750,
            kib,
            name: CommandName::new(b"worker"),
        };
        newest.processes.extend([process(12, 1, 1_024), process(13, 12, UNKNOWN)]);
        writer.commit(pending);
        writer.update_table(|table, _| {
            table.names = Arc::new(NameIndex::from_sorted([Arc::from("dice")].into_iter()));
            table.records.push(Arc::new(PluginRecord {
                name: Arc::from("dice"),
                slot: 0,
                first_tick: 1,
                restored: None,
                state,
                state_since: started.wall,
                runs: Default::default(),
                event_kinds: None,
                crash_count: 0,
                unknown_end_count: 0,
                unknown_ends_detected: 0,
                last_crash: None,
                restart_count: 0,
                ended_cpu: second,
                is_suspended: None,
                suspended_since: None,
                survivors: None,
                read_error: None,
                limits: None,
            }));
        });
        Snapshot(writer.build_snapshot(SnapshotHeader {
            info: CollectorInfo {
                started,
                started_instant: Instant::now(),
                poll_interval: second,
                history_duration: second * 10,
                process_trees: true,
                cpu_cores: 1,
                machine_memory: None,
                resumed: None,
            },
            revision: 1,
            status: CollectorStatus::Running,
            system: SystemMetrics::default(),
            sampler: SamplerStats::default(),
        }))
    }

    #[test]
    fn survivors_of_ended_root_have_values() {
        let snapshot = survivors();
        let view = snapshot.plugin("dice").unwrap();
        let (usage, sample) = (view.usage(), view.current().unwrap());
        assert_eq!((sample.pid, view.pid(), sample.process_count), (None, None, Some(2)));
        assert_eq!((sample.tree_cpu_percent, sample.tree_memory_bytes), (Some(1.5), Some(2 << 20)));
        assert_eq!((usage.cpu_percent, usage.memory_bytes, usage.uptime), (None, None, None));
        assert_eq!(usage.process_count, Some(2));
        assert_eq!((usage.tree_cpu_percent, usage.tree_memory_bytes), (Some(1.5), Some(2 << 20)));
        assert_eq!((view.cpu_time().as_secs(), view.tree_cpu_time().as_secs()), (1, 3));
    }

    #[test]
    fn survivors_of_ended_root_are_listed() {
        let snapshot = survivors();
        let processes: Vec<_> = snapshot.plugin("dice").unwrap().processes().collect();
        let ids: Vec<_> = processes.iter().map(|process| (process.pid, process.parent)).collect();
        assert_eq!(ids, [(12, Some(1)), (13, Some(12))]);
        assert!(processes.iter().all(|process| process.name == "worker"));
        let memory: Vec<_> = processes.iter().map(|process| process.memory_bytes).collect();
        assert_eq!(memory, [Some(1 << 20), None]);
        assert_eq!(processes[0].cpu_percent, Some(0.75));
    }
}
