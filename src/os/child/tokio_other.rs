//! Platforms other than Linux: a child is not read before it is reaped, so nothing waits for that.

/// Never available.
#[derive(Debug)]
pub(crate) enum ExitSignal {}

impl ExitSignal {
    pub(crate) const fn new(_pid: u32) -> Option<Self> {
        None
    }

    pub(crate) async fn exited(&self) {
        match *self {}
    }
}
