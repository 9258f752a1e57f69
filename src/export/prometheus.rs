//! The newest values as text that Prometheus scrapes: OpenMetrics 1.0, or the older format 0.0.4.
//!
//! A pure function of a [`Snapshot`]: it serves nothing, asks no clock and waits for nobody. Hand
//! what it returns to the HTTP server that the host has anyway; [`Format::negotiate`] reads the
//! request's `Accept`, [`Format::content_type`] is the answer's `Content-Type`.
//!
//! ```
//! use plugmeter::prometheus::{self, Format};
//! use plugmeter::{Collector, Config};
//!
//! let collector = Collector::start(Config::default())?;
//! let plugin = collector.register("dice")?;
//! plugin.started(std::process::id(), "1.0");
//!
//! let page = prometheus::render(&collector.sample_now()?, Format::OpenMetrics);
//! assert!(page.contains("plugin_up{plugin=\"dice\"} 1\n"));
//! assert!(page.contains("plugin_info{plugin=\"dice\",version=\"1.0\"} 1\n"));
//! assert!(page.ends_with("# EOF\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Families
//!
//! Of each plugin, with the label `plugin`:
//!
//! | family | type | what it says |
//! |---|---|---|
//! | `plugin_cpu_seconds_total` | counter | CPU time used by all runs; alert on its rate |
//! | `plugin_cpu_percent` | gauge | over the last interval; 100 is one core |
//! | `plugin_resident_memory_bytes` | gauge | of the process |
//! | `plugin_start_time_seconds` | gauge | Unix time at which the process started |
//! | `plugin_last_crash_timestamp_seconds` | gauge | Unix time of the last crash; absent before the first |
//! | `plugin_events_total`, `plugin_crashes_total`, `plugin_restarts_total` | counter | from registration, at 0 |
//! | `plugin_up` | gauge | 1 with a live process, else 0 |
//! | `plugin_state` | stateset | which of the seven states: one series each, exactly one of them 1 |
//! | `plugin_info` | info | `version` of the newest run; absent while none is known |
//!
//! Of the sampler:
//!
//! | family | type | what it says |
//! |---|---|---|
//! | `plugmeter_plugins` | gauge | registered plugins |
//! | `plugmeter_start_time_seconds` | gauge | Unix time at which the collector was started |
//! | `plugmeter_poll_interval_seconds` | gauge | from one tick to the next, as configured |
//! | `plugmeter_last_tick_timestamp_seconds` | gauge | Unix time of the last tick; absent before the first |
//! | `plugmeter_last_tick_duration_seconds` | gauge | how long that one took; absent before the first |
//! | `plugmeter_ticks_total` | counter | ticks so far |
//! | `plugmeter_missed_ticks_total` | counter | deadlines that passed without a tick |
//! | `plugmeter_failed_reads_total` | counter | reads of a process that failed |
//! | `plugmeter_sampler_cpu_seconds_total` | counter | CPU time of the sampler's thread; absent where it is not known |
//! | `plugmeter_build_info` | info | `version` of this crate |
//!
//! The lines of samples are the same in both formats, and have no timestamps. There is no series
//! without the thing that it describes: without a process no CPU percentage, memory and start time,
//! and never a made-up zero. A plugin that was removed is gone.

mod families;
mod format;
mod number;
mod page;

use std::error::Error;
use std::fmt;

pub use self::format::Format;
use self::page::Page;
use crate::Snapshot;

/// The page of `snapshot` in this format, whole.
///
/// # Cost
///
/// Linear in the plugins. It works on this snapshot, and waits for nobody.
///
/// ```
/// use plugmeter::prometheus::{self, Format};
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// let page = prometheus::render(&collector.sample_now()?, Format::Prometheus);
/// assert!(page.contains("# TYPE plugin_crashes_total counter\n"));
/// assert!(page.contains("plugin_crashes_total{plugin=\"dice\"} 0\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn render(snapshot: &Snapshot, format: Format) -> String {
    let exposition = Exposition::new(format);
    let page = Page::new(snapshot, &exposition.prefix);
    let mut text = String::with_capacity(page.expected_len());
    page.write(format, exposition.eof, &mut text).expect("a string takes all that is written");
    text
}

/// [`render`], family by family: other tasks of the same thread get their turn in between.
#[cfg(feature = "http")]
pub(in crate::export) async fn render_in_turns<T: Future<Output = ()>>(
    snapshot: &Snapshot,
    format: Format,
    turn: impl Fn() -> T,
) -> String {
    let page = Page::new(snapshot, "");
    let mut text = String::with_capacity(page.expected_len());
    for part in 0..Page::PARTS {
        page.write_part(part, format, true, &mut text).expect("a string takes all that is written");
        turn().await;
    }
    text
}

/// How to write a page that is part of a host's own: under a prefix, and without an end.
///
/// ```
/// use plugmeter::prometheus::{Exposition, Format};
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// let snapshot = collector.sample_now()?;
///
/// let mut page = String::from("# TYPE bot_messages counter\nbot_messages_total 17\n");
/// let plugins = Exposition::new(Format::OpenMetrics).prefix("bot_")?.without_eof();
/// plugins.write(&snapshot, &mut page)?;
/// page.push_str("# EOF\n");
/// assert!(page.contains("bot_plugin_up{plugin=\"dice\"} 0\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposition {
    format: Format,
    prefix: String,
    eof: bool,
}

impl Exposition {
    /// A whole page in this format, without a prefix: what [`render`] writes.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, prefix: String::new(), eof: true }
    }

    /// Puts `prefix` before the name of every family, and before the label of the stateset, which
    /// bears the name of its family. Nothing is put between the two: the prefix brings its
    /// underscore along.
    ///
    /// # Errors
    ///
    /// [`InvalidPrefix`] if no such name may begin with it. A prefix begins with an ASCII letter and
    /// goes on with letters, digits and underscores; colons are for the rules of a server, and an
    /// underscore at the start for the formats themselves. An empty one is none.
    pub fn prefix(self, prefix: &str) -> Result<Self, InvalidPrefix> {
        let begins = prefix.is_empty() || prefix.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            Ok(Self { prefix: prefix.to_owned(), ..self })
        } else {
            Err(InvalidPrefix { given: prefix.to_owned() })
        }
    }

    /// Leaves out the `# EOF` that ends a page of OpenMetrics: more is to come. The other format has
    /// no such line.
    #[must_use]
    pub fn without_eof(self) -> Self {
        Self { eof: false, ..self }
    }

    /// Writes the page of `snapshot`.
    ///
    /// # Errors
    ///
    /// Those of `out`; a `String` has none.
    ///
    /// # Cost
    ///
    /// As [`render`].
    pub fn write(&self, snapshot: &Snapshot, out: &mut impl fmt::Write) -> fmt::Result {
        Page::new(snapshot, &self.prefix).write(self.format, self.eof, out)
    }
}

/// No family's name may begin so: see [`Exposition::prefix`].
///
/// ```
/// use plugmeter::prometheus::{Exposition, Format};
///
/// let error = Exposition::new(Format::OpenMetrics).prefix("my-bot_").unwrap_err();
/// assert_eq!(error.to_string(), "no name of a metric may begin with \"my-bot_\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPrefix {
    given: String,
}

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no name of a metric may begin with {:?}", self.given)
    }
}

impl Error for InvalidPrefix {}
