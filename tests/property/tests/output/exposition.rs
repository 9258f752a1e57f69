//! Expositions of hostile names and versions, read back by a strict parser.

use std::time::Duration;

use plugmeter::Config;
use plugmeter::prometheus::{self, Format};
use plugmeter::testing::{Simulation, Usage};
use plugmeter_property_tests::hostile_text;
use plugmeter_test_support::exposition::{Labels, Parsed};
use proptest::prelude::*;

proptest! {
    #[test]
    fn hostile_labels_round_trip(
        plugins in prop::collection::btree_map(hostile_text(1..=20), hostile_text(0..=20), 0..6),
    ) {
        let mut sim = Simulation::new(Config::default()).unwrap();
        for ((name, version), pid) in plugins.iter().zip(1..) {
            sim.register(name).unwrap().started(pid, version);
        }
        sim.tick(|_| Usage { cpu_time: Duration::from_millis(1_234), memory_bytes: 1 << 20 });
        let known = plugins.iter().filter(|(_, version)| !version.is_empty());
        let known: Vec<_> = known.map(|(name, version)| (name.clone(), version.clone())).collect();
        for format in [Format::OpenMetrics, Format::Prometheus] {
            let page = Parsed::of(&prometheus::render(&sim.snapshot(), format));
            page.assert_sound("plugin_state");
            let of = |family: &str| -> Vec<Labels> {
                let samples = page.samples.iter().filter(|sample| sample.0 == family);
                samples.map(|sample| sample.1.clone()).collect()
            };
            let up: Vec<_> = of("plugin_up").into_iter().map(|l| l["plugin"].clone()).collect();
            prop_assert_eq!(up, plugins.keys().cloned().collect::<Vec<_>>());
            let infos = of("plugin_info").into_iter();
            let infos: Vec<_> =
                infos.map(|l| (l["plugin"].clone(), l["version"].clone())).collect();
            prop_assert_eq!(&infos, &known);
        }
    }

    #[test]
    fn negotiation_accepts_any_header(accept in hostile_text(0..=20)) {
        let _ = Format::negotiate(&accept);
        let _ = Format::negotiate(&format!("application/openmetrics-text;{accept}"));
    }
}
