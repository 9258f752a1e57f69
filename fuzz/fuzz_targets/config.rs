//! Arbitrary text as the JSON of a config: it is parsed or rejected without a panic. A parsed
//! config serializes to JSON that parses to the same config, and a simulation accepts it or returns
//! an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugmeter::Config;
use plugmeter::http::{self, HttpConfig, HttpError};
use plugmeter::testing::{Simulation, Usage};

fuzz_target!(|text: &str| {
    check_server_config(text);
    let Ok(config) = serde_json::from_str::<Config>(text) else { return };
    let json = serde_json::to_string(&config).expect("a config serializes");
    let back: Config = serde_json::from_str(&json).expect("its JSON parses");
    // Below a million seconds, adjacent f64 values are less than a nanosecond apart.
    let is_exact = |key: &str| {
        let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        value[key].as_f64().is_some_and(|seconds| seconds < 1e6)
    };
    if is_exact("poll_interval") && is_exact("history_duration") {
        assert_eq!(back, config, "{json}");
    }
    match Simulation::new(config) {
        Ok(mut sim) => {
            sim.register("dice").expect("the name is valid").started(1, "");
            for _ in 0..3 {
                sim.tick(|_| None::<Usage>);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Checks the server's config in the same way, with a router.
fn check_server_config(text: &str) {
    let Ok(config) = serde_json::from_str::<HttpConfig>(text) else { return };
    let json = serde_json::to_string(&config).expect("a config serializes");
    let back: HttpConfig = serde_json::from_str(&json).expect("its JSON parses");
    assert_eq!(back, config, "{json}");
    let sim = Simulation::new(Config::default()).expect("the default is valid");
    match http::router(sim.reader(), config) {
        Ok(_) => {}
        Err(HttpError::Config { setting, .. }) => assert!(json.contains(setting), "{json}"),
        Err(other) => panic!("{other}"),
    }
}
