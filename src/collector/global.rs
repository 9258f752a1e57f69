//! The process-wide collector.

use once_cell::sync::OnceCell;

use super::Collector;
use crate::config::Config;
use crate::error::InitError;

static GLOBAL: OnceCell<Collector> = OnceCell::new();

/// Starts the process-wide collector, for hosts that would otherwise hand one through everywhere.
///
/// It runs until it is [stopped](Collector::stop) or the process ends. One that was stopped stays so:
/// [`global`] still returns it, and this says that there is one. So it is in a forked child, where its
/// parent's does not sample.
///
/// # Errors
///
/// [`InitError::AlreadyInitialized`] if there is one; [`InitError::Start`] if it could not be
/// started, and then another call may try again.
///
/// ```
/// use plugmeter::Config;
///
/// plugmeter::init(Config::default())?;
/// let collector = plugmeter::global().expect("it was started above");
/// collector.register("dice")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn init(config: Config) -> Result<&'static Collector, InitError> {
    let mut ours = false;
    let collector = GLOBAL.get_or_try_init(|| {
        ours = true;
        Collector::start(config).map_err(InitError::Start)
    })?;
    if ours { Ok(collector) } else { Err(InitError::AlreadyInitialized) }
}

/// The process-wide collector, if [`init`] has started it.
#[must_use]
pub fn global() -> Option<&'static Collector> {
    GLOBAL.get()
}
