//! Watches the plugins that a host runs as child processes.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod collector;
mod config;
mod error;
mod model;
mod os;
mod sampler;
mod shared;
#[cfg(feature = "testing")]
pub mod testing;

pub use collector::{Collector, Plugin, global, init};
pub use config::{Config, ProbeKind};
pub use error::{ConfigError, InitError, NameError, RegisterError, StartError, Stopped};
pub use model::aggregates::{Aggregates, Summary};
pub use model::history::History;
pub use model::problem::Problem;
pub use model::run::{Run, RunEnd, RunId};
pub use model::sample::Sample;
pub use model::snapshot::Snapshot;
pub use model::state::{PluginState, UnknownState};
pub use model::system::{SamplerStats, SystemMetrics};
pub use model::view::{PluginView, Window};
pub use shared::counter::EventCounter;
pub use shared::publish::Reader;
