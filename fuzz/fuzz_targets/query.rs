//! Any text as a query: no panic; values are within their bounds, and an encoded name round-trips.
#![no_main]

use std::fmt::Write as _;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use plugmeter::Window;
use plugmeter::fuzzing::{Parameters, parameters};

fuzz_target!(|text: &str| {
    let Parameters { name: _, since, window, points, zoom } = parameters(text);
    if let Ok(points) = points {
        assert!((1..=10_000).contains(&points), "{text:?}");
    }
    if let Ok(Window::Last(last)) = window {
        assert!(last < Duration::MAX, "{text:?}");
    }
    if let Ok(Some([from, to])) = zoom {
        assert!(from < to, "{text:?}");
    }
    // A parameter that is given twice is an error.
    if let Ok(Some(_)) = since {
        assert!(parameters(&format!("{text}&since=1")).since.is_err(), "{text:?}");
    }
    let mut encoded = String::from("x=1&name=");
    for byte in text.bytes() {
        write!(encoded, "%{byte:02x}").expect("writing to a string does not fail");
    }
    assert_eq!(parameters(&encoded).name, Ok(Some(text.to_owned())));
    assert!(parameters(&format!("{encoded}&name")).name.is_err());
});
