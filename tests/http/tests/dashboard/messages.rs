//! Texts of the dashboard: verdict, messages and rows.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Collector, Config, Limit, LimitMetric, Limits, Plugin, PluginState};

use crate::markup::{tags, text_of};
use crate::{MB, ROW, every, page, serve};

/// Usage of `percent` of a core and constant memory at every tick.
fn steady(percent: u64, interval: u64) -> impl FnMut(u32) -> Usage {
    let mut cpu_time = Duration::ZERO;
    move |_| {
        cpu_time += Duration::from_millis(percent * interval * 10);
        Usage { cpu_time, memory_bytes: 20 * MB }
    }
}

/// Returns the verdict and the messages below it.
fn verdict_and_messages(sim: &Simulation) -> (String, Vec<String>) {
    let (_server, address) = serve(sim.reader());
    let page = page(address, "/");
    let findings = text_of(&page, "ul", "findings");
    let findings = findings.split('\n').map(str::trim).filter(|text| !text.is_empty());
    (text_of(&page, "h1", "verdict"), findings.map(str::to_owned).collect())
}

/// Time of the simulation's tick less `ago` seconds, in UTC, as the page formats it.
fn clock(sim: &Simulation, ago: u64) -> String {
    clock_at(sim, sim.snapshot().sampled_at() - Duration::from_secs(ago))
}

/// A time in UTC, as the page formats it at the simulation's tick: with the date if that was another day.
fn clock_at(sim: &Simulation, at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    let today = humantime::format_rfc3339_seconds(sim.snapshot().sampled_at()).to_string();
    if text[..10] == today[..10] {
        text[11..16].to_owned()
    } else {
        format!("{} {}", &text[5..10], &text[11..16])
    }
}

#[test]
fn healthy_plugins_have_no_findings() {
    let mut sim = Simulation::new(every(5)).unwrap();
    assert_eq!(verdict_and_messages(&sim), ("No plugin is registered.".to_owned(), vec![]));
    sim.register("dice").unwrap().started(1, "");
    let mut usage = steady(10, 5);
    sim.tick(&mut usage);
    assert_eq!(verdict_and_messages(&sim).0, "All is well: the one plugin is running.");
    let other = sim.register("8ball").unwrap();
    other.started(2, "");
    sim.advance(Duration::from_secs(1));
    assert_eq!(
        verdict_and_messages(&sim),
        ("All is well: 2 plugins are running.".to_owned(), vec![])
    );
    other.stopped();
    sim.advance(Duration::from_secs(1));
    assert_eq!(
        verdict_and_messages(&sim),
        ("All is well: 1 of 2 plugins running.".to_owned(), vec![])
    );
}

#[test]
fn exceeded_limit_is_reported_with_onset() {
    let limit = Limit::new(LimitMetric::CpuPercent, 50.0).grace(Duration::ZERO);
    let mut sim = Simulation::new(every(10).limits(Limits::default().rule(limit))).unwrap();
    sim.register("8ball").unwrap().started(1, "");
    sim.register("dice").unwrap();
    let mut cpu_time = Duration::ZERO;
    for tick in 0..20 {
        cpu_time += Duration::from_millis(if tick < 8 { 3_000 } else { 9_700 });
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    // The newest twelve samples exceed the threshold. The first of them is 110 s before the last.
    let since = clock(&sim, 110);
    let expected =
        format!("warning: 8ball: CPU over the limit of 50\u{a0}%, now 97.00\u{a0}%, since {since}");
    assert_eq!(verdict_and_messages(&sim), ("1 of 2 needs attention.".to_owned(), vec![expected]));
}

#[test]
fn high_cpu_is_reported_with_onset() {
    let mut sim = Simulation::new(every(5)).unwrap();
    sim.register("8ball").unwrap().started(1, "");
    sim.register("dice").unwrap();
    let mut cpu_time = Duration::ZERO;
    for tick in 0..330 {
        cpu_time += Duration::from_millis(if tick < 300 { 1_000 } else { 4_000 });
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    // The newest thirty samples are higher. The first of them is 145 s before the last.
    let since = clock(&sim, 145);
    let expected = format!("warning: 8ball: CPU 80\u{a0}% since {since} (normally 20\u{a0}%)");
    assert_eq!(verdict_and_messages(&sim), ("1 of 2 needs attention.".to_owned(), vec![expected]));
}

#[test]
fn onset_before_history_is_reported_as_before() {
    let config = every(5).history_duration(Duration::from_secs(300));
    let mut sim = Simulation::new(config).unwrap();
    sim.register("8ball").unwrap().started(1, "");
    let mut usage = steady(100, 5);
    (0..100).for_each(|_| sim.tick(&mut usage));
    let expected = format!(
        "warning: 8ball: a whole core (100\u{a0}%) since before {}, it may be at its limit",
        clock(&sim, 295)
    );
    assert_eq!(verdict_and_messages(&sim).1, [expected]);
}

#[test]
fn crashes_are_reported_with_count_and_time() {
    let mut sim = Simulation::new(every(10)).unwrap();
    let dice = sim.register("dice").unwrap();
    let crash = |sim: &mut Simulation| {
        dice.started(1, "");
        sim.tick(|_| Observed::from(Usage { cpu_time: Duration::ZERO, memory_bytes: MB }));
        sim.tick(|_| Observed::Exited(3));
        sim.advance(Duration::from_secs(2));
    };
    sim.tick(|_| None);
    crash(&mut sim);
    // The tick has detected the exit.
    let expected = format!("error: dice: crashed, down since {} (exit code 3)", clock(&sim, 0));
    assert_eq!(verdict_and_messages(&sim), ("1 of 1 needs attention.".to_owned(), vec![expected]));

    crash(&mut sim);
    crash(&mut sim);
    let at = sim.snapshot().sampled_at();
    // The first of four ticks since, and the time between, has counted the first crash.
    let first = at - Duration::from_secs(32);
    let crash_loop = |sim: &Simulation| {
        let [first, at] = [first, at].map(|at| clock_at(sim, at));
        format!("error: dice: crash loop, 3 crashes since {first}, last at {at}")
    };
    let down = format!("{}; crashed, down (exit code 3)", crash_loop(&sim));
    assert_eq!(verdict_and_messages(&sim).1, [down]);

    dice.started(2, "");
    let alive = |_| Usage { cpu_time: Duration::ZERO, memory_bytes: MB };
    sim.tick(alive);
    assert_eq!(verdict_and_messages(&sim).1, [crash_loop(&sim)]);
    let crashes = |sim: &Simulation, window: &str| {
        let at = clock_at(sim, at);
        format!("warning: dice: crashed 3 times in the last {window}, last at {at}")
    };
    // Two minutes later it is over.
    (0..20).for_each(|_| sim.tick(alive));
    assert_eq!(verdict_and_messages(&sim).1, [crashes(&sim, "10 minutes")]);
    // A quarter of an hour later the crashes have left the last 10 minutes.
    (0..90).for_each(|_| sim.tick(alive));
    assert_eq!(verdict_and_messages(&sim).1, [crashes(&sim, "hour")]);
    // After an hour they have left the last hour.
    (0..300).for_each(|_| sim.tick(alive));
    assert_eq!(
        verdict_and_messages(&sim),
        ("All is well: the one plugin is running.".to_owned(), vec![])
    );
}

#[test]
fn crashes_before_first_sample_are_counted() {
    let mut sim = Simulation::new(every(10)).unwrap();
    // One plugin crashes before the first tick, and one after others were sampled.
    for name in ["first", "later"] {
        let plugin = sim.register(name).unwrap();
        for pid in 1..=2 {
            plugin.started(pid, "");
            plugin.crashed();
        }
        plugin.started(3, "");
        let alive = |_| Usage { cpu_time: Duration::ZERO, memory_bytes: MB };
        let at = sim.snapshot().sampled_at();
        let last = |sim: &Simulation, window: &str| {
            let at = clock_at(sim, at);
            format!("warning: {name}: crashed twice in the last {window}, last at {at}")
        };
        (0..3).for_each(|_| sim.tick(alive));
        let (_, findings) = verdict_and_messages(&sim);
        let last_minutes = last(&sim, "10 minutes");
        assert!(findings.contains(&last_minutes), "no {last_minutes:?} in {findings:?}");
        let (_server, address) = serve(sim.reader());
        let data = crate::json(address, "/page/rows");
        let row = data["rows"].as_array().unwrap().iter().find(|row| row[0] == name).unwrap();
        assert_eq!((&row[9], &row[10]), (&2.into(), &2.into()), "{name}: last hour, and all");
        if name == "later" {
            // Half an hour later the crashes are in the last hour, but not in the last ten minutes.
            (0..180).for_each(|_| sim.tick(alive));
            let last = last(&sim, "hour");
            assert!(
                verdict_and_messages(&sim).1.contains(&last),
                "no {last:?} in {:?}",
                verdict_and_messages(&sim).1
            );
        }
    }
    // After an hour all crashes are too old.
    (0..361).for_each(|_| {
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: MB });
    });
    let (_server, address) = serve(sim.reader());
    let data = crate::json(address, "/page/rows");
    for row in data["rows"].as_array().unwrap() {
        assert_eq!((&row[9], &row[10]), (&0.into(), &2.into()), "{row}");
    }
}

#[test]
fn memory_growth_is_reported_with_rate() {
    let mut sim = Simulation::new(every(5)).unwrap();
    sim.register("trivia").unwrap().started(1, "");
    for tick in 0..720 {
        let memory_bytes = 900 * MB + tick * MB / 10;
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes });
    }
    let (verdict, findings) = verdict_and_messages(&sim);
    assert_eq!(verdict, "All is well: the one plugin is running.");
    let expected = "note: trivia: memory grows by 72\u{a0}MB an hour since ";
    assert!(findings.len() == 1 && findings[0].starts_with(expected), "{findings:?}");
}

#[test]
fn read_error_is_reported_with_reason() {
    let mut sim = Simulation::new(every(10)).unwrap();
    let names = ["denied", "failed", "none", "unhealthy"];
    let plugins: Vec<Plugin> = names.iter().map(|name| sim.register(name).unwrap()).collect();
    plugins[0].started(1, "");
    plugins[2].started(0, "");
    plugins[3].started(3, "");
    sim.tick(|pid| {
        if pid == 1 {
            Observed::Denied
        } else {
            Observed::Running(Usage { cpu_time: Duration::ZERO, memory_bytes: MB })
        }
    });
    plugins[1].set_state(PluginState::Failed);
    plugins[3].set_state(PluginState::Unhealthy);
    sim.advance(Duration::from_secs(1));
    let (verdict, findings) = verdict_and_messages(&sim);
    assert_eq!(verdict, "4 of 4 need attention.");
    let (first, now) = (clock(&sim, 10), clock(&sim, 0));
    // Reports are applied when time advances the next time: at the tick or at the end.
    let either = |text: &str, after: &str| [&first, &now].map(|at| format!("{text} {at}{after}"));
    assert!(either("error: failed: failed, down since", "").contains(&findings[0]), "{findings:?}");
    assert!(either("error: none: failed, down since", "").contains(&findings[1]), "{findings:?}");
    assert_eq!(findings.len(), 5);
    let invalid = "warning: none: the pid is not the id of a process since ";
    assert!(findings[2..].iter().any(|text| text.starts_with(invalid)), "{findings:?}");
    let denied = "warning: denied: no permission to read the process since ";
    assert!(findings.iter().any(|text| text.starts_with(denied)), "{findings:?}");
    assert!(
        findings[2..].iter().any(|text| text.starts_with("warning: unhealthy: unhealthy since "))
    );
}

#[test]
fn first_page_is_complete_and_worst_first() {
    let mut sim = Simulation::new(every(5)).unwrap();
    let limit = Limit::new(LimitMetric::CpuPercent, 50.0).grace(Duration::ZERO);
    let limits = Limits::default().rule(limit.lasting(Duration::ZERO));
    for (pid, name) in [(1, "busy"), (2, "calm"), (3, "denied")] {
        let plugin = sim.register(name).unwrap();
        plugin.set_limits(limits.clone()).unwrap();
        plugin.started(pid, &format!("1.{pid}"));
    }
    sim.register("never").unwrap();
    let mut cpu_time = Duration::ZERO;
    for _ in 0..3 {
        cpu_time += Duration::from_secs(1);
        sim.tick(|pid| match pid {
            1 => Observed::from(Usage { cpu_time: cpu_time * 4, memory_bytes: 30 * MB }),
            2 => Observed::from(Usage { cpu_time, memory_bytes: 25 * MB }),
            _ => Observed::Denied,
        });
    }
    let (_server, address) = serve(sim.reader());
    let page = page(address, "/");
    let rows: Vec<String> = page
        .split(ROW)
        .skip(1)
        .map(|row| {
            let row = row.split("</tr>").next().unwrap();
            // Separates the texts of adjacent elements.
            let row = row.replace('<', " <");
            text_of(&format!("<x id=\"row\" data-name=\"{row}</x>"), "x", "row")
                .replace('\u{a0}', " ")
        })
        .collect();
    // The last row is the empty row that the script copies.
    assert_eq!(rows.len(), 5);
    let cells = |nth: usize| rows[nth].split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(cells(0).starts_with("warning busy 1.1 pid 1 Running since"), "{}", cells(0));
    assert!(cells(0).contains("80.0 % p95 80.0 % 30.0 MB \u{b1}0"), "{}", cells(0));
    assert!(cells(1).starts_with("warning denied") && cells(1).contains("unknown"), "{}", cells(1));
    assert!(!cells(1).contains("0.0 %"), "{}", cells(1));
    assert!(cells(2).starts_with("ok calm") && cells(2).contains("20.0 %"), "{}", cells(2));
    assert!(cells(3).starts_with("ok never") && cells(3).contains('\u{2013}'), "{}", cells(3));
    for (nth, is_drawn) in [(0, true), (2, true), (3, false)] {
        let row = page.split(ROW).nth(nth + 1).unwrap();
        let line = row.split("data-l=\"cpu\" d=\"").nth(1).unwrap();
        assert_eq!(line.starts_with('M'), is_drawn, "the line of row {nth}");
    }
}

#[test]
fn banner_distinguishes_stopped_and_late() {
    let collector = Collector::start(every(3_600)).unwrap();
    collector.sample_now().unwrap();
    let (_server, address) = serve(collector.reader());
    assert!(page(address, "/").contains("id=\"banner\"") && banner(address).is_none());
    collector.stop();
    let (kind, text) = banner(address).unwrap();
    assert_eq!(kind, "stopped");
    assert!(text.contains("The collector is stopped."), "{text}");

    // The simulation does not advance, so its collector becomes late.
    let config = Config::default().poll_interval(Duration::from_millis(10));
    let mut sim = Simulation::new(config).unwrap();
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader());
    let (kind, text) = plugmeter_test_support::wait_for("a banner", || banner(address));
    assert_eq!(kind, "stale");
    assert!(text.contains("The collector is late"), "{text}");
}

/// Returns the kind and the text of the banner, if it is shown.
fn banner(address: SocketAddr) -> Option<(String, String)> {
    let page = page(address, "/");
    let banner = tags(&page).into_iter().find(|tag| tag.get("id") == Some("banner")).unwrap();
    let kind = banner.get("data-kind")?.to_owned();
    Some((kind, text_of(&page, "p", "banner")))
}

/// The findings of all plugins are in the order of the library; those that are not listed are in an
/// element that opens.
#[test]
fn findings_are_ranked_and_others_shown_on_request() {
    let mut sim = Simulation::new(every(5)).unwrap();
    for nth in 0..130 {
        let plugin = sim.register(&format!("plugin-{nth:03}")).unwrap();
        plugin.started(nth + 1, "");
        plugin.set_state(match nth % 10 {
            0 => PluginState::Failed,
            _ => PluginState::Unhealthy,
        });
    }
    sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: MB });
    let (_server, address) = serve(sim.reader());
    let data = crate::json(address, "/page/rows");
    let names = |key: &str| -> Vec<String> {
        let messages = data[key].as_array().unwrap().iter();
        messages.map(|message| message["name"].as_str().unwrap().to_owned()).collect()
    };
    let ranked: Vec<_> =
        sim.snapshot().findings().items.iter().map(|f| f.plugin.to_string()).collect();
    assert_eq!(ranked.len(), 130);
    assert_eq!(names("findings"), ranked[..8]);
    assert_eq!(names("more"), ranked[8..108]);
    assert_eq!(data["more_count"], 122);
    let page = page(address, "/");
    assert_eq!(text_of(&page, "ul", "findings").lines().count(), 8);
    let more = text_of(&page, "details", "more");
    assert!(more.starts_with("and 122 more"), "{more}");
    assert_eq!(more.matches(": unhealthy since").count(), 95, "{more}");
}
