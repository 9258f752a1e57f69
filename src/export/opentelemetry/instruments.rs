//! The instruments: one for each family of the catalogue, with its callback.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{AsyncInstrument, Meter};

use super::PanicMessage;
use super::collection::{Collection, Collections};
use crate::export::catalog::{
    self, Family, MetricType, Number, PLUGIN_FAMILIES, PluginRow, PluginSeries, SAMPLER_FAMILIES,
    SamplerSeries,
};
use crate::{PluginState, Reader};

type Shared = Arc<Mutex<Collections>>;

/// Creates all instruments.
pub(super) fn create(meter: &Meter, reader: Reader) {
    let callbacks = PLUGIN_FAMILIES.len() + SAMPLER_FAMILIES.len();
    let shared = Arc::new(Mutex::new(Collections::new(reader, callbacks)));
    for (at, family) in PLUGIN_FAMILIES.iter().enumerate() {
        create_one(meter, family, &shared, at, move |collection, observe| {
            observe_plugins(at, family, collection, observe);
        });
    }
    for (i, family) in SAMPLER_FAMILIES.iter().enumerate() {
        let at = PLUGIN_FAMILIES.len() + i;
        create_one(meter, family, &shared, at, move |collection, observe| {
            observe_sampler(family, collection, observe);
        });
    }
}

/// Observes a number with attributes.
type Observe<'a> = dyn Fn(Number, &[KeyValue]) + 'a;

/// Creates the instrument of a family, whose callback calls `observe_all`.
fn create_one<S>(
    meter: &Meter,
    family: &'static Family<S>,
    shared: &Shared,
    callback: usize,
    observe_all: impl Fn(&Collection, &Observe<'_>) + Send + Sync + 'static,
) {
    let Family { instrument: name, metric_type, unit, help, .. } = *family;
    let shared = Arc::clone(shared);
    macro_rules! create {
        ($create:ident, $number:ty, $convert:expr) => {{
            let callback = move |instrument: &dyn AsyncInstrument<$number>| {
                run(&shared, callback, |collection| {
                    observe_all(collection, &|number, attributes| {
                        instrument.observe($convert(number), attributes);
                    });
                });
            };
            let builder = meter.$create(name).with_description(help).with_callback(callback);
            match unit.ucum() {
                "" => _ = builder.build(),
                unit => _ = builder.with_unit(unit).build(),
            }
        }};
    }
    match (metric_type, unit.is_fractional()) {
        (MetricType::Counter, true) => create!(f64_observable_counter, f64, Number::as_f64),
        (MetricType::Counter, false) => create!(u64_observable_counter, u64, as_u64),
        (MetricType::Gauge, true) => create!(f64_observable_gauge, f64, Number::as_f64),
        (MetricType::Gauge, false) | (MetricType::Info, _) => {
            create!(u64_observable_gauge, u64, as_u64);
        }
        (MetricType::Amount, true) => {
            create!(f64_observable_up_down_counter, f64, Number::as_f64);
        }
        (MetricType::Amount, false) | (MetricType::StateSet, _) => {
            create!(i64_observable_up_down_counter, i64, as_i64);
        }
    }
}

/// Counters and infos are integers.
fn as_u64(number: Number) -> u64 {
    match number {
        Number::Integer(value) => value,
        number @ (Number::Seconds { .. } | Number::Float(_)) => number.as_f64() as u64,
    }
}

fn as_i64(number: Number) -> i64 {
    i64::try_from(as_u64(number)).unwrap_or(i64::MAX)
}

/// Runs a callback of the SDK. The lock is held until all is observed, so that a thread never
/// observes values of a family that are older than those that another thread has observed.
fn run(shared: &Shared, callback: usize, observe: impl FnOnce(&Collection)) {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut collections = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let collection = collections.enter(callback, thread::current().id());
        observe(&collection);
        drop(collections);
    }));
    if let Err(panic) = result {
        log::error!("plugmeter: an observation failed: {}", PanicMessage(&*panic));
    }
}

fn observe_plugins(
    at: usize,
    family: &Family<PluginSeries>,
    collection: &Collection,
    observe: &Observe<'_>,
) {
    // Totals remain true after the collector has stopped; other values do not.
    if collection.snapshot.is_stopped() && family.metric_type != MetricType::Counter {
        return;
    }
    if let PluginSeries::Findings = family.series {
        for ((plugin, kind, severity), count) in catalog::finding_counts(&collection.findings) {
            let attributes = [
                KeyValue::new("plugin", plugin.to_owned()),
                KeyValue::new("kind", kind),
                KeyValue::new("severity", severity.to_string()),
            ];
            observe(Number::Integer(count), &attributes);
        }
        return;
    }
    let mut limits = Vec::new();
    for view in collection.snapshot.plugins() {
        let name = KeyValue::new("plugin", view.name().to_owned());
        let total = |number| match family.metric_type {
            MetricType::Counter => collection.continued(view.name(), at, number),
            MetricType::Gauge | MetricType::Amount | MetricType::Info | MetricType::StateSet => {
                number
            }
        };
        match family.series {
            PluginSeries::Value(source) => {
                if let Some(number) = (source.now)(&PluginRow::new(view)) {
                    observe(total(number), &[name]);
                }
            }
            PluginSeries::Parts { total: source, label, parts } => {
                let row = PluginRow::new(view);
                if let Some(number) = (source.now)(&row) {
                    observe(total(number), std::slice::from_ref(&name));
                }
                let mut each = |part: &str, number| {
                    let number = collection.continued_part(view.name(), part, number);
                    observe(number, &[name.clone(), KeyValue::new(label, part.to_owned())]);
                    Ok(())
                };
                // The visitor does not fail.
                let _ = parts(&row, &mut each);
            }
            PluginSeries::Limits => {
                catalog::exceeded_limits(view, &mut limits);
                for &(metric, is_exceeded) in &limits {
                    let attributes = [name.clone(), KeyValue::new("metric", metric)];
                    observe(Number::Integer(u64::from(is_exceeded)), &attributes);
                }
            }
            PluginSeries::States => {
                for state in PluginState::ALL {
                    let label = KeyValue::new(family.name, state.to_string());
                    let is = Number::Integer(u64::from(state == view.state()));
                    observe(is, &[name.clone(), label]);
                }
            }
            PluginSeries::Version => {
                if let Some(version) = view.version().filter(|version| !version.is_empty()) {
                    let version = KeyValue::new("version", version.to_owned());
                    observe(Number::Integer(1), &[name, version]);
                }
            }
            // Above: they are by plugin already.
            PluginSeries::Findings => {}
        }
    }
}

fn observe_sampler(family: &Family<SamplerSeries>, collection: &Collection, observe: &Observe<'_>) {
    let snapshot = &collection.snapshot;
    if snapshot.is_stopped() && family.metric_type != MetricType::Counter {
        return;
    }
    match family.series {
        SamplerSeries::Value(value) => {
            if let Some(number) = value(snapshot) {
                observe(number, &[]);
            }
        }
        SamplerSeries::Version => {
            observe(Number::Integer(1), &[KeyValue::new("version", catalog::VERSION)]);
        }
    }
}
