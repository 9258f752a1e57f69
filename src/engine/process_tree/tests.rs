//! The rule on a made-up kernel.
