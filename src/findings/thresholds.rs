//! The values above which a plugin needs attention.

/// The values above which the CPU and the memory of a plugin are findings.
///
/// A value that is exactly at its threshold is not above it. A threshold that no value reaches, such
/// as infinity, turns that kind of finding off.
///
/// ```
/// use plugmeter::findings::Thresholds;
///
/// let thresholds = Thresholds { memory_mb: 512.0, ..Thresholds::default() };
/// assert_eq!(thresholds.cpu_percent, 50.0);
/// ```
#[allow(clippy::exhaustive_structs)] // constructed by callers, in literals
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// CPU in percent of one core: 50 by default; four busy threads use 400.
    pub cpu_percent: f64,
    /// Resident memory in MB of 1,048,576 bytes: 100 by default.
    pub memory_mb: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { cpu_percent: 50.0, memory_mb: 100.0 }
    }
}
