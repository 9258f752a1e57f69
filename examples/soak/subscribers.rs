//! Two subscribers, one of which sleeps: the order of what they receive, and that all of it is counted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use plugmeter::{LimitMetric, Notification, NotificationKind, RecvError, Subscription};

use crate::{Tally, Violation};

/// Long enough for the queue to overflow now and then.
const NAP: Duration = Duration::from_secs(10);
/// For a subscriber that waits, between two looks at whether the soak is over.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);

/// What one subscriber has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub notifications: u64,
    /// Those that were dropped because the subscriber was too slow.
    pub missed: u64,
}

impl Received {
    /// All that the engine has sent.
    pub(crate) const fn sent(self) -> u64 {
        self.notifications + self.missed
    }
}

/// Receives until the collector has stopped, with naps in between if it `sleeps`.
pub(crate) fn receive(
    subscription: &Subscription,
    sleeps: bool,
    tally: &Tally,
) -> Result<Received, Violation> {
    let (mut received, mut order) = (Received::default(), Order::default());
    loop {
        match subscription.recv_timeout(RECEIVE_TIMEOUT) {
            Ok(Notification { kind: NotificationKind::Lagged { missed }, .. }) => {
                received.missed += missed;
                // What was lost has ended and begun anything.
                order = Order { revision: order.revision, ..Order::default() };
            }
            Ok(notification) => {
                received.notifications += 1;
                order.check(&notification).map_err(|what| format!("{notification}: {what}"))?;
                tally.notifications.fetch_add(u64::from(!sleeps), Ordering::Relaxed);
            }
            Err(RecvError::Closed) => return Ok(received),
            Err(_) if sleeps && !tally.done.load(Ordering::Relaxed) => thread::sleep(NAP),
            Err(_) => {}
        }
    }
}

/// What has begun and not ended, as far as it is known.
#[derive(Default)]
struct Order {
    revision: u64,
    registered: HashSet<String>,
    /// Whether the plugin has an active run.
    runs: HashMap<String, bool>,
    /// Whether the limit is exceeded.
    limits: HashMap<(String, LimitMetric), bool>,
    crashes: HashMap<String, u64>,
}

impl Order {
    fn check(&mut self, notification: &Notification) -> Result<(), &'static str> {
        if notification.revision < self.revision {
            return Err("the revision is older than the one before");
        }
        self.revision = notification.revision;
        let name = || notification.plugin.to_string();
        let alternates = match &notification.kind {
            NotificationKind::Registered => self.registered.insert(name()),
            NotificationKind::Removed => {
                self.registered.remove(&*notification.plugin);
                self.runs.remove(&*notification.plugin);
                self.crashes.remove(&*notification.plugin);
                self.limits.retain(|(plugin, _), _| **plugin != *notification.plugin);
                true
            }
            NotificationKind::RunStarted(_) => self.runs.insert(name(), true) != Some(true),
            NotificationKind::RunEnded { .. } => self.runs.insert(name(), false) != Some(false),
            NotificationKind::CrashCounted { crash_count } => {
                let before = self.crashes.insert(name(), *crash_count);
                before.is_none_or(|before| before + 1 == *crash_count)
            }
            NotificationKind::LimitExceeded(status) => {
                self.limits.insert((name(), status.limit.metric), true) != Some(true)
            }
            NotificationKind::LimitCleared { status, .. } => {
                self.limits.insert((name(), status.limit.metric), false) != Some(false)
            }
            _ => true,
        };
        if alternates { Ok(()) } else { Err("it does not follow the one before") }
    }
}
