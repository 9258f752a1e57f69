//! The values of one plugin from which its series are made.

use std::ops::Range;

use crate::{CurrentUsage, PluginView};

/// One plugin.
pub(super) struct PluginRow<'a> {
    pub view: PluginView<'a>,
    /// Values of the active run.
    pub usage: CurrentUsage,
    /// The plugin's name in the buffer of escaped names.
    pub name: Range<usize>,
}
