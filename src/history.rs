//! How the history is stored: packed samples, frames, blocks, and their reuse. Values only.

pub(crate) mod block;
mod byte_column;
pub(crate) mod command_name;
pub(crate) mod frame;
pub(crate) mod limit_row;
pub(crate) mod metric;
pub(crate) mod packed;
mod packed_block;
mod packed_times;
mod packer;
pub(crate) mod plugin_record;
mod pool;
pub(crate) mod run_log;
pub(crate) mod timeline;
pub(crate) mod tree_row;
pub(crate) mod units;
pub(crate) mod writer;
