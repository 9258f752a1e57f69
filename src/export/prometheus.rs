//! Text exposition of the newest values for Prometheus: OpenMetrics 1.0, or the text format 0.0.4.
//!
//! [`render`] is a pure function of a [`Snapshot`]: it reads no clock, never waits and has no server. Return
//! its text from an HTTP server of the host: [`Format::negotiate`] parses the request's header `Accept`,
//! and [`Format::content_type`] is the response's `Content-Type`. The feature `http` has a server.
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
//! For each plugin, with the label `plugin`:
//!
//! | family | type | value |
//! |---|---|---|
//! | `plugin_cpu_seconds_total` | counter | CPU time used by the processes of all runs; alert on its rate |
//! | `plugin_tree_cpu_seconds_total` | counter | CPU time used by these processes and their descendants |
//! | `plugin_cpu_percent` | gauge | CPU of the process over the last interval; 100 is one core |
//! | `plugin_tree_cpu_percent` | gauge | CPU of the process and its descendants; 100 is one core |
//! | `plugin_resident_memory_bytes` | gauge | resident memory of the process |
//! | `plugin_tree_memory_bytes` | gauge | sum of the resident memory of the process and its descendants: an upper bound, because shared pages count in each |
//! | `plugin_processes` | gauge | living processes: the process and its descendants |
//! | `plugin_start_time_seconds` | gauge | Unix time at which the process started |
//! | `plugin_last_crash_timestamp_seconds` | gauge | Unix time of the last crash; absent before the first |
//! | `plugin_events_total`, `plugin_crashes_total`, `plugin_restarts_total` | counter | since registration, from 0; after `Collector::resume` since the first registration |
//! | `plugin_events_total{kind="..."}` | counter | the part of `plugin_events_total` that has this [kind](crate::Plugin::event_counter); a sum over plugins has to select the totals by `{kind=""}` |
//! | `plugin_unknown_ends_total` | counter | processes whose exit status was unknown when they were found to have exited |
//! | `plugin_up` | gauge | 1 with a running process, else 0 |
//! | `plugin_limit_exceeded{metric="..."}` | gauge | 1 if the plugin is over one of its [limits](crate::Limit) of this metric, else 0; for each metric that has limits |
//! | `plugin_state` | stateset | one series for each of the seven states, exactly one of them 1 |
//! | `plugin_findings` | gauge | [findings](crate::findings) by `kind` and `severity`; absent without one |
//! | `plugin_info` | info | `version` of the newest run; absent if it has none |
//!
//! For the sampler:
//!
//! | family | type | value |
//! |---|---|---|
//! | `plugmeter_plugins` | gauge | registered plugins |
//! | `plugmeter_start_time_seconds` | gauge | Unix time at which the collector was started |
//! | `plugmeter_poll_interval_seconds` | gauge | configured time from one tick to the next |
//! | `plugmeter_last_tick_timestamp_seconds` | gauge | Unix time of the last tick; absent before the first |
//! | `plugmeter_last_tick_duration_seconds` | gauge | duration of the last tick; absent before the first |
//! | `plugmeter_ticks_total` | counter | ticks so far |
//! | `plugmeter_missed_ticks_total` | counter | deadlines that passed without a tick |
//! | `plugmeter_failed_reads_total` | counter | reads of a process that failed |
//! | `plugmeter_sampler_cpu_seconds_total` | counter | CPU time of the sampler's thread; absent if it is unknown |
//! | `plugmeter_build_info` | info | `version` of this crate |
//!
//! Sample lines are the same in both formats and have no timestamps. An unknown value has no series:
//! without a process there is no CPU percentage, memory or start time, and never a zero in place of
//! an unknown value. The values of trees have no series without
//! [`Config::process_trees`](crate::Config::process_trees). A removed plugin has no series.

mod exposition;
mod format;
mod number;

use std::error::Error;
use std::fmt;

use self::exposition::Page;
pub use self::format::Format;
use crate::Snapshot;
#[cfg(feature = "http")]
use crate::findings::Findings;

/// Returns the complete exposition of `snapshot` in this format.
///
/// # Cost
///
/// Linear in the number of plugins; most of it is the cost of [`Snapshot::findings`].
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
    let findings = snapshot.findings();
    let page = Page::new(snapshot, &findings, &exposition.prefix);
    let mut text = String::with_capacity(page.expected_len());
    page.write(format, exposition.eof, &mut text).expect("writing to a string does not fail");
    text
}

/// [`render`] in steps: awaits `pause` after each family, so that other tasks of the thread can run.
#[cfg(feature = "http")]
pub(in crate::export) async fn render_in_steps<T: Future<Output = ()>>(
    snapshot: &Snapshot,
    findings: &Findings,
    format: Format,
    pause: impl Fn() -> T,
) -> String {
    let page = Page::new(snapshot, findings, "");
    let mut text = String::with_capacity(page.expected_len());
    for part in 0..Page::PARTS {
        page.write_part(part, format, true, &mut text).expect("writing to a string does not fail");
        pause().await;
    }
    text
}

/// Options for an exposition that is part of the host's own: a prefix, and no end marker.
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
    /// A complete exposition in this format without a prefix, as [`render`] writes it.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, prefix: String::new(), eof: true }
    }

    /// Puts `prefix` before the name of every family, and before the label of the stateset, which
    /// has the name of its family. Nothing is inserted between them: include the underscore in the
    /// prefix.
    ///
    /// # Errors
    ///
    /// [`InvalidPrefix`] if a metric name must not begin with it. A prefix begins with an ASCII
    /// letter, followed by letters, digits and underscores; colons are reserved for the server's
    /// recording rules, and a leading underscore for the formats. An empty prefix is allowed.
    pub fn prefix(self, prefix: &str) -> Result<Self, InvalidPrefix> {
        let begins = prefix.is_empty() || prefix.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            Ok(Self { prefix: prefix.to_owned(), ..self })
        } else {
            Err(InvalidPrefix { given: prefix.to_owned() })
        }
    }

    /// Omits the line `# EOF` that ends an OpenMetrics exposition, for an exposition after which more
    /// follows. The format 0.0.4 has no such line.
    #[must_use]
    pub fn without_eof(self) -> Self {
        Self { eof: false, ..self }
    }

    /// Writes the exposition of `snapshot`.
    ///
    /// # Errors
    ///
    /// Those of `out`; writing to a `String` does not fail.
    ///
    /// # Cost
    ///
    /// That of [`render`].
    pub fn write(&self, snapshot: &Snapshot, out: &mut impl fmt::Write) -> fmt::Result {
        Page::new(snapshot, &snapshot.findings(), &self.prefix).write(self.format, self.eof, out)
    }
}

/// The prefix is not valid at the start of a metric name: see [`Exposition::prefix`].
///
/// ```
/// use plugmeter::prometheus::{Exposition, Format};
///
/// let error = Exposition::new(Format::OpenMetrics).prefix("my-bot_").unwrap_err();
/// assert_eq!(error.to_string(), "\"my-bot_\" is not a valid prefix of a metric name");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPrefix {
    given: String,
}

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a valid prefix of a metric name", self.given)
    }
}

impl Error for InvalidPrefix {}
