//! The process-wide collector, for a program that does not pass one around.
//!
//! ```sh
//! cargo run --example global
//! ```

use std::error::Error;
use std::process;
use std::thread;
use std::time::Duration;

use plugmeter::{Config, Window};

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::default().poll_interval(Duration::from_millis(500));
    let collector = plugmeter::init(config)?;

    // Any process can be a plugin; here it is the host itself.
    let plugin = collector.register("self")?;
    plugin.started(process::id(), env!("CARGO_PKG_VERSION"));

    let threads = [(); 4].map(|()| thread::spawn(work));
    for thread in threads {
        thread.join().expect("work does not panic");
    }

    let snapshot = collector.sample_now()?;
    println!("{snapshot}\n");
    for view in snapshot.plugins() {
        if let Some(aggregates) = view.aggregates(Window::All) {
            println!("{aggregates}");
        }
    }
    collector.stop();
    Ok(())
}

/// Uses the process-wide collector without a parameter.
fn work() {
    let plugin = plugmeter::global().and_then(|collector| collector.plugin("self"));
    for _ in 0..230 {
        thread::sleep(Duration::from_millis(10));
        if let Some(plugin) = &plugin {
            plugin.events().increment();
        }
    }
}
