//! Any text as the JSON of a config: it is refused or read, never with a panic; what was read is
//! written so that it reads back as the same, and a simulation takes it or says what is wrong with
//! it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugmeter::Config;
use plugmeter::http::{self, HttpConfig, HttpError};
use plugmeter::testing::{Simulation, Usage};

fuzz_target!(|text: &str| {
    of_server(text);
    let Ok(config) = serde_json::from_str::<Config>(text) else { return };
    let json = serde_json::to_string(&config).expect("a config can be written");
    let back: Config = serde_json::from_str(&json).expect("what was written can be read");
    // Up to here a float tells every nanosecond from the next.
    let tells = |key: &str| {
        let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        value[key].as_f64().is_some_and(|seconds| seconds < 1e6)
    };
    if tells("poll_interval") && tells("history_duration") {
        assert_eq!(back, config, "{json}");
    }
    match Simulation::new(config) {
        Ok(mut sim) => {
            sim.register("dice").expect("a good name").started(1, "");
            for _ in 0..3 {
                sim.tick(|_| None::<Usage>);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// The same for the config of the server: a router takes it or says what is wrong.
fn of_server(text: &str) {
    let Ok(config) = serde_json::from_str::<HttpConfig>(text) else { return };
    let json = serde_json::to_string(&config).expect("a config can be written");
    let back: HttpConfig = serde_json::from_str(&json).expect("what was written can be read");
    assert_eq!(back, config, "{json}");
    let sim = Simulation::new(Config::default()).expect("the default is good");
    match http::router(sim.reader(), config) {
        Ok(_) => {}
        Err(HttpError::Config { setting, .. }) => assert!(json.contains(setting), "{json}"),
        Err(other) => panic!("{other}"),
    }
}
