//! Numbers, durations and times as text; `Display` and `Serialize` of the public values.

pub(crate) mod display;
pub(crate) mod json;
pub(crate) mod notification;
pub(crate) mod number;
pub(crate) mod report;
pub(crate) mod seconds;
pub(crate) mod shown;
pub(crate) mod text;
