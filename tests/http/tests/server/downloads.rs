//! The history as CSV and JSON.

use std::time::{Duration, UNIX_EPOCH};

use plugmeter::Config;
use plugmeter::http::HttpConfig;
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter_http_tests::{Response, get, percent_encode, serve};
use plugmeter_test_support::names::HOSTILE_NAMES;

/// Parses CSV by RFC 4180, strictly. Each cell is its text, without quotes.
fn parse(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                assert!(cell.is_empty(), "quotes begin a cell: {csv}");
                loop {
                    match chars.next().expect("the quotes end") {
                        '"' if chars.peek() == Some(&'"') => cell.extend(chars.next()),
                        '"' => break,
                        c => cell.push(c),
                    }
                }
                assert!(matches!(chars.peek(), Some(',' | '\r')), "quotes end a cell: {csv}");
            }
            ',' => row.push(std::mem::take(&mut cell)),
            '\r' => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => {
                assert!(c != '\n', "a line ends with CR LF: {csv}");
                cell.push(c);
            }
        }
    }
    assert!(row.is_empty() && cell.is_empty(), "the last line ends: {csv}");
    rows
}

fn csv(response: &Response) -> Vec<Vec<String>> {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type").as_deref(), Some("text/csv; charset=utf-8"));
    parse(response.text())
}

fn column(rows: &[Vec<String>], name: &str) -> Vec<String> {
    let index = rows[0].iter().position(|cell| cell == name).unwrap();
    rows[1..].iter().map(|row| row[index].clone()).collect()
}

/// Twenty ticks, ten seconds apart, of which the eleventh has no value: CPU is 10 % and a percent more
/// at each.
fn sim() -> Simulation {
    let config = Config::default().poll_interval(Duration::from_secs(10));
    let mut sim = Simulation::new(config).unwrap();
    let dice = sim.register("dice").unwrap();
    dice.started(17, "1.0");
    let mut cpu_time = Duration::ZERO;
    for tick in 0..20_u64 {
        cpu_time += Duration::from_millis(1_000 + 100 * tick);
        dice.events().add(3);
        sim.tick(|_| match tick {
            10 => Observed::Denied,
            _ => Observed::from(Usage { cpu_time, memory_bytes: 8 << 20 }),
        });
    }
    sim
}

#[test]
fn download_has_every_sample_of_range() {
    let sim = sim();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let rows = csv(&get(address, "/api/history.csv?name=dice"));
    assert_eq!(rows.len(), 21);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let cpu = column(&rows, "cpu_percent");
    assert_eq!((cpu[1].as_str(), cpu[10].as_str(), cpu[19].as_str()), ("11", "", "29"));
    assert_eq!(column(&rows, "memory_mb")[0], "8");
    assert_eq!(
        column(&rows, "event_count"),
        (1..=20).map(|n| (n * 3).to_string()).collect::<Vec<_>>()
    );
    assert!(column(&rows, "version").iter().all(|version| version == "1.0"));
    assert!(column(&rows, "plugin").iter().all(|plugin| plugin == "dice"));
    let times = column(&rows, "timestamp");
    assert!(times[0] < times[19] && times[19].ends_with('Z'), "{times:?}");

    // The same in JSON.
    let response = get(address, "/api/history.json?name=dice");
    let json = response.json();
    assert_eq!(json.as_array().unwrap().len(), 20);
    assert_eq!(
        (json[1]["cpu_percent"].as_f64(), json[10]["cpu_percent"].as_f64()),
        (Some(11.0), None)
    );
    let keys: Vec<_> = json[0].as_object().unwrap().keys().cloned().collect();
    let mut expected = rows[0].clone();
    expected.sort();
    assert_eq!(keys, expected);

    // A window, a zoom, and fewer points.
    let count =
        |query: &str| csv(&get(address, &format!("/api/history.csv?name=dice{query}"))).len() - 1;
    assert_eq!(count("&window=40"), 5);
    let millis = |tick: u64| {
        let at = sim.snapshot().sampled_at() - Duration::from_secs(10 * (20 - tick));
        at.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    };
    assert_eq!(count(&format!("&from={}&to={}", millis(3) - 5, millis(7) + 5)), 5);
    assert_eq!(count(&format!("&window=40&from={}&to={}", millis(3) - 5, millis(7) + 5)), 5);
    assert_eq!(count("&from=1&to=2"), 0);
    assert!((3..=6).contains(&count("&points=5")));
    let json = get(address, "/api/history.json?name=dice&from=1&to=2").json();
    assert_eq!(json, serde_json::json!([]));
}

#[test]
fn names_in_csv_are_text() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\u{ff1d}1"];
    let names: Vec<_> = HOSTILE_NAMES.into_iter().chain(formulas).collect();
    for (pid, name) in (1..).zip(&names) {
        sim.register(name).unwrap().started(pid, name);
    }
    sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for name in names {
        let response = get(address, &format!("/api/history.csv?name={}", percent_encode(name)));
        let rows = csv(&response);
        assert_eq!((rows.len(), rows[1].len()), (2, rows[0].len()), "{name}");
        for cell in [&column(&rows, "plugin")[0], &column(&rows, "version")[0]] {
            assert_eq!(cell.strip_prefix('\'').filter(|_| cell != name).unwrap_or(cell), name);
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\u{ff1d}']), "{cell}");
        }
        let file = response.header("content-disposition").unwrap();
        let file = file.strip_prefix("attachment; filename=\"plugmeter-").unwrap();
        let file = file.strip_suffix(".csv\"").unwrap();
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(file.chars().all(is_safe), "{name}: {file}");
        let json = get(address, &format!("/api/history.json?name={}", percent_encode(name))).json();
        assert_eq!((&json[0]["plugin"], &json[0]["version"]), (&name.into(), &name.into()));
    }
}

/// More runs than a view lists.
#[test]
fn download_of_crash_loop_has_every_version() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let plugin = sim.register("dice").unwrap();
    for run in 0..300 {
        plugin.started(100 + run, &format!("1.{run}"));
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
        plugin.crashed();
    }
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let rows = csv(&get(address, "/api/history.csv?name=dice"));
    let expected: Vec<_> = (0..300).map(|run| format!("1.{run}")).collect();
    assert_eq!(column(&rows, "version"), expected);
}

#[test]
fn invalid_download_is_an_error() {
    let (_server, address) = serve(sim().reader(), HttpConfig::default());
    for file in ["csv", "json"] {
        for (query, status, message) in [
            ("name=nobody", 404, "no plugin is registered as \"nobody\""),
            ("", 400, "name is missing"),
            ("name=dice&window=x", 400, "window is not a number"),
            ("name=dice&from=5", 400, "to is missing"),
            ("name=dice&from=5&to=5", 400, "from is not before to"),
            ("name=dice&points=0", 400, "points is not a number"),
        ] {
            let response = get(address, &format!("/api/history.{file}?{query}"));
            assert_eq!(response.status, status, "{query}");
            let error = response.error_message();
            assert!(error.starts_with(message), "{query}: {error}");
            assert_eq!(response.header("content-disposition"), None, "{query}");
        }
    }
}
