//! The values of limits, as they are stored and published.

use crate::snapshot::limit::{Limit, LimitState};

/// A limit and its state, at a revision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitRecord {
    pub limit: Limit,
    /// Of the limits of one plugin, each has another one.
    pub id: u32,
    pub state: LimitState,
    /// The value of a limit of crashes, which may change between ticks.
    pub crashes: Option<f64>,
}

/// The values of a limit at the newest tick. They are not part of [`LimitRecord`], because they change
/// with every tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LimitRow {
    pub slot: u32,
    /// That of the limit's record.
    pub id: u32,
    pub value: Option<f64>,
    pub peak: Option<f64>,
}
