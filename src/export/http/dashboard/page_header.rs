//! The header of every page: the age of the data, and the banner.

use super::banner::Banner;
use super::display_time::unix_millis;
use super::format;
use crate::Snapshot;

pub(super) struct PageHeader {
    pub banner: Option<Banner>,
    pub age: String,
    pub age_seconds: f64,
    pub interval: f64,
    pub started: u64,
    pub revision: u64,
    /// 0 before the first sample.
    pub tick: u64,
}

impl PageHeader {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let age = snapshot.age();
        Self {
            banner: Banner::of(snapshot),
            age: format::age(age),
            age_seconds: age.as_secs_f64(),
            interval: snapshot.poll_interval().as_secs_f64(),
            started: unix_millis(snapshot.started_at()),
            revision: snapshot.revision(),
            tick: snapshot.tick(),
        }
    }
}
