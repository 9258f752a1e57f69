//! Any text as the header `Accept`: no panic, and OpenMetrics only for who has named it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugmeter::prometheus::Format;

fuzz_target!(|accept: &str| {
    let format = Format::negotiate(accept);
    let named = accept.to_ascii_lowercase().contains("application/openmetrics-text");
    assert!(named || format == Format::Prometheus, "{accept:?}");
    // Lists of headers are joined by commas, and an element that is empty says nothing; but within
    // a string that is not closed a comma is no separator.
    if !accept.contains('"') {
        assert_eq!(Format::negotiate(&format!(",{accept} , ,")), format, "{accept:?}");
        let refused = format!("{accept},application/openmetrics-text;q=0");
        assert_eq!(Format::negotiate(&refused), format, "{refused:?}");
        let asked = format!("{accept},application/openmetrics-text,text/plain;q=0.001");
        assert_eq!(Format::negotiate(&asked), Format::OpenMetrics, "{asked:?}");
    }
});
