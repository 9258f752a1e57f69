//! Any text as the header `Accept`: no panic, and OpenMetrics only if the header names it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugmeter::prometheus::Format;

fuzz_target!(|accept: &str| {
    let format = Format::negotiate(accept);
    let named = accept.to_ascii_lowercase().contains("application/openmetrics-text");
    assert!(named || format == Format::Prometheus, "{accept:?}");
    // Empty elements are ignored. Within an unclosed quoted string a comma is no separator.
    if !accept.contains('"') {
        assert_eq!(Format::negotiate(&format!(",{accept} , ,")), format, "{accept:?}");
        let zero_quality = format!("{accept},application/openmetrics-text;q=0");
        assert_eq!(Format::negotiate(&zero_quality), format, "{zero_quality:?}");
        let preferred = format!("{accept},application/openmetrics-text,text/plain;q=0.001");
        assert_eq!(Format::negotiate(&preferred), Format::OpenMetrics, "{preferred:?}");
    }
});
