//! Records CPU and memory of any programs, with their descendants, to one CSV file each, and prints what is
//! found of them.
//!
//! ```sh
//! cargo run --release --example record -- SECONDS INTERVAL_MS DIRECTORY NAME=COMMAND...
//! cargo run --release --example record -- 3600 5000 /tmp/series 'web=node server.js' 'job=sh job.sh'
//! ```
//!
//! Each command is run by `sh -c`. A line of a file is one sample: CPU in percent of one core, and
//! resident memory in KiB, both empty if they are unknown.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use plugmeter::{Collector, Config, Window};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [seconds, interval, directory, programs @ ..] = &arguments[..] else {
        return Err("SECONDS INTERVAL_MS DIRECTORY NAME=COMMAND...".into());
    };
    let time = Duration::from_secs(seconds.parse()?);
    let interval = Duration::from_millis(interval.parse()?);
    let config = Config::default().poll_interval(interval).history_duration(time.max(interval));
    let collector = Collector::start(config)?;

    let mut children = Vec::new();
    for program in programs {
        let (name, command) = program.split_once('=').ok_or("NAME=COMMAND")?;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null());
        children.push(collector.register(name)?.spawn(&mut shell, "1")?);
    }
    thread::sleep(time);

    let snapshot = collector.sample_now()?;
    fs::create_dir_all(directory)?;
    for view in snapshot.plugins() {
        let mut csv = String::from("cpu_percent,memory_kib\n");
        for sample in view.history(Window::All) {
            let cpu = sample.tree_cpu_percent.map_or_else(String::new, |cpu| format!("{cpu:.2}"));
            let kib = sample.tree_memory_bytes.map(|bytes| (bytes / 1_024).to_string());
            writeln!(csv, "{cpu},{}", kib.unwrap_or_default())?;
        }
        fs::write(Path::new(directory).join(view.name()).with_extension("csv"), csv)?;
    }
    println!("{}", snapshot.findings());
    for child in &mut children {
        child.stop(Duration::from_secs(1))?;
    }
    Ok(())
}
