//! The set of plugins: apply a change, tick, publish. No thread, no clock, no channel: time is an
//! argument, and what is read comes from the probe that is handed in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::life::open::guarded;
use super::life::{Desk, Life, Notice, Scene, Tick};
use super::slots::Slots;
use super::store::{Header, Store};
use crate::model::record::Names;
use crate::model::snapshot::Origin;
use crate::model::state::PluginState;
use crate::model::system::{SamplerStats, SystemMetrics};
use crate::model::time::Now;
use crate::os::Probe;
use crate::shared::command::{Change, PluginId, Word};
use crate::shared::counter::EventCounter;
use crate::shared::publish::Publisher;

/// All plugins, and the history of them.
#[derive(Debug)]
pub(crate) struct Roster<P> {
    origin: Origin,
    /// By slot.
    lives: Vec<Option<Life<P>>>,
    slots: Slots,
    /// The slots in the order of the names.
    order: Vec<u32>,
    desk: Desk,
    store: Store,
    revision: u64,
    /// What readers see is not all there is to see.
    changed: bool,
    /// Plugins have come or gone since the table was made.
    set_changed: bool,
    /// Totals as they are published, uptime excepted.
    system: SystemMetrics,
    stats: SamplerStats,
}

impl<P> Roster<P> {
    pub(crate) fn new(origin: Origin, samples: usize) -> Self {
        Self {
            origin,
            lives: Vec::new(),
            slots: Slots::default(),
            order: Vec::new(),
            desk: Desk::default(),
            store: Store::new(samples),
            revision: 0,
            changed: false,
            set_changed: false,
            system: SystemMetrics::default(),
            stats: SamplerStats::default(),
        }
    }

    /// Whether something has changed that was not published.
    pub(crate) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether ends are listed that were not acted on.
    pub(crate) fn has_ends(&self) -> bool {
        !self.desk.ends.is_empty()
    }

    /// How many ends are listed.
    pub(crate) fn listed(&self) -> usize {
        self.desk.ends.len()
    }

    /// When the next crash is to be counted.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.desk.due.front().map(|due| due.at)
    }

    /// What there is to log.
    pub(crate) fn notices(&mut self) -> impl Iterator<Item = Notice> {
        self.desk.notices.drain(..)
    }

    fn life(&mut self, id: PluginId) -> Option<&mut Life<P>> {
        let slot = self.slots.get(id)?;
        self.lives.get_mut(slot as usize)?.as_mut()
    }

    /// Where `name` is, or would be, in the order of the names.
    fn place(&self, name: &str) -> usize {
        self.order.partition_point(|&other| {
            self.lives[other as usize].as_ref().is_some_and(|life| **life.name() < *name)
        })
    }

    fn register(&mut self, id: PluginId, name: Arc<str>, events: EventCounter, now: &Now) {
        let slot = self.slots.give(id);
        self.order.insert(self.place(&name), slot);
        let life = Life::new(id, name, events, slot, self.store.tick() + 1, now);
        let end = self.slots.end() as usize;
        if self.lives.len() < end {
            self.lives.resize_with(end, || None);
        }
        self.lives[slot as usize] = Some(life);
        (self.changed, self.set_changed) = (true, true);
    }

    fn remove(&mut self, id: PluginId) {
        let Some(slot) = self.slots.take_back(id) else {
            return;
        };
        let at = self.lives[slot as usize].as_ref().map(|life| self.place(life.name()));
        let (Some(at), Some(life)) = (at, self.lives[slot as usize].take()) else {
            return;
        };
        self.order.remove(at);
        self.lives.truncate(self.slots.end() as usize);
        // The totals are of the tick, over the plugins that are still there.
        if let Some((row, total)) = self.store.newest(slot, life.first_tick()) {
            let events = self.system.total_events.wrapping_sub(total.events);
            self.system.total_events = events;
            self.system.total_memory_bytes -= row.resident().unwrap_or(0);
        }
        (self.changed, self.set_changed) = (true, true);
    }

    /// Acts on the first `known` of the ends that are listed: those that were listed before the queue
    /// was looked at that has been applied since. Of the others the host may have said something that
    /// is still in it.
    pub(crate) fn act_on_ends(&mut self, known: usize) {
        let tick = self.store.tick();
        let later = self.desk.ends.split_off(known.min(self.desk.ends.len()));
        for end in std::mem::replace(&mut self.desk.ends, later) {
            let Some(slot) = self.slots.get(end.plugin) else {
                continue;
            };
            if let Some(life) = &mut self.lives[slot as usize] {
                life.end(&end, &mut self.desk, tick);
                self.changed |= life.is_changed();
            }
        }
    }

    /// Counts the crashes that are due by `now`; all of them where there is no "now" any more.
    pub(crate) fn settle(&mut self, now: Option<Instant>) {
        let is_due = |at: Instant| now.is_none_or(|now| at <= now);
        while let Some(due) = self.desk.due.pop_front_if(|due| is_due(due.at)) {
            if let Some(life) = self.life(due.plugin) {
                life.settle(&due);
                self.changed |= life.is_changed();
            }
        }
    }

    /// Takes in what the tick that has just been made has cost.
    pub(crate) fn spent(&mut self, took: Duration, cpu_time: Option<Duration>, now: Instant) {
        let since = now.saturating_duration_since(self.origin.started.mono);
        self.stats.last_tick_duration = took;
        self.stats.cpu_time = cpu_time;
        self.stats.overhead_percent = cpu_time
            .filter(|_| !since.is_zero())
            .map(|cpu| cpu.as_secs_f64() / since.as_secs_f64() * 100.0);
    }

    /// Takes in how many deadlines were missed so far.
    pub(crate) const fn missed(&mut self, missed: u64) {
        self.stats.missed_ticks = missed;
    }

    /// Shows readers what there is.
    pub(crate) fn publish(&mut self, now: &Now, stopped: bool, publisher: &mut Publisher) {
        if self.changed {
            self.change_table();
        }
        self.revision += 1;
        self.system.uptime = now.boot.saturating_sub(self.origin.started.boot);
        let header = Header {
            origin: self.origin,
            revision: self.revision,
            stopped,
            system: self.system,
            sampler: self.stats,
        };
        self.store.publish(header, publisher);
    }

    fn change_table(&mut self) {
        let Self { lives, order, store, set_changed, system, .. } = self;
        (system.plugins_running, system.plugins_crashed) = (0, 0);
        system.total_plugins = order.len();
        store.change_table(|table, current| {
            table.names = if *set_changed {
                let names = order.iter().filter_map(|&slot| lives[slot as usize].as_ref());
                Arc::new(Names::of(names.map(|life| Arc::clone(life.name()))))
            } else {
                Arc::clone(&current.names)
            };
            table.records.truncate(order.len());
            for (at, &slot) in order.iter().enumerate() {
                let Some(life) = &mut lives[slot as usize] else {
                    unreachable!("the order names the slots in use");
                };
                let state = life.state();
                let running = state == PluginState::Running && life.is_open();
                system.plugins_running += usize::from(running);
                system.plugins_crashed += usize::from(state == PluginState::Crashed);
                // Most are what they were when this table was in use: comparing two pointers is
                // cheaper than counting one owner more.
                let record = life.publish();
                match table.records.get_mut(at) {
                    Some(old) if Arc::ptr_eq(old, record) => {}
                    Some(old) => *old = Arc::clone(record),
                    None => table.records.push(Arc::clone(record)),
                }
            }
        });
        (self.changed, self.set_changed) = (false, false);
    }
}

impl<P> Roster<P> {
    /// Applies what the host says. Ends that are learnt of in doing so are listed.
    pub(crate) fn apply<Pr: Probe<Process = P>>(
        &mut self,
        change: Change,
        now: Now,
        probe: &mut Pr,
    ) {
        match change {
            Change::Register { id, name, events } => self.register(id, name, events, &now),
            Change::Remove(id) => self.remove(id),
            Change::Plugin(id, word) => {
                let begins = matches!(word, Word::Started(_));
                self.with_life(id, now, probe, |life, scene| life.hear(word, scene));
                let oldest = self.store.oldest();
                if begins && let Some(life) = self.life(id) {
                    life.forget(oldest);
                }
            }
        }
    }

    /// The process that `token` names is said to have ended.
    pub(crate) fn learn_end<Pr: Probe<Process = P>>(
        &mut self,
        token: u64,
        now: Now,
        probe: &mut Pr,
    ) {
        let (slot, run) = ((token >> 32) as usize, token as u32);
        let Some(id) = self.lives.get(slot).and_then(Option::as_ref).map(Life::id) else {
            return;
        };
        self.with_life(id, now, probe, |life, scene| life.learn_end(run, scene));
    }

    fn with_life<Pr: Probe<Process = P>>(
        &mut self,
        id: PluginId,
        now: Now,
        probe: &mut Pr,
        act: impl FnOnce(&mut Life<P>, &mut Scene<'_, Pr>),
    ) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let Self { lives, desk, store, .. } = self;
        let Some(life) = &mut lives[slot as usize] else {
            return;
        };
        let mut scene = Scene { probe, desk, now, tick: store.tick() };
        act(life, &mut scene);
        self.changed |= life.is_changed();
    }

    /// Reads every process once and records a sample for every plugin. One call, one tick.
    pub(crate) fn tick<Pr: Probe<Process = P>>(&mut self, now: Now, probe: &mut Pr) {
        let Self { lives, desk, store, system, stats, .. } = self;
        let processes = lives.iter().flatten().filter_map(Life::process);
        // If that panics, the reads that follow will say that they failed.
        let _: Result<(), _> = guarded(|| probe.prepare(processes));
        let mut draft = store.draft(now, lives.len());
        let (frame, totals) = draft.parts();
        let mut scene = Scene { probe, desk, now, tick: store.tick() };
        let mut tick = Tick { rows: &mut frame.rows, totals, changed: false };
        loop {
            let done = guarded(|| {
                for life in &mut lives[tick.rows.len()..] {
                    match life {
                        Some(life) => life.sample(&mut scene, &mut tick),
                        None => tick.skip(),
                    }
                }
            });
            // The read that has panicked is the one whose row is missing.
            let at = tick.rows.len();
            if done.is_ok() || at == lives.len() {
                break;
            }
            if let Some(life) = &mut lives[at] {
                life.sample_of_panic(&mut scene, &mut tick);
            }
        }
        let changed = tick.changed;
        let total = totals.iter().fold(0, |sum: u64, total| sum.wrapping_add(total.events));
        system.total_events = total;
        system.total_memory_bytes = frame.rows.iter().filter_map(|row| row.resident()).sum();
        stats.failed_reads += std::mem::take(&mut scene.desk.failed_reads);
        stats.ticks += 1;
        store.commit(draft);
        self.changed |= changed;
    }
}
