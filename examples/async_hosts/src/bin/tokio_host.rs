//! A host on tokio: its tasks wait for the plugins' processes and read snapshots, and never wait
//! for the sampler.
//!
//! ```sh
//! cargo run --release -p plugmeter-async-hosts --bin tokio_host
//! ```

use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use plugmeter::{Collector, Config, EventCounter, Plugin, Reader};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};

/// The name and the shell script of each plugin, and how many times it is started.
const PLUGINS: [(&str, &str, u32); 3] = [
    ("greeter", "for i in 1 2 3; do echo hello; sleep 0.3; done", 2),
    ("busy", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done", 3),
    ("crashing", "echo here; sleep 0.4; exit 3", 3),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::default().poll_interval(Duration::from_millis(100));
    let collector = Collector::start(config)?;

    let mut tending = Vec::new();
    for (name, script, times) in PLUGINS {
        // Registering locks a mutex briefly, but does not wait for the sampler.
        tending.push(tokio::spawn(tend(collector.register(name)?, script, times)));
    }
    let watching = tokio::spawn(watch(collector.reader()));
    for plugin in tending {
        plugin.await??;
    }
    watching.abort();

    // `sample_now` waits for the sampler, so it must not run on a thread of the runtime.
    let last = tokio::task::spawn_blocking(move || collector.sample_now()).await??;
    println!("\n{last}");
    for plugin in last.plugins() {
        for run in plugin.runs() {
            let end = run.end.map_or_else(|| "still running".to_owned(), |end| end.to_string());
            println!("{} {}: {end}", plugin.name(), run.version.as_deref().unwrap_or("-"));
        }
    }
    Ok(())
}

/// Runs one process after the other, and reports the exit of each.
async fn tend(plugin: Plugin, script: &'static str, times: u32) -> std::io::Result<()> {
    for nth in 0..times {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.kill_on_drop(true);
        let mut child = plugmeter::tokio::spawn(&plugin, &mut command, &format!("1.{nth}"))?;
        if let Some(stdout) = child.stdout.take() {
            count_lines(stdout, plugin.events()).await?;
        }
        child.wait().await?;
    }
    Ok(())
}

async fn count_lines(stdout: ChildStdout, events: &EventCounter) -> std::io::Result<()> {
    let mut lines = BufReader::new(stdout).lines();
    while lines.next_line().await?.is_some() {
        events.increment();
    }
    Ok(())
}

/// Prints the plugin with the highest CPU usage, twice a second.
async fn watch(reader: Reader) {
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    loop {
        beat.tick().await;
        let snapshot = reader.snapshot();
        let busiest = snapshot.plugins().filter_map(|plugin| plugin.current());
        let busiest =
            busiest.max_by(|a, b| a.cpu_percent.partial_cmp(&b.cpu_percent).expect("numbers"));
        if let Some(sample) = busiest
            && let Some(cpu) = sample.cpu_percent
        {
            println!("busiest: {} with {cpu:.1} % of a core", sample.plugin_name);
        }
    }
}
