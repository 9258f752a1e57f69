//! What crosses threads, all of it. Whoever reviews the concurrency of this crate reads this
//! folder and the sampler's loop.
//!
//! - the host tells the sampler: [`command`], a channel
//! - the sampler tells everyone: [`publish`], one `ArcSwap`
//! - the plugins count: [`counter`], an atomic each

pub(crate) mod command;
pub(crate) mod counter;
pub(crate) mod publish;
