//! Three hosts of ten plugins in Prometheus and in VictoriaMetrics: by scrape, with the files in
//! `examples/fleet/`, and by OTLP.
//!
//! Needs `prometheus`, `victoria-metrics`, `vmagent` and `vmalert`; `ci/tools/fetch_engines.sh` fetches
//! the last three. A test whose tool is missing reports that and passes; with `CI` in the environment it
//! fails.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod engines;
mod host;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use plugmeter::Window;
use plugmeter_test_support::wait_for;
use serde_json::Value;

use crate::engines::{Engine, Series, has_engines};
use crate::host::{BUSY, Host, PLUGINS};

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];
/// How much later than its stop a plugin's memory may have a value: the scrape interval, and a margin.
const MAX_MEMORY_AFTER_STOP: f64 = 10.0;
/// Ticks of the busy plugins before they are stopped.
const SAMPLES: usize = 60;

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fleet").join(file)
}

/// Copies the configuration of the example, with shorter intervals and the addresses of the hosts.
fn copy_configuration(hosts: &[Host], folder: &Path) {
    for file in ["prometheus.yml", "recording.yml", "alerts.yml"] {
        let text = fs::read_to_string(example(file)).unwrap();
        let text =
            text.replace("interval: 10s", "interval: 1s").replace("interval: 1m", "interval: 1s");
        fs::write(folder.join(file), text).unwrap();
    }
    let hosts = hosts.iter().map(|host| {
        let (name, address) = (host.name, host.page);
        format!("- targets: [\"{address}\"]\n  labels: {{ host: {name} }}\n")
    });
    fs::write(folder.join("hosts.yml"), hosts.collect::<String>()).unwrap();
}

/// A value for each host and plugin.
type ByPlugin = BTreeMap<(String, String), f64>;

fn by_plugin(series: &[Series]) -> ByPlugin {
    let label = |one: &Series, name: &str| one.labels.get(name).cloned().unwrap_or_default();
    let key = |one: &Series| (label(one, "host"), label(one, "plugin"));
    series.iter().map(|one| (key(one), one.value)).collect()
}

/// The hosts' own counters.
fn own(hosts: &[Host], value: impl Fn(plugmeter::PluginView<'_>) -> f64) -> ByPlugin {
    let mut all = ByPlugin::new();
    for host in hosts {
        for view in host.collector.snapshot().plugins() {
            all.insert((host.name.to_owned(), view.name().to_owned()), value(view));
        }
    }
    all
}

/// Where and how the series of the fleet can be found.
struct Source<'a> {
    engine: &'a Engine,
    job: &'static str,
}

fn assert_counters(sources: &[Source<'_>], hosts: &[Host]) {
    for Source { engine, job } in sources {
        for (counter, expected) in [
            ("plugin_events_total", own(hosts, |view| view.event_count() as f64)),
            ("plugin_crashes_total", own(hosts, |view| view.crash_count() as f64)),
            ("plugin_restarts_total", own(hosts, |view| view.restart_count() as f64)),
            ("plugin_cpu_seconds_total", own(hosts, |view| view.cpu_time().as_secs_f64())),
        ] {
            // The busy processes have ended, and the others sleep: nothing is counted any more.
            let query = format!(r#"{counter}{{job="{job}",kind=""}}"#);
            wait_for(&format!("{counter} of {job} in {}", engine.name), || {
                let found = by_plugin(&engine.query(&query)?);
                let is_equal = found.len() == expected.len()
                    && expected.iter().all(|(key, value)| {
                        found.get(key).is_some_and(|found| (found - value).abs() < 1e-6)
                    });
                is_equal.then_some(())
            });
        }
    }
}

/// The values of a plugin's CPU percentage in the history of its host, in ascending order.
fn sorted_cpu(host: &Host, plugin: &str) -> Vec<f64> {
    let snapshot = host.collector.snapshot();
    let history = snapshot.plugin(plugin).unwrap().history(Window::All);
    let mut values: Vec<_> = history.filter_map(|sample| sample.cpu_percent).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The engines interpolate between the two values around the rank 0.95 * (n - 1); the host takes the
/// value at its own rank, `min(floor(n * 95 / 100), n - 1)`, which is next to them.
fn assert_p95(pushed: &Source<'_>, hosts: &[Host]) {
    let Source { engine, job } = pushed;
    let mut of_hosts = Vec::new();
    for host in hosts {
        let (name, values) = (host.name, sorted_cpu(host, BUSY));
        let n = values.len();
        let rank = 0.95 * (n - 1) as f64;
        let (lower, upper) = (rank.floor() as usize, rank.ceil() as usize);
        let own_rank = (n * 95 / 100).min(n - 1);
        assert!((lower..=upper + 1).contains(&own_rank));
        let query = format!(
            r#"quantile_over_time(0.95, plugin_cpu_percent{{job="{job}",host="{name}",plugin="{BUSY}"}}[30m])"#
        );
        let found = wait_for(&format!("the p95 of {BUSY} on {name}: all {n} samples"), || {
            let count = query.replace("quantile_over_time(0.95, ", "count_over_time(");
            let is_complete = engine.query(&count)?.first()?.value == n as f64;
            is_complete.then(|| engine.query(&query))?.map(|series| series[0].value)
        });
        let bounds = values[lower] - 1e-6..=values[upper] + 1e-6;
        assert!(bounds.contains(&found), "{name}: {found} is not in {bounds:?}");
        let view = host.collector.snapshot();
        let own = view.plugin(BUSY).unwrap().aggregates(Window::All).unwrap().cpu.unwrap().p95;
        assert_eq!(own, values[own_rank]);
        of_hosts.push(found);
    }
    // Over the fleet: between the least and the largest of the hosts, for each of the plugins.
    let query = format!(
        r#"quantile by (plugin) (0.95, quantile_over_time(0.95, plugin_cpu_percent{{job="{job}"}}[30m]))"#
    );
    let fleet = engine.query(&query).unwrap();
    assert_eq!(fleet.len(), PLUGINS);
    let busy = fleet.iter().find(|series| series.labels["plugin"] == BUSY).unwrap().value;
    of_hosts.sort_by(f64::total_cmp);
    let bounds = of_hosts[1] - 1e-6..=of_hosts[2] + 1e-6;
    assert!(bounds.contains(&busy), "{busy} is not in {bounds:?}");
}

/// Asserts that the memory of the stopped plugin has ended, and when.
fn assert_memory_gone(Source { engine, job }: &Source<'_>, plugin: &str, stopped: SystemTime) {
    let of = |name: &str| format!(r#"{name}{{job="{job}",host="alpha",plugin="{plugin}"}}"#);
    wait_for(&format!("the stop of {plugin} in {} of {job}", engine.name), || {
        let up = engine.query(&of("plugin_up"))?;
        (up.first()?.value == 0.0).then_some(())
    });
    // The samples themselves, and the value that queries see.
    wait_for("the memory to end", || {
        engine.query(&of("plugin_resident_memory_bytes"))?.is_empty().then_some(())
    });
    let last = engine.newest_sample(&of("plugin_resident_memory_bytes")).unwrap();
    let stopped = stopped.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    println!(
        "{} of {job}: the last memory is of {:.1} s after the stop",
        engine.name,
        last - stopped
    );
    assert!(last - stopped <= MAX_MEMORY_AFTER_STOP, "{last} is long after {stopped}");
}

/// All queries of the dashboard, with its variables replaced as for "All".
fn dashboard_queries() -> Vec<String> {
    let text = fs::read_to_string(example("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$host", ".*").replace("$plugin", ".*");
        query.replace("$__rate_interval", "1m")
    });
    queries.collect()
}

fn assert_queries(prometheus: &Engine, victoria: &Engine) {
    let dashboard = dashboard_queries();
    assert!(dashboard.len() > 15);
    for engine in [prometheus, victoria] {
        for query in &dashboard {
            assert!(!query.contains('$'), "{query}");
            wait_for(&format!("{query} in {}", engine.name), || {
                let answer = engine.query(query)?;
                (!answer.is_empty()).then_some(())
            });
        }
    }
    // Prometheus lists the rules that it has loaded, and whether they could be evaluated.
    let groups = prometheus.get("/api/v1/rules", &[]).unwrap()["groups"].clone();
    let rules: Vec<_> = groups
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect();
    let count = |kind: &str| rules.iter().filter(|rule| rule["type"] == kind).count();
    assert_eq!((count("recording"), count("alerting")), (10, 6));
    for rule in &rules {
        let (name, query) = (&rule["name"], rule["query"].as_str().unwrap());
        wait_for(&format!("{name} to be evaluated"), || {
            let rules = prometheus.get("/api/v1/rules", &[])?;
            let text = rules.to_string();
            assert!(!text.contains(r#""health":"err""#), "{text}");
            (!text.contains(r#""health":"unknown""#)).then_some(())
        });
        assert!(victoria.query(query).is_some(), "{name} in {}: {query}", victoria.name);
        if rule["type"] == "recording" {
            let name = name.as_str().unwrap();
            for engine in [prometheus, victoria] {
                wait_for(&format!("{name} in {}", engine.name), || {
                    (!engine.query(name)?.is_empty()).then_some(())
                });
            }
        }
    }
}

#[test]
fn fleet_is_answered_by_real_engines() {
    if !has_engines() {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleet");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let victoria = Engine::victoria_metrics(&folder);
    let mut hosts: Vec<_> = HOSTS.map(|name| Host::start(name, &victoria)).into();
    copy_configuration(&hosts, &folder);
    let prometheus = Engine::prometheus(&folder);
    let _agent = Engine::vmagent(&folder, &victoria);
    let _alerts = Engine::vmalert(&folder, &victoria);

    let sources = [
        Source { engine: &prometheus, job: "plugins" },
        Source { engine: &victoria, job: "plugins" },
        Source { engine: &victoria, job: "pushed" },
    ];
    let all = (HOSTS.len() * PLUGINS) as f64;
    for Source { engine, job } in &sources {
        wait_for(&format!("all plugins of {job} in {}", engine.name), || {
            let up = engine.query(&format!(r#"sum(plugin_up{{job="{job}"}})"#))?;
            (up.first()?.value == all).then_some(())
        });
    }

    // In the middle: one plugin is stopped, and one crashes.
    let stopped = hosts[0].stop("stopping");
    hosts[1].crash("crashing");
    for source in &sources {
        assert_memory_gone(source, "stopping", stopped);
    }
    wait_for("samples of the busy plugins", || {
        hosts.iter().all(|host| sorted_cpu(host, BUSY).len() >= SAMPLES).then_some(())
    });
    for host in &mut hosts {
        host.stop_busy();
    }
    assert_counters(&sources, &hosts);
    let crashes = r#"sum(plugin_crashes_total{job="plugins"})"#;
    assert_eq!(prometheus.query(crashes).unwrap()[0].value, 1.0);
    assert_p95(&sources[2], &hosts);
    assert_queries(&prometheus, &victoria);

    // A host that has stopped is down for those that scrape, and its pushed series have ended.
    hosts[2].collector.stop();
    wait_for("the end of gamma", || {
        let up = prometheus.query(r#"up{host="gamma"}"#)?;
        let pushed = victoria.query(r#"plugin_up{job="pushed",host="gamma"}"#)?;
        (up.first()?.value == 0.0 && pushed.is_empty()).then_some(())
    });
}
