//! A host on tokio that acts on limits: it restarts a plugin that uses too much memory, and gives up on
//! a plugin that crashes too often. Its tasks wait for notifications, and nothing polls.
//!
//! The times are short, so that the program ends after some seconds.
//!
//! ```sh
//! cargo run --release -p plugmeter-async-hosts --bin limits_host
//! ```

use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use plugmeter::{
    Collector, Config, Limit, LimitMetric, Limits, NotificationKind, Plugin, PluginState, Reader,
    Subscription,
};
use tokio::process::Command;

/// Takes 64 MB after a moment. What the shell starts ends within a second after it.
const LEAKY: &str =
    "sleep 0.5; text=$(head -c 64000000 /dev/zero | tr '\\0' x); while :; do sleep 1; done";
/// Crashes after a moment.
const CRASHY: &str = "sleep 0.3; exit 3";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A real host would use the default interval, and limits of a minute or more.
    let memory = Limit::new(LimitMetric::MemoryMb, 32.0).lasting(Duration::from_millis(400));
    let crashes = Limit::new(LimitMetric::Crashes { within: Duration::from_secs(600) }, 2.0);
    let limits = Limits::default().rule(memory).rule(crashes);
    let config = Config::default().poll_interval(Duration::from_millis(100)).limits(limits);
    let collector = Collector::start(config)?;
    let log = tokio::spawn(print(collector.subscribe()));

    let mut tending = Vec::new();
    for (name, script) in [("leaky", LEAKY), ("crashy", CRASHY)] {
        let (notifications, plugin) = (collector.subscribe(), collector.register(name)?);
        tending.push(tokio::spawn(tend(notifications, plugin, collector.reader(), script)));
    }
    for plugin in tending {
        plugin.await??;
    }
    // It waits for the sampler, so it must not run on a thread of the runtime.
    tokio::task::spawn_blocking(move || collector.stop()).await?;
    log.await?;
    Ok(())
}

/// Prints all notifications, until the collector has stopped.
async fn print(notifications: Subscription) {
    while let Some(notification) = notifications.next().await {
        println!("{notification}");
    }
}

/// Runs the plugin until it was over its limit of memory twice, or has crashed too often.
async fn tend(
    notifications: Subscription,
    plugin: Plugin,
    reader: Reader,
    script: &'static str,
) -> std::io::Result<()> {
    let mut over_memory = 0;
    while over_memory < 2 {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = plugmeter::tokio::spawn(&plugin, &mut command, "1.0")?;
        tokio::select! {
            // The end is reported when it is waited for.
            status = child.wait() => {
                status?;
                if gives_up(&reader, &plugin).await {
                    plugin.set_state(PluginState::Failed);
                    return Ok(());
                }
            }
            () = memory_exceeded(&notifications, plugin.name()) => {
                over_memory += 1;
                child.stop(Duration::from_secs(1)).await?;
            }
        }
    }
    Ok(())
}

/// Waits until the plugin is over its limit of memory.
async fn memory_exceeded(notifications: &Subscription, name: &str) {
    while let Some(notification) = notifications.next().await {
        if let NotificationKind::LimitExceeded(status) = &notification.kind
            && status.limit.metric == LimitMetric::MemoryMb
            && *notification.plugin == *name
        {
            return;
        }
    }
}

/// Whether the crashes of the plugin are over its limit, once its exit was applied.
async fn gives_up(reader: &Reader, plugin: &Plugin) -> bool {
    let mut snapshot = reader.snapshot();
    loop {
        if let Some(view) = snapshot.plugin(plugin.name())
            && view.run().is_none()
        {
            return view.limits().any(|status| status.state.is_exceeded());
        }
        match reader.changed(&snapshot).await {
            Some(newer) => snapshot = newer,
            None => return true,
        }
    }
}
