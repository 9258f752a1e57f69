//! The process-wide collector.

use once_cell::sync::OnceCell;

use super::Collector;
use crate::config::Config;
use crate::error::InitError;

static GLOBAL: OnceCell<Collector> = OnceCell::new();

/// Starts the process-wide collector, for hosts that would otherwise pass one through every layer.
///
/// It runs until it is [stopped](Collector::stop) or the process exits. There is one in the lifetime
/// of a process: after it was stopped, [`global`] still returns it, and `init` returns an error. The
/// same holds in a forked child, where the parent's collector does not sample.
///
/// # Errors
///
/// [`InitError::AlreadyInitialized`] if there is one; [`InitError::Start`] if it could not be
/// started. After the latter, a later call tries again.
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
    let mut is_new = false;
    let collector = GLOBAL.get_or_try_init(|| {
        is_new = true;
        Collector::start(config).map_err(InitError::Start)
    })?;
    if is_new { Ok(collector) } else { Err(InitError::AlreadyInitialized) }
}

/// Returns the process-wide collector; `None` unless [`init`] has started it.
#[must_use]
pub fn global() -> Option<&'static Collector> {
    GLOBAL.get()
}
