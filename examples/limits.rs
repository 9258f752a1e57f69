//! A host that acts on limits: it restarts a plugin that uses too much memory, and gives up on a plugin
//! that crashes too often.
//!
//! The times are short, so that the example ends after some seconds.
//!
//! ```sh
//! cargo run --example limits
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

use plugmeter::{
    Collector, Config, Limit, LimitMetric, Limits, NotificationKind, Plugin, PluginChild,
    PluginState, Severity,
};

/// Takes 64 MB after a moment, and ends with the host at the latest: when its input is closed.
const LEAKY: &str = "sleep 0.5; text=$(head -c 64000000 /dev/zero | tr '\\0' x); read _";
/// Crashes after a moment.
const CRASHY: &str = "sleep 0.3; exit 3";

/// Restarts for which the example waits.
const MAX_RESTARTS: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    // A real host would use the default interval, and limits of a minute or more.
    let limits = Limits::default()
        .rule(
            Limit::new(LimitMetric::MemoryMb, 32.0)
                .lasting(Duration::from_millis(400))
                .grace(Duration::from_millis(200)),
        )
        .rule(
            Limit::new(LimitMetric::Crashes { within: Duration::from_secs(600) }, 2.0)
                .severity(Severity::Critical),
        );
    let config = Config::default().poll_interval(Duration::from_millis(100)).limits(limits);
    let collector = Collector::start(config)?;
    let notifications = collector.subscribe();

    let mut children = HashMap::new();
    for (name, script) in [("leaky", LEAKY), ("crashy", CRASHY)] {
        let plugin = collector.register(name)?;
        let child = spawn(&plugin, script)?;
        children.insert(name.to_owned(), (plugin, script, child));
    }

    let (mut restarts, mut has_given_up) = (0, false);
    while restarts < MAX_RESTARTS || !has_given_up {
        let notification = notifications.recv_timeout(Duration::from_secs(60))?;
        println!("{notification}");
        let Some((plugin, script, child)) = children.get_mut(&*notification.plugin) else {
            continue;
        };
        match notification.kind {
            NotificationKind::LimitExceeded(status) => match status.limit.metric {
                LimitMetric::MemoryMb => {
                    // An intended end: it does not count as a crash.
                    child.stop(Duration::from_secs(1))?;
                    *child = spawn(plugin, script)?;
                    restarts += 1;
                }
                LimitMetric::Crashes { .. } => {
                    println!("{}: it is not started again", notification.plugin);
                    plugin.set_state(PluginState::Failed);
                    has_given_up = true;
                }
                _ => {}
            },
            // The snapshot is at least as new as the notification: it shows whether this crash exceeds
            // the limit.
            NotificationKind::CrashCounted { .. } if !is_exceeded(&collector, plugin) => {
                *child = spawn(plugin, script)?;
            }
            _ => {}
        }
    }
    for (_, _, child) in children.values_mut() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Whether the plugin is over one of its limits.
fn is_exceeded(collector: &Collector, plugin: &Plugin) -> bool {
    let snapshot = collector.snapshot();
    let view = snapshot.plugin(plugin.name());
    view.is_some_and(|view| view.limits().any(|status| status.state.is_exceeded()))
}

fn spawn(plugin: &Plugin, script: &str) -> Result<PluginChild, std::io::Error> {
    plugin.spawn(Command::new("sh").args(["-c", script]).stdin(Stdio::piped()), "1.0")
}
