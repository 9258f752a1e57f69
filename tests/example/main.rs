//! The example `aggregates`, executed as a program.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Returns a command that runs the example.
fn example() -> Command {
    Command::new(plugmeter_test_support::examples::executable("aggregates"))
}

/// Runs the example with these arguments and returns its output.
fn run(args: &[&str]) -> Output {
    example().args(args).stdin(Stdio::null()).output().expect("the example starts")
}

/// Runs the example, asserts success, and parses its standard output as one JSON document.
fn run_json(args: &[&str]) -> Value {
    let output = run(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    assert_eq!(errors, "");
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// Allows one such run at a time, because six plugins keep two cores busy.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn plugin<'a>(document: &'a Value, name: &str) -> &'a Value {
    let plugins = document["plugins"].as_array().expect("a list of plugins");
    let named = |plugin: &&Value| plugin["aggregates"]["plugin_name"] == name;
    plugins.iter().find(named).unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// Whether each plugin has had the time to do what it is for.
fn has_worked(document: &Value) -> bool {
    let aggregates = |name| &plugin(document, name)["aggregates"];
    let varies = |summary: &Value| summary["max"].as_f64() > summary["min"].as_f64();
    aggregates("steady")["cpu"]["avg"].as_f64() > Some(0.0)
        && varies(&aggregates("bursty")["cpu"])
        && varies(&aggregates("leaky")["memory_mb"])
        && aggregates("events")["events_per_second"].as_f64() > Some(0.0)
        && plugin(document, "events")["versions"].as_array().is_some_and(|versions| {
            versions.len() == 2
                && versions.iter().all(|usage| usage["events"].as_u64() >= Some(100))
        })
        && aggregates("crashy")["crashes"].as_f64() >= Some(1.0)
        && plugin(document, "crashy")["runs"].as_array().is_some_and(|runs| runs.len() >= 2)
        && (!cfg!(target_os = "linux") || has_worked_by_others(plugin(document, "wrapper")))
        && document["sampler"]["ticks"].as_f64() >= Some(3.0)
}

/// Whether the processes that the plugin has started use the CPU, rather than the plugin itself.
fn has_worked_by_others(plugin: &Value) -> bool {
    let avg = |key: &str| plugin["aggregates"][key]["avg"].as_f64();
    let twice = avg("cpu").map(|own| own * 2.0);
    avg("tree_cpu") > twice && plugin["current"]["process_count"].as_f64() >= Some(3.0)
}

#[test]
fn six_plugins_behave_and_leave_no_process() {
    let _guard = one_at_a_time();
    // On a busy machine the plugins may need longer to do what is checked here.
    let mut documents = ["3", "10", "30", "90"].map(|time| ["--json", "--for", time]).into_iter();
    let mut document = run_json(&documents.next().unwrap());
    while let Some(args) = documents.next().filter(|_| !has_worked(&document)) {
        document = run_json(&args);
    }
    assert_eq!(document["plugins"].as_array().unwrap().len(), 6, "{document:#}");

    let steady = plugin(&document, "steady");
    let cpu = number(&steady["aggregates"]["cpu"]["avg"]);
    // The plugin requests 30 %. It may get less, depending on the load of the machine.
    assert!(cpu > 0.0 && cpu <= 60.0, "{steady:#}");
    assert_eq!(steady["current"]["state"], "RUNNING", "{steady:#}");
    assert_eq!(steady["current"]["pid"], steady["runs"][0]["pid"], "{steady:#}");
    assert_eq!(steady["aggregates"]["crashes"], 0, "{steady:#}");

    let bursty = &plugin(&document, "bursty")["aggregates"]["cpu"];
    assert!(number(&bursty["max"]) > number(&bursty["min"]), "{bursty:#}");

    let leaky = &plugin(&document, "leaky")["aggregates"]["memory_mb"];
    assert!(number(&leaky["max"]) > number(&leaky["min"]), "{leaky:#}");

    let events = &plugin(&document, "events")["aggregates"];
    assert!(number(&events["events"]) > 0.0, "{events:#}");
    assert!(number(&events["events_per_second"]) > 0.0, "{events:#}");

    let versions = plugin(&document, "events")["versions"].as_array().unwrap();
    let names: Vec<_> = versions.iter().map(|usage| &usage["version"]).collect();
    assert_eq!(names, ["1.0", "2.0"], "{versions:#?}");
    let cost = |nth: usize| number(&versions[nth]["cpu_ms_per_event"]);
    // The second version works three times as long. The rest of the cost is the same in both.
    assert!(cost(1) > 1.5 * cost(0), "{versions:#?}");

    let crashy = plugin(&document, "crashy");
    assert!(number(&crashy["aggregates"]["crashes"]) >= 1.0, "{crashy:#}");
    let runs = crashy["runs"].as_array().unwrap();
    assert!(runs.len() >= 2, "{crashy:#}");
    assert_eq!(runs[0]["exit_code"], 3, "{crashy:#}");
    for (nth, run) in runs.iter().enumerate() {
        assert_eq!(run["version"], format!("1.{nth}"), "{crashy:#}");
    }

    #[cfg(target_os = "linux")]
    {
        let wrapper = plugin(&document, "wrapper");
        assert!(has_worked_by_others(wrapper), "{wrapper:#}");
        let memory = |key: &str| number(&wrapper["current"][key]);
        assert!(memory("tree_memory_mb") > memory("memory_mb"), "{wrapper:#}");
    }

    let all_runs = || {
        let plugins = document["plugins"].as_array().unwrap();
        plugins.iter().flat_map(|plugin| plugin["runs"].as_array().unwrap())
    };
    for run in all_runs() {
        assert_ne!(run["end"], Value::Null, "{run:#}");
    }
    for name in ["steady", "bursty", "leaky", "events", "wrapper"] {
        let runs = &plugin(&document, name)["runs"];
        if cfg!(unix) {
            assert_eq!(runs[0]["signal"], 15, "{name} was terminated: {runs:#}");
        }
    }

    assert_eq!(document["system"]["total_plugins"], 6, "{document:#}");
    assert!(number(&document["system"]["total_memory_mb"]) > 0.0, "{document:#}");
    assert!(number(&document["sampler"]["ticks"]) >= 3.0, "{document:#}");

    #[cfg(target_os = "linux")]
    for run in all_runs() {
        let pid = u32::try_from(run["pid"].as_u64().unwrap()).unwrap();
        assert!(!plugmeter_test_support::examples::is_worker(pid), "{run:#} is still running");
    }
}

#[test]
fn text_output_lists_plugins_and_sampler_cost() {
    let _guard = one_at_a_time();
    let output = run(&["--for", "1", "--interval", "0.2", "--window", "0.5"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    // Without a terminal there is no progress output.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    for name in ["steady", "bursty", "leaky", "events", "crashy", "wrapper"] {
        assert!(text.contains(&format!("\n{name}: ")), "no {name} in {text}");
    }
    for part in [
        "over the last 500ms",
        "\nFindings:\n\n",
        "\nevents 2.0: ",
        "6 plugins, ",
        "of one core; ",
        " missed",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn invalid_arguments_fail_with_one_line() {
    for args in [
        &["--no-such-option"][..],
        &["-x"],
        &["--worker", "nobody"],
        &["--for"],
        &["--for", "--json"],
        &["--for", "ten"],
        &["--for", "0"],
        &["--for", "-1"],
        &["--for", "NaN"],
        &["--for", "inf"],
        &["--for", "1e300"],
        &["--for", "1e18"],
        &["--interval"],
        &["--interval", "-0.25"],
        &["--interval", "0.001"],
        &["--interval", "1e18"],
        &["--window"],
        &["--window", ""],
        &["no-pid"],
        &[""],
        &["name="],
        &["name=x"],
        &["name=0"],
        &["name=-1"],
        &["name=4294967295"],
        &["name=99999999999"],
        &["=1"],
        &["two\nlines=1"],
        &["two\nlines"],
        &["same=1", "same=2"],
    ] {
        let output = run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
        assert!(errors.starts_with("aggregates: "), "{args:?}: {errors}");
        assert!(errors.ends_with('\n'), "{args:?}: {errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{args:?}");
    }
}

#[test]
fn help_exits_successfully() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for option in ["NAME=PID", "--interval", "--for", "--window", "--json"] {
        assert!(text.contains(option), "{text}");
    }
}

#[test]
fn closed_stdout_is_no_error() {
    let _guard = one_at_a_time();
    let mut example = example()
        .args(["--for", "0.5"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(example.stdout.take());
    let output = example.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success(), "{}", output.status);
}

#[cfg(unix)]
#[test]
fn existing_process_is_watched_and_left_alive() {
    let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = sleeper.id();
    // A name may contain a `=`.
    let args = [&format!("nap=1={pid}"), "--for", "1", "--interval", "0.2", "--json"];
    let output = example().args(args).stdin(Stdio::null()).output().unwrap();
    let survived = sleeper.try_wait().unwrap().is_none();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();

    assert!(survived, "watching the process has ended it");
    assert!(output.status.success(), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nap = plugin(&document, "nap=1");
    assert_eq!(nap["current"]["pid"], pid, "{nap:#}");
    assert_eq!(nap["current"]["state"], "RUNNING", "{nap:#}");
    assert!(number(&nap["aggregates"]["memory_mb"]["min"]) > 0.0, "{nap:#}");
    assert!(number(&nap["aggregates"]["cpu"]["max"]) < 50.0, "{nap:#}");
    let runs = nap["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{nap:#}");
    assert_eq!(runs[0]["end"], Value::Null, "{nap:#}");
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use plugmeter_test_support::examples::{is_worker, workers};
    use plugmeter_test_support::wait_for;

    #[test]
    fn workers_exit_when_host_is_killed() {
        let _guard = one_at_a_time();
        let mut host = example()
            .args(["--for", "600", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("six workers", || (workers(host.id()).len() == 6).then_some(()));
        let mut children = workers(host.id());
        assert!(children.len() >= 5, "only the crashing worker may be absent");
        // The wrapper has workers of its own.
        let of_wrapper = || children.iter().flat_map(|&pid| workers(pid)).collect::<Vec<_>>();
        let of_wrapper =
            wait_for("its workers", || Some(of_wrapper()).filter(|found| found.len() >= 2));
        children.extend(of_wrapper);
        host.kill().unwrap();
        host.wait().unwrap();
        for pid in children {
            wait_for("the worker to be gone", || (!is_worker(pid)).then_some(()));
        }
    }
}
