//! The newest values as observable instruments of OpenTelemetry, for hosts that have its SDK. Feature
//! `opentelemetry`.
//!
//! This feature uses the API crate only. [`register`] creates the instruments; the host's SDK, with
//! its reader, exporter, resource and views, collects and sends their values.
//!
//! ```
//! use opentelemetry::metrics::MeterProvider as _;
//! use opentelemetry::metrics::noop::NoopMeterProvider;
//! use plugmeter::{Collector, Config};
//!
//! # let provider = NoopMeterProvider::new();
//! let collector = Collector::start(Config::default())?;
//! // `provider`: the host's `SdkMeterProvider`.
//! plugmeter::opentelemetry::register(&provider.meter("plugmeter"), collector.reader());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Instruments
//!
//! Prometheus and others translate OTLP by published rules, by which the instruments become exactly the
//! families of the feature `prometheus`: `plugin.cpu` with the unit `s` becomes
//! `plugin_cpu_seconds_total`. Their descriptions are the help texts of these families.
//!
//! | instrument | kind | unit | attributes |
//! |---|---|---|---|
//! | `plugin.cpu`, `plugin.tree_cpu` | f64 counter | `s` | `plugin` |
//! | `plugin.cpu_percent`, `plugin.tree_cpu_percent` | f64 gauge | `%` | `plugin` |
//! | `plugin.resident_memory`, `plugin.tree_memory` | i64 up-down counter | `By` | `plugin` |
//! | `plugin.processes` | i64 up-down counter | `{process}` | `plugin` |
//! | `plugin.start_time`, `plugin.last_crash_timestamp` | f64 gauge | `s` | `plugin` |
//! | `plugin.events` | u64 counter | `{event}` | `plugin`; `plugin`, `kind` |
//! | `plugin.crashes`, `plugin.unknown_ends`, `plugin.restarts` | u64 counter | `{crash}`, `{end}`, `{restart}` | `plugin` |
//! | `plugin.up` | i64 up-down counter | none | `plugin` |
//! | `plugin.limit_exceeded` | i64 up-down counter | none | `plugin`, `metric` |
//! | `plugin.state` | i64 up-down counter | none | `plugin`, `plugin_state` |
//! | `plugin.info` | u64 gauge | none | `plugin`, `version` |
//! | `plugin.findings` | i64 up-down counter | `{finding}` | `plugin`, `kind`, `severity` |
//! | `plugmeter.plugins` | i64 up-down counter | `{plugin}` | none |
//! | `plugmeter.start_time`, `plugmeter.poll_interval`, `plugmeter.last_tick_timestamp`, `plugmeter.last_tick_duration` | f64 gauge | `s` | none |
//! | `plugmeter.ticks`, `plugmeter.missed_ticks`, `plugmeter.failed_reads` | u64 counter | `{tick}`, `{tick}`, `{read}` | none |
//! | `plugmeter.sampler_cpu` | f64 counter | `s` | none |
//! | `plugmeter.build_info` | u64 gauge | none | `version` |
//!
//! An unknown value is not observed. Once the collector has stopped, only totals are observed: so the
//! last collection of a host that ends still has all events, and no process is shown as running.
//!
//! # Collections
//!
//! All instruments of one collection read the same snapshot, so that their values belong to one tick.
//! The API has one callback for each instrument, and a collection calls them in turn on one thread: a
//! callback that runs for the second time on a thread begins the next collection. One snapshot for each
//! such thread is kept between two collections.
//!
//! Totals do not decrease, because the SDK subtracts without a check where the exporter requests delta
//! temporality: a name that was removed and registered again between two collections continues its
//! previous totals. A name that is absent in a collection starts again at 0. A panic in a callback is
//! caught and logged.
//!
//! # Configuration of the SDK
//!
//! - Set `service.instance.id` in the resource, to a value that differs between hosts. Without it, the
//!   series of two hosts with a plugin of the same name are one series.
//! - The SDK keeps at most 2,000 attribute sets of an instrument, and adds up the others in one with
//!   `otel.metric.overflow`. `plugin.state` has seven for each plugin, so the limit is exceeded from 286
//!   plugins on. A view raises it:
//!
//!   ```ignore
//!   let view = |instrument: &Instrument| {
//!       let stream = Stream::builder().with_cardinality_limit(7 * 1_000);
//!       (instrument.name() == "plugin.state").then(|| stream.build().expect("the limit is not 0"))
//!   };
//!   let provider = SdkMeterProvider::builder().with_reader(reader).with_view(view).build();
//!   ```
//!
//! - After a series has ended, backends still show its last value for some time, Prometheus and others
//!   for five minutes, because the SDK has no marker for the end of a series. With a page that is
//!   scraped, and with the feature `otlp`, the series ends immediately.
//! - Instruments cannot be unregistered: they live as long as the provider.

mod collection;
mod instruments;

use std::fmt;

use ::opentelemetry::metrics::Meter;

use crate::Reader;

/// Creates the [instruments](self#instruments) of all plugins of the reader's collector, present and
/// future.
///
/// Call it once for each collector. Two collectors need meters with different scopes.
///
/// # Cost
///
/// A collection costs about as much as a page of the feature `prometheus`, on the thread of the SDK.
/// The sampler and other readers are not delayed.
pub fn register(meter: &Meter, reader: Reader) {
    instruments::create(meter, reader);
}

/// The message of a caught panic: for the log.
struct PanicMessage<'a>(&'a (dyn std::any::Any + Send));

impl fmt::Display for PanicMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.downcast_ref::<&str>().copied();
        let text = text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str));
        f.write_str(text.unwrap_or("a panic without a message"))
    }
}
