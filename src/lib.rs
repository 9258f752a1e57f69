//! `plugmeter` watches the plugins that a host program runs as child processes: CPU, memory,
//! uptime, events and crashes of each, with a rolling history that any thread reads without
//! waiting.
//!
//! It is for hosts (a chat bot, an editor, a job runner, a supervisor) that want to know, at any
//! moment: *which plugin is eating the CPU, since when, does it leak, how often did it crash, what
//! has it done?* It watches one process for each plugin, the one that the host names; it does not
//! follow process trees.
//!
//! # Guide
//!
//! A [`Collector`] owns one thread, the sampler. Register a plugin by name, and say what happens to
//! its process:
//!
//! ```
//! # #[cfg(unix)] {
//! use plugmeter::{Collector, Config};
//! use std::process::{Command, Stdio};
//!
//! let collector = Collector::start(Config::default())?; // every 5 s, for an hour
//! let plugin = collector.register("dice")?;
//!
//! let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
//! let run = plugin.started(child.id(), "1.0");
//! plugin.events().increment(); // wherever something happens; clone the counter
//!
//! drop(child.stdin.take());
//! plugin.exited(run, child.wait()?); // clean, or a crash
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! History and counters belong to the *name*: a restart or a hot reload is a new [`Run`] of the same
//! plugin. A host that says nothing when a process ends is served too: the sampler notices.
//!
//! Read from any thread, synchronous or not, with a [`Reader`]. A [`Snapshot`] is immutable; take
//! one and ask it often:
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
//! Everything that is shown is also JSON, by [`serde::Serialize`].
//!
//! # What the numbers mean
//!
//! - **CPU** is CPU time over wall time between two readings of a process, in percent of *one* core:
//!   four busy threads read 400. If a plugin had several processes in one interval, their CPU times
//!   are summed.
//!   Readings are taken when a process is named, at each tick, and when it ends, so that the first
//!   tick has a value and the CPU time of a crash loop is not lost. The last of them is there as long
//!   as nobody has waited for the process: of one that is waited for at once, what it has used since
//!   the one before is lost.
//! - **Memory** is the resident set size. Pages that are shared count in each process.
//! - **Crashes**: a run counts as a crash if it ends with an exit code other than 0, by a signal other
//!   than HUP, INT, TERM and PIPE, or in a way that nobody knows. It does not if the host had announced
//!   the end ([`PluginState::Stopping`]), said that the plugin stopped, or named another process while
//!   it ran. A crash that only the sampler has seen is counted a second later, so that the host can
//!   still say that it was none. A run counts at most once.
//! - **p95** is the value at its rank, of values that occurred. Nothing is estimated.
//! - What is not known is `None`, in memory and in JSON, and enters no average.
//!
//! # Promises
//!
//! 1. **Readers never wait.** [`Reader::snapshot`] and every query on a [`Snapshot`] take no lock,
//!    make no system call, and never block on the sampler or on another reader.
//! 2. **One tick, one truth.** All samples and totals of a snapshot are of the same tick over all
//!    plugins, all states, runs and crash counts of the same revision. A snapshot that is held does
//!    not change, and outlives the collector.
//! 3. **The reader does not pay for the writer.** While the collector runs, dropping the last
//!    reference to an old snapshot frees next to nothing: the sampler keeps what it retires until
//!    it is its own again (64 snapshots at most, and frames and blocks for one window).
//! 4. **Publishing costs the tick, not the history.**
//! 5. **The host never waits for the sampler.** Only [`Collector::stop`], `drop` and
//!    [`Collector::sample_now`] do; registering takes a short lock among registering threads.
//! 6. **A counter never goes down, and never loses an event.**
//! 7. **The numbers are of the process that was named, or they are absent.** A pid that was used again,
//!    the id of a thread, a zombie, or a process that may not be read never yields another process's
//!    values, and never a made-up zero.
//! 8. **The sampler lives.** A read that fails or panics costs that plugin that tick. It is counted
//!    and shown.
//! 9. **What the host said first is applied first.** The end of a process that the host has
//!    announced is never taken for a crash.
//! 10. **It says what it costs**: see [`SamplerStats`].
//!
//! # Platforms
//!
//! On Linux processes are read by the per-process CPU clock and a held `/proc/PID/statm`, and a
//! pidfd tells of their end at once. Where there is none to be had (before Linux 5.3, or where a sandbox
//! forbids it), processes are read by their numbers, and ends are found at the next tick. Elsewhere, and on request
//! ([`ProbeKind::Portable`]), it is the crate sysinfo: ends are found at the next tick, those after
//! the last tick not at all, and how a process ended is known only from the host. An end that the host
//! does not tell of is one that nobody knows: a crash. So it is on Linux with a process that is not the
//! host's child, or that the host has waited for before the sampler could look.
//!
//! # Features
//!
//! - `portable` (default): the probe for every platform. Required where there is no native one.
//! - `testing`: a simulation of a collector, for the tests of hosts.
//! - `prometheus`: the newest values as text that Prometheus scrapes.
//! - `http`: a dashboard, its data as JSON, and that text, by a server in a thread of its own, or to
//!   mount in a host's.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod collector;
mod config;
mod engine;
mod error;
#[cfg(feature = "prometheus")]
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
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod time;

pub use collector::{Collector, Plugin, global, init};
pub use config::{Config, ProbeKind};
pub use error::{ConfigError, InitError, NameError, RegisterError, StartError, StoppedError};
#[cfg(feature = "http")]
pub use export::http;
#[cfg(feature = "prometheus")]
pub use export::prometheus;
pub use snapshot::Snapshot;
pub use snapshot::aggregates::{Aggregates, Summary};
pub use snapshot::downsample::{Downsampler, Point, ValueRange};
pub use snapshot::history::History;
pub use snapshot::plugin_view::{CurrentUsage, PluginView};
pub use snapshot::query::Window;
pub use snapshot::read_error::ReadError;
pub use snapshot::run::{Run, RunEnd, RunId};
pub use snapshot::sample::Sample;
pub use snapshot::state::{ParseStateError, PluginState};
pub use snapshot::system::{CollectorStatus, SamplerStats, SystemMetrics};
pub use sync::counter::EventCounter;
pub use sync::publish::Reader;
