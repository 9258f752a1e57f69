//! `plugmeter` samples the plugins that a program, the *host*, runs as child processes: CPU, memory,
//! uptime, events and crashes of each. It keeps a rolling history that any thread reads without
//! waiting.
//!
//! It is for hosts (a chat bot, an editor, a job runner, a supervisor) whose operators ask: *which
//! plugin uses the CPU, since when, does its memory grow, how often did it crash, and is the new
//! version worse?* It samples the process that the host reports, and beside it the whole process
//! tree, because a plugin may be a wrapper (`sh -c`, `npx`, `uv run`) or have workers.
//!
//! # Guide
//!
//! A [`Collector`] owns one thread, the *sampler*, which reads all processes once in each poll
//! interval: a *tick*. Register a plugin by its name, and start its process through the returned
//! handle, a [`Plugin`]:
//!
//! ```
//! # #[cfg(unix)] {
//! use plugmeter::{Collector, Config};
//! use std::process::{Command, Stdio};
//!
//! let collector = Collector::start(Config::default())?; // every 5 s, history of one hour
//! let plugin = collector.register("dice")?;
//!
//! let mut child = plugin.spawn(Command::new("cat").stdin(Stdio::piped()), "1.0")?;
//! plugin.events().increment(); // wherever an event happens; clones count together
//!
//! drop(child.stdin.take());
//! child.wait()?; // reports a clean end or a crash
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! History and counters belong to the *name*: a restart or a hot reload is a new [`Run`] of the
//! same plugin.
//!
//! A host that starts its processes in another way reports them with [`Plugin::started`] and
//! [`Plugin::exited`]. Reporting an exit is optional, because the sampler detects exits itself.
//!
//! A [`Reader`] takes snapshots in any thread and in any async task. A [`Snapshot`] is immutable:
//! take one and query it often:
//!
//! ```
//! use plugmeter::{Collector, Config, Window};
//! use std::time::Duration;
//!
//! # let collector = Collector::start(Config::default())?;
//! # collector.register("dice")?;
//! # collector.sample_now()?;
//! let reader = collector.reader();
//! let snapshot = reader.snapshot();
//! println!("{snapshot}"); // a table of all plugins
//! if let Some(dice) = snapshot.plugin("dice") {
//!     let ten_minutes = dice.aggregates(Duration::from_secs(600));
//!     println!("{:?}, {} crashes", dice.state(), dice.crash_count());
//!     println!("p95 of CPU: {:?}", ten_minutes.and_then(|all| all.cpu).map(|cpu| cpu.p95));
//!     for sample in dice.history(Window::All) {
//!         println!("{:?} {:?}", sample.timestamp, sample.memory_mb());
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Snapshot::findings`] returns what needs attention, each with severity, onset and evidence: see
//!   [`findings`].
//! - [`Plugin::event_counter`] counts one kind of events.
//! - [`PluginView::versions`] has the CPU, memory, events and crashes of each version of a plugin.
//! - [`PluginView::report`] and [`Snapshot::status_line`] are text that answers the commands of a chat.
//!
//! Instead of polling, a host can set [`Limits`] for the values of plugins, and wait for
//! notifications:
//!
//! ```no_run
//! use plugmeter::{Collector, Config, Limit, LimitMetric, Limits, NotificationKind};
//!
//! let limits = Limits::default().rule(Limit::new(LimitMetric::MemoryMb, 512.0));
//! let collector = Collector::start(Config::default().limits(limits))?;
//! // Runs, crashes, states, limits that are exceeded or cleared; in a thread or in an async task.
//! for notification in collector.subscribe() {
//!     println!("{notification}");
//!     if let NotificationKind::LimitExceeded(status) = &notification.kind {
//!         println!("restart {}: {status}", notification.plugin);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Reader::wait_for_newer`] and [`Reader::changed`] wait for the next snapshot.
//!
//! The history in memory ends with the host. With the feature `store` a [`Store`](struct.Store.html)
//! records it in a file, and [`Collector::resume`](struct.Collector.html#method.resume) continues
//! counters, runs and the last hour from there.
//!
//! Snapshots, samples, aggregates, runs and totals implement [`serde::Serialize`].
//!
//! # What the numbers mean
//!
//! - **CPU** is CPU time over wall time between two readings of a process, in percent of *one*
//!   core: four busy threads read 400. If a plugin had several processes in one interval, their CPU
//!   times are summed. A process is read when it is reported, at each tick, and when it ends, so
//!   that the first tick has a value and the CPU time of a crash loop is included. The last reading
//!   is only possible until the process is reaped. On Linux, [`PluginChild`] takes it before it reaps
//!   the process, so that no CPU time is lost, however short the run. If the host itself reaps the
//!   process immediately, the CPU time since the previous reading is lost.
//! - **Memory** is the resident set size. Shared pages count in each process, and huge pages of
//!   hugetlbfs in none. On Linux it is exact on kernel 6.16 and newer: see [`Sample::memory_bytes`].
//! - **Process trees**: [`Sample`] and [`Aggregates`] have CPU and memory of the reported process
//!   alone, and of its tree. See [below](#process-trees).
//! - **Crashes**: a run counts as a crash if it ends with an unclean exit code or signal. Clean are
//!   exit code 0, the signals HUP, INT, TERM and PIPE, the exit codes by which shells and runtimes
//!   report these signals (129, 130, 141, 143), and those of [`Config::clean_exit_codes`]. It does
//!   not count if the host had announced the end ([`PluginState::Stopping`]), reported that the
//!   plugin stopped, or reported another process during the run. A crash that only the sampler has
//!   detected is counted one second later, so that the host can still report that it was none. A run
//!   counts at most once.
//! - **Unknown ends**: a run whose exit status is unknown is no crash. The plugin is
//!   [`Stopped`](PluginState::Stopped), and [`PluginView::unknown_end_count`] counts the run until
//!   its status is reported, which then decides state and crash count.
//! - **p95** is one of the recorded values, chosen by its rank: see [`Summary::p95`]. It is not
//!   estimated, except in a store for times of which the samples were removed: there it is within 1 %.
//! - An unknown value is `None`, in memory and in JSON, and enters no average.
//!
//! # Process trees
//!
//! A process tree is the reported process, its root, with all its descendants. In texts and on the
//! dashboard the root is called the main process. The values of a tree are never less than those of the
//! root alone, and equal to them for a plugin of one process.
//!
//! - **CPU** of a tree is the sum of the CPU clocks of its living processes, and the CPU time of those
//!   that have ended. The kernel adds the latter to the process that has waited for them (`cutime` and
//!   `cstime` of proc(5)), so a child counts however short its life was, once it is waited for. It does
//!   so in steps of 10 ms: up to 20 ms of each process that waits for children are counted later, and
//!   another 20 ms of a process that was running already when it was reported are not counted.
//! - **Memory** is the sum of the resident set sizes: an upper bound, because a page that several
//!   processes share counts in each.
//! - A process counts in one tree: that of its nearest registered ancestor. The CPU time of a zombie
//!   counts, but it is not one of the [living processes](Sample::process_count). `exec` changes nothing.
//! - Descendants that outlive the root stay in the plugin's tree, also beside the next run, until they
//!   end or the plugin is removed. Without a next run, [`Sample::process_count`] is then positive and
//!   [`Sample::pid`] is `None`. A process that lives on although another one was reported stays, too.
//! - A descendant is found by the pids that were assigned since the previous tick, and counts only if
//!   it is proven to be one: its parent is alive after the child was read, or it is an orphan in the
//!   session or the process group of a root that is alive. A host that starts plugins in a process
//!   group of their own ([`Plugin::spawn_in_group`]) gives the most proof.
//! - What cannot be known: the CPU time that children of a process that ignores `SIGCHLD` use after
//!   their last tick; daemons that fork twice and call `setsid`, all between two ticks; and what a
//!   root's last children have used, if the host reaps the root before the sampler has read it. A
//!   cgroup of the plugin's own counts all of this: see [`Plugin::started_in_cgroup`].
//! - Nothing counts twice, apart from these cases: a process that two plugins have reported is in the
//!   trees of both. If the host itself is a plugin, the time of a child between its last reading and
//!   its end may be in its own tree and in the host's. While the operating system refuses to open a
//!   process of a nested plugin, its time may be in the outer tree, too.
//! - After the plugin of a nested tree was removed, the processes of that tree count nowhere.
//! - At most 1,024 descendants of a tree are read, and 4,096 of all trees together. Where there are
//!   more, or where processes cannot be listed, the tree's memory and number of processes are unknown;
//!   also if processes could not be read when the plugin was reported, until a tick has found them.
//!   The CPU time of the other descendants counts as soon as there is room for them, or once they are
//!   waited for; if some of them were running before the plugin was reported, what is waited for
//!   counts only after there was room for all.
//!
//! [`Config::process_trees`] switches trees off, and switches them on for the portable probe, which finds
//! descendants by a list of all processes and does not count the CPU time that they use after their
//! last tick. Trees cannot be read where `/proc` belongs to another PID namespace, and do not contain
//! processes that this user may not see (the option `hidepid` of `/proc`).
//!
//! # Guarantees
//!
//! 1. **Readers never wait.** [`Reader::snapshot`] and every query on a [`Snapshot`] take no lock,
//!    make no system call, and never block on the sampler or on another reader. Only
//!    [`Snapshot::age`] and [`Snapshot::is_stale`] read the clock.
//! 2. **One tick, one state.** All samples and totals of a snapshot belong to the same tick over
//!    all plugins; all states, runs and crash counts belong to the same revision. A snapshot never
//!    changes, and outlives the collector.
//! 3. **Readers do not pay for freeing the history.** While the collector runs, dropping the last
//!    reference to an old snapshot frees almost nothing on the reader's thread: the sampler keeps
//!    replaced snapshots (at most 64) and samples that have left the history (for one further length
//!    of the history) until it is their only owner.
//! 4. **Publishing costs the tick, not the history.** The cost does not depend on the length of the
//!    history.
//! 5. **The host never waits for the sampler,** except in [`Collector::stop`], `drop` and
//!    [`Collector::sample_now`]. Registering takes a short lock among registering threads.
//! 6. **A counter never decreases and never loses an event.** Event counts, crash counts and CPU
//!    time belong to the plugin's name.
//! 7. **Values belong to the registered process and its tree, or they are absent.** A reused pid, the
//!    id of a thread, a zombie, or a process that may not be read never yields another process's
//!    values, and never a zero in place of an unknown value.
//! 8. **The sampler survives.** A read that fails or panics costs that plugin that tick. It is
//!    counted and shown. A panic is caught only if the host is built with `panic = "unwind"`, the
//!    default: with `panic = "abort"` it ends the host.
//! 9. **Reports are applied in order, before exits.** The exit of a process that the host has
//!    announced is never counted as a crash.
//! 10. **Its own cost is visible**: see [`SamplerStats`].
//! 11. **A slow subscriber, exporter or store never delays the sampler.** What it loses is counted and
//!     reported to it: [`NotificationKind::Lagged`] to a subscriber.
//!
//! # Platforms
//!
//! On Linux the native probe reads the per-process CPU clock and an open `/proc/PID/statm`, and
//! detects exits immediately by pidfds. Without pidfds (before Linux 5.3, or in a sandbox that
//! forbids them), it reads processes by pid, and detects exits at the next tick.
//!
//! On other platforms, and on request ([`ProbeKind::Portable`]), the portable probe reads processes
//! by the crate sysinfo. It detects exits at the next tick, none after the last tick, and never an
//! exit status: only the host's report has one.
//!
//! On Unix the crate's threads block all signals except those that a thread causes itself (SIGSEGV,
//! SIGBUS and others). So a host may block a signal after it has started a collector or a server, and
//! receive it by `sigwait`, `signalfd` or `ppoll`.
//!
//! An exit status is known from the host's report; on Linux also for a child of the host that was
//! not reaped yet, and from Linux 6.15 on for every process once it was reaped, by any parent. Until
//! it is reaped, the end of a process of another parent is unknown; the ends of up to sixty-four such
//! runs of a plugin are completed when they are reaped, also after the next run has begun. On older
//! kernels the end of a process is unknown if it is not the host's child, or if the host reaps it
//! before the sampler reads its status.
//!
//! # Features
//!
//! - `portable` (default): the probe for every platform. Required where there is no native probe.
//! - `testing`: a [simulated collector](testing/index.html), for the tests of hosts.
//! - `prometheus`: the newest values as [text](prometheus/index.html) for Prometheus to scrape.
//! - `http`: a [dashboard](http/index.html), its data as JSON, and the page for Prometheus, by a server
//!   in a thread of its own, or as a router for a host's server.
//! - `opentelemetry`: the newest values as [observable instruments](opentelemetry/index.html), for a
//!   host with the SDK of OpenTelemetry.
//! - `otlp`: every tick of the history as [requests of OTLP](otlp/index.html), for a host that pushes
//!   without an SDK.
//! - `store`: a [history that survives the host](struct.Store.html), in an SQLite file.
//! - `tokio`: [children of `tokio::process`](tokio/index.html), with the methods of [`PluginChild`].

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("plugmeter needs a target with 64-bit atomics, which hold its event counters");

mod collector;
mod config;
mod engine;
mod error;
#[cfg(any(feature = "opentelemetry", feature = "otlp", feature = "prometheus"))]
mod export;
pub mod findings;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod name;
mod os;
mod sampler;
mod snapshot;
#[cfg(feature = "store")]
mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod time;

#[cfg(feature = "tokio")]
pub use collector::child_tokio as tokio;
#[cfg(feature = "store")]
pub use collector::saved::Saved;
pub use collector::{Collector, Plugin, PluginChild, global, init};
pub use config::{Config, ProbeKind};
pub use error::{
    CgroupError, ConfigError, CounterError, InitError, LimitError, NameError, RegisterError,
    StartError, StoppedError,
};
#[cfg(feature = "http")]
pub use export::http;
#[cfg(feature = "opentelemetry")]
pub use export::opentelemetry;
#[cfg(feature = "otlp")]
pub use export::otlp;
#[cfg(feature = "prometheus")]
pub use export::prometheus;
pub use format::report::{PluginReport, StatusLine};
pub use snapshot::Snapshot;
pub use snapshot::aggregates::{Aggregates, Summary};
pub use snapshot::downsample::{Downsampler, Point, ValueRange};
pub use snapshot::history::History;
pub use snapshot::limit::{Limit, LimitMetric, LimitState, LimitStatus, Limits};
pub use snapshot::notification::{ClearReason, Notification, NotificationKind};
pub use snapshot::plugin_view::{CurrentUsage, PluginView};
pub use snapshot::process_info::ProcessInfo;
pub use snapshot::query::Window;
pub use snapshot::read_error::ReadError;
pub use snapshot::run::{Run, RunEnd, RunId};
pub use snapshot::sample::Sample;
pub use snapshot::severity::Severity;
pub use snapshot::state::{ParseStateError, PluginState};
pub use snapshot::system::{CollectorStatus, SamplerStats, SystemMetrics};
pub use snapshot::versions::VersionUsage;
#[cfg(feature = "store")]
pub use store::{
    Quantile, Recorder, Resolution, Store, StoreConfig, StoreConfigError, StoreError, StoreReader,
    StoredAggregates, StoredNotification, StoredPlugin, StoredPoint, StoredSummary,
};
pub use sync::counter::EventCounter;
pub use sync::publish::Reader;
pub use sync::subscription::{RecvError, Subscription};

/// Compiles the Rust code in README.md, with the features that it needs.
#[cfg(all(
    doctest,
    feature = "http",
    feature = "opentelemetry",
    feature = "otlp",
    feature = "store"
))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
