//! Every tick of the history as requests of OTLP, the protocol of OpenTelemetry, over HTTP: for hosts that
//! push without an SDK. Feature `otlp`.
//!
//! An [`Encoder`] turns snapshots into the bodies of requests; the host posts them with its own client,
//! to the path `/v1/metrics` of a receiver. Ticks that were not
//! [acknowledged](Encoder::acknowledge) are in the next request, each with its own time. So a receiver
//! that is unavailable for less than the [length of the history](crate::Config::history_duration) misses
//! no tick.
//!
//! ```
//! use plugmeter::otlp::{Delivery, Encoder};
//! use plugmeter::{Collector, Config};
//!
//! # fn post(_: &str, _: &[u8]) -> Option<(u16, Vec<u8>)> { Some((200, Vec::new())) }
//! let collector = Collector::start(Config::default())?;
//! collector.register("dice")?;
//! let mut encoder = Encoder::new([("service.name", "bot"), ("service.instance.id", "bot-7")]);
//!
//! // For each new snapshot; `post` is the host's client.
//! let snapshot = collector.sample_now()?;
//! while let Some(request) = encoder.encode(&snapshot) {
//!     let Some((status, body)) = post(request.content_type(), request.body()) else { break };
//!     match Delivery::of_response(status, &body) {
//!         Delivery::RetryLater => break, // with the next snapshot
//!         Delivery::Accepted | Delivery::PartlyRejected { .. } | Delivery::Refused => {
//!             encoder.acknowledge(request);
//!         }
//!     }
//! }
//! assert!(encoder.encode(&snapshot).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contents
//!
//! The metrics have the names, units and attributes of the feature `opentelemetry`, so that they
//! become the families of the feature `prometheus`. All totals are cumulative.
//!
//! - At each tick of the history: CPU time and percentage, memory, processes, start time, events,
//!   crashes, `plugin.up` and `plugin.state`, as in a [`Sample`](crate::Sample). CPU time is exact at
//!   the newest tick; at ticks before it, the time since the last acknowledged tick is divided by the
//!   CPU percentages.
//! - At the newest tick only, because the history does not contain them: the counts of kinds of events,
//!   unknown ends, restarts, the last crash, versions, limits, findings, and the sampler's own metrics.
//! - A series that has ended, for example the memory of a plugin that was stopped, gets one point with
//!   the flag `NO_RECORDED_VALUE`, by which receivers end it immediately. Once the collector has
//!   stopped, all series of plugins are ended.
//!
//! A request has at most 60 ticks and 1,000,000 bytes; a tick that is larger is divided among requests
//! by plugins.
//!
//! Later snapshots do not contain a plugin that was removed. Its unacknowledged ticks are taken from the
//! last snapshot that was encoded before the removal, for up to 64 removed plugins. So encode the snapshot
//! of each tick, also while the receiver is unavailable.

mod batch;
mod cpu_totals;
mod encoder;
mod message;
mod progress;
mod response;
mod source;

pub use self::encoder::{Encoder, Request};
pub use self::response::Delivery;
