//! The pids that were assigned between two passes.

use super::members::PidReuse;

/// Consecutively assigned pids, across the end of a lap if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// The last pid before them.
    pub before: u32,
    pub last: u32,
    /// The pids of a lap.
    pub first_of_lap: u32,
    pub last_of_lap: u32,
}

impl Window {
    /// The last so many pids up to this one, in its lap.
    pub(super) fn up_to(last: u32, count: u32) -> Self {
        Self { before: last.saturating_sub(count), last, ..Self::default() }
    }

    /// The position of a pid, from 1 on; 0 is the last pid before them. Pids beyond the end of a lap come
    /// last.
    pub(super) fn position(&self, pid: u32) -> u32 {
        if pid >= self.before {
            pid - self.before
        } else {
            let rest = self.last_of_lap.saturating_sub(self.before);
            rest.saturating_add(1 + pid.saturating_sub(self.first_of_lap))
        }
    }

    /// The order in which the pids of all processes were assigned, also where a lap ends: the oldest comes
    /// first.
    pub(super) fn order(&self, pid: u32) -> (bool, u32) {
        (pid <= self.last, pid)
    }

    pub(super) fn len(&self) -> u32 {
        if self.before == self.last { 0 } else { self.position(self.last) }
    }

    pub(super) fn contains(&self, pid: u32) -> bool {
        (1..=self.len()).contains(&self.position(pid))
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = u32> + use<> {
        let Self { before, last, first_of_lap, last_of_lap } = *self;
        let is_lap_over = last < before;
        let end = if is_lap_over { last_of_lap } else { last };
        let next_lap = is_lap_over.then_some(first_of_lap..=last);
        (before.saturating_add(1)..=end).chain(next_lap.into_iter().flatten())
    }
}

impl PidReuse {
    /// In a window of assigned pids. A root that was added in this window may have been born in it.
    pub(super) fn of(pid: u32, known_since: Option<u32>, window: &Window) -> Self {
        let first = match known_since.filter(|&last| window.contains(last)) {
            Some(last) => window.position(last),
            None => 0,
        };
        if window.contains(pid) && window.position(pid) > first { Self::Yes } else { Self::No }
    }

    /// Of two consecutive windows.
    pub(super) fn and(self, later: Self) -> Self {
        match (self, later) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::No, Self::No) => Self::No,
        }
    }
}
