//! What a subscriber knows of the plugins who has no snapshot: rebuilt from notifications alone.

use std::collections::BTreeMap;

use plugmeter::{NotificationKind, PluginState, ReadError, RunId, Subscription};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::Checked;
use crate::fields::PluginFields;

#[derive(Clone, Debug, PartialEq)]
struct Known {
    run: Option<RunId>,
    state: PluginState,
    crashes: u64,
    read_error: Option<ReadError>,
}

/// As many wait for a subscriber. Of more, the last ones may be lost.
const CAPACITY: usize = 1_024;

/// The plugins by name, and the newest revision that a notification has named.
#[derive(Default)]
pub(crate) struct Notified {
    plugins: BTreeMap<String, Known>,
    revision: u64,
    /// Whether the next notification may tell how many are lost.
    may_have_lost: bool,
}

impl Notified {
    /// Receives what is waiting, and compares the result with what the oracle expects of the snapshot
    /// with this revision.
    pub(crate) fn check(
        &mut self,
        subscription: &Subscription,
        revision: u64,
        expected: &[PluginFields],
    ) -> Checked {
        let expected = expected.iter().map(|plugin| {
            let known = Known {
                run: plugin.run.as_ref().map(|run| run.id),
                state: plugin.state,
                crashes: plugin.crash_count,
                read_error: plugin.read_error,
            };
            (plugin.name.clone(), known)
        });
        let expected: BTreeMap<_, _> = expected.collect();
        let (mut received, mut has_lagged) = (0, false);
        while let Ok(notification) = subscription.try_recv() {
            if let NotificationKind::Lagged { missed } = notification.kind {
                prop_assert!(self.may_have_lost && received == 0 && missed > 0);
                has_lagged = true;
                continue;
            }
            received += 1;
            let text = notification.to_string();
            let revisions = self.revision..=revision;
            prop_assert!(revisions.contains(&notification.revision), "{}", text);
            self.revision = notification.revision;
            self.apply(&notification.plugin, &notification.kind, &text)?;
        }
        if received > 0 || has_lagged {
            self.may_have_lost = received >= CAPACITY;
        }
        if received >= CAPACITY {
            self.plugins = expected;
        } else {
            prop_assert_eq!(&self.plugins, &expected);
        }
        Ok(())
    }

    fn apply(&mut self, name: &str, kind: &NotificationKind, text: &str) -> Checked {
        if *kind == NotificationKind::Registered {
            let new =
                Known { run: None, state: PluginState::Stopped, crashes: 0, read_error: None };
            prop_assert_eq!(self.plugins.insert(name.to_owned(), new), None, "{}", text);
            return Ok(());
        }
        let Some(known) = self.plugins.get_mut(name) else {
            return Err(TestCaseError::fail(format!("not registered: {text}")));
        };
        match kind {
            // The process may live on.
            NotificationKind::Removed => drop(self.plugins.remove(name)),
            NotificationKind::RunStarted(run) => {
                prop_assert_eq!(known.run.replace(run.id), None, "{}", text);
            }
            NotificationKind::RunEnded { run, .. } => {
                prop_assert_eq!(known.run.take(), Some(run.id), "{}", text);
            }
            NotificationKind::StateChanged { from, to } => {
                prop_assert_eq!(known.state, *from, "{}", text);
                known.state = *to;
            }
            NotificationKind::CrashCounted { crash_count } => {
                prop_assert_eq!(known.crashes + 1, *crash_count, "{}", text);
                known.crashes = *crash_count;
            }
            NotificationKind::ReadFailed(error) => known.read_error = Some(*error),
            NotificationKind::ReadRecovered => {
                prop_assert!(known.read_error.take().is_some(), "{}", text);
            }
            _ => return Err(TestCaseError::fail(format!("not expected: {text}"))),
        }
        Ok(())
    }
}
