//! Notifications: what is sent for which change, in which order, and with which snapshot.

use std::time::Duration;

use plugmeter::testing::{Observed, Simulation};
use plugmeter::{
    ClearReason, Config, Limit, LimitMetric, LimitState, Limits, NotificationKind, PluginState,
    ReadError, RecvError, Subscription,
};

use crate::fixtures::{POLL, SECOND, exit, idle, signal, usage};

fn kinds(subscription: &Subscription) -> Vec<String> {
    let next = || subscription.try_recv().ok().map(|next| next.kind.to_string());
    std::iter::from_fn(next).collect()
}

/// A simulation with a subscriber and the plugin "dice", whose registration was received.
fn subscribed(config: Config) -> (Simulation, Subscription, plugmeter::Plugin) {
    let mut sim = Simulation::new(config.poll_interval(POLL)).unwrap();
    let subscription = sim.subscribe();
    let plugin = sim.register("dice").unwrap();
    sim.advance(Duration::ZERO);
    assert_eq!(kinds(&subscription), ["registered"]);
    (sim, subscription, plugin)
}

#[test]
fn notifications_have_order_of_engine() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    let other = sim.register("8ball").unwrap();
    let run = dice.started(1, "1.0");
    dice.set_state(PluginState::Unhealthy);
    other.started(2, "");
    dice.exited(run, exit(3));
    dice.started(3, "1.1");
    other.remove();
    sim.advance(Duration::ZERO);
    let next = || subscription.try_recv().ok().map(|next| next.to_string());
    let texts: Vec<_> = std::iter::from_fn(next).collect();
    let expected = [
        "8ball: registered",
        "dice: run began, pid 1, version 1.0",
        "dice: state STOPPED -> RUNNING",
        "dice: state RUNNING -> UNHEALTHY",
        "8ball: run began, pid 2",
        "8ball: state STOPPED -> RUNNING",
        "dice: run ended, pid 1, exit code 3, a crash",
        "dice: state UNHEALTHY -> CRASHED",
        "dice: crash counted, 1 in all",
        "dice: run began, pid 3, version 1.1",
        "dice: state CRASHED -> RUNNING",
        "8ball: removed",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn detected_crash_is_counted_after_grace_period() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    dice.started(1, "");
    sim.tick(|_| Observed::Signaled(9));
    let expected = [
        "run began, pid 1",
        "state STOPPED -> RUNNING",
        "run ended, pid 1, signal 9, a crash",
        "state RUNNING -> CRASHED",
    ];
    assert_eq!(kinds(&subscription), expected);
    sim.advance(SECOND);
    assert_eq!(kinds(&subscription), ["crash counted, 1 in all"]);
}

#[test]
fn announced_end_is_no_crash() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    let run = dice.started(1, "");
    dice.set_state(PluginState::Stopping);
    dice.exited(run, signal(9));
    sim.advance(SECOND);
    let last = ["run ended, pid 1, signal 9", "state STOPPING -> STOPPED"];
    assert_eq!(kinds(&subscription)[3..], last);
    // A configured exit code is clean.
    let config = Config::default().clean_exit_codes(&[75]);
    let (mut sim, subscription, dice) = subscribed(config);
    dice.started(1, "");
    sim.tick(|_| Observed::Exited(75));
    let last = ["run ended, pid 1, exit code 75", "state RUNNING -> STOPPED"];
    assert_eq!(kinds(&subscription)[2..], last);
}

#[test]
fn late_status_is_no_second_end() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    let run = dice.started(1, "");
    sim.tick(|_| Observed::Gone);
    let last = ["run ended, pid 1, no exit status", "state RUNNING -> STOPPED"];
    assert_eq!(kinds(&subscription)[2..], last);
    dice.exited(run, exit(1));
    sim.advance(SECOND);
    let expected = ["state STOPPED -> CRASHED", "crash counted, 1 in all"];
    assert_eq!(kinds(&subscription), expected);
}

#[test]
fn read_errors_are_reported_once() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    dice.started(1, "");
    (0..3).for_each(|_| sim.tick(|_| Observed::Denied));
    let received = kinds(&subscription);
    assert_eq!(received[2..], [format!("no values: {}", ReadError::PermissionDenied)]);
    (0..3).for_each(|_| sim.tick(idle));
    assert_eq!(kinds(&subscription), ["values can be read again"]);
}

#[test]
fn tick_without_change_sends_nothing() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    dice.started(1, "");
    sim.tick(idle);
    kinds(&subscription);
    (0..100).for_each(|_| sim.tick(idle));
    assert_eq!(subscription.try_recv(), Err(RecvError::Empty));
}

#[test]
fn snapshot_shows_the_change_of_a_notification() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    let before = sim.snapshot().revision();
    dice.started(1, "");
    sim.tick(idle);
    let started = subscription.try_recv().unwrap();
    let snapshot = sim.snapshot();
    assert_eq!((started.revision, snapshot.revision()), (before + 1, before + 1));
    let NotificationKind::RunStarted(run) = started.kind else { panic!("{started}") };
    assert_eq!(snapshot.plugin("dice").unwrap().run(), Some(&run));
}

#[test]
fn subscription_begins_with_next_change() {
    let (mut sim, _, dice) = subscribed(Config::default());
    let late = sim.subscribe();
    dice.set_state(PluginState::Failed);
    sim.advance(Duration::ZERO);
    assert_eq!(kinds(&late), ["state STOPPED -> FAILED"]);
}

#[test]
fn end_of_simulation_closes_subscription() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    dice.remove();
    sim.advance(Duration::ZERO);
    drop(sim);
    assert_eq!(subscription.recv().unwrap().kind, NotificationKind::Removed);
    assert_eq!(subscription.recv(), Err(RecvError::Closed));
    let disabled = Simulation::new(Config::default().enabled(false)).unwrap();
    assert_eq!(disabled.subscribe().recv(), Err(RecvError::Closed));
}

fn memory_limit() -> Limit {
    Limit::new(LimitMetric::MemoryMb, 512.0)
}

fn state(sim: &Simulation) -> LimitState {
    sim.snapshot().plugin("dice").unwrap().limits().next().unwrap().state
}

#[test]
fn limit_status_is_shown_and_sent() {
    let config = Config::default().limits(Limits::default().rule(memory_limit()));
    let (mut sim, subscription, dice) = subscribed(config);
    assert_eq!(state(&sim), LimitState::Ok);
    let run = dice.started(1, "");
    sim.tick(|_| usage(0, 600 << 10));
    let first = sim.snapshot().sampled_at();
    assert_eq!(state(&sim), LimitState::Pending(first));
    kinds(&subscription);
    sim.tick(|_| usage(0, 700 << 10));
    sim.tick(|_| usage(0, 600 << 10));
    assert_eq!(kinds(&subscription), Vec::<String>::new());
    sim.tick(|_| usage(0, 600 << 10));
    let snapshot = sim.snapshot();
    let status = snapshot.plugin("dice").unwrap().limits().next().unwrap();
    assert_eq!(status.state, LimitState::Exceeded(first));
    assert_eq!((status.value, status.peak), (Some(600.0), Some(700.0)));
    let exceeded = subscription.try_recv().unwrap();
    assert_eq!(exceeded.kind, NotificationKind::LimitExceeded(status));
    assert_eq!(exceeded.to_string(), "dice: limit exceeded: memory 600.00 MB, above 512 MB");
    let json = serde_json::to_value(&exceeded).unwrap();
    assert_eq!((&json["kind"], &json["limit"]["peak"]), (&"limit_exceeded".into(), &700.0.into()));
    // The values of the tick belong to the run that has ended.
    dice.exited(run, exit(0));
    sim.advance(SECOND);
    let cleared = [
        "run ended, pid 1, exit code 0",
        "limit cleared after 15s (run_ended): memory above 512 MB",
    ];
    assert_eq!(kinds(&subscription)[..2], cleared);
    let snapshot = sim.snapshot();
    let status = snapshot.plugin("dice").unwrap().limits().next().unwrap();
    assert_eq!((status.state, status.value, status.peak), (LimitState::Ok, None, None));
}

#[test]
fn limits_use_values_of_process_tree() {
    let config = Config::default().limits(
        Limits::default()
            .rule(memory_limit().lasting(POLL))
            .rule(Limit::new(LimitMetric::ProcessCount, 4.0).lasting(POLL).grace(Duration::ZERO)),
    );
    for process_trees in [true, false] {
        let (mut sim, _, dice) = subscribed(config.clone().process_trees(process_trees));
        dice.started(1, "");
        let tree = Observed::RunningTree {
            main: usage(0, 1 << 10),
            tree: usage(0, 600 << 10),
            processes: 5,
        };
        (0..2).for_each(|_| sim.tick(|_| tree));
        let snapshot = sim.snapshot();
        let limits: Vec<_> = snapshot.plugin("dice").unwrap().limits().collect();
        let exceeded = limits.iter().map(|status| status.state.is_exceeded());
        assert!(exceeded.eq([process_trees; 2]), "{limits:?}");
        let values = limits.iter().map(|status| status.value);
        let expected = if process_trees { [Some(600.0), Some(5.0)] } else { [Some(1.0), None] };
        assert!(values.eq(expected), "{limits:?}");
    }
}

#[test]
fn replaced_limits_clear_and_have_new_values() {
    let (mut sim, subscription, dice) = subscribed(Config::default());
    assert_eq!(sim.snapshot().plugin("dice").unwrap().limits().count(), 0);
    let limit = memory_limit().lasting(POLL);
    dice.set_limits(Limits::default().rule(limit)).unwrap();
    dice.started(1, "");
    (0..2).for_each(|_| sim.tick(|_| usage(0, 600 << 10)));
    assert!(state(&sim).is_exceeded());
    kinds(&subscription);
    let higher = Limit::new(LimitMetric::MemoryMb, 1_024.0);
    let cpu = Limit::new(LimitMetric::CpuPercent, 50.0);
    dice.set_limits(Limits::default().rule(cpu).rule(higher)).unwrap();
    sim.advance(Duration::ZERO);
    let cleared = subscription.try_recv().unwrap().kind;
    let NotificationKind::LimitCleared { status, reason, .. } = cleared else { panic!() };
    assert_eq!((status.limit, reason), (limit, ClearReason::Changed));
    let snapshot = sim.snapshot();
    let limits: Vec<_> = snapshot.plugin("dice").unwrap().limits().collect();
    // Not evaluated yet.
    assert!(limits.iter().all(|status| status.state == LimitState::Ok && status.value.is_none()));
    assert!(limits.iter().map(|status| status.limit).eq([cpu, higher]));
    sim.tick(|_| usage(0, 600 << 10));
    let snapshot = sim.snapshot();
    let values = snapshot.plugin("dice").unwrap().limits().map(|status| status.value);
    assert!(values.eq([None, Some(600.0)]), "the first value is in its grace");
    dice.set_limits(Limits::default()).unwrap();
    sim.advance(Duration::ZERO);
    assert_eq!(sim.snapshot().plugin("dice").unwrap().limits().count(), 0);
}

#[test]
fn crash_limit_is_exceeded_between_ticks() {
    let limit = Limit::new(LimitMetric::Crashes { within: 600 * SECOND }, 2.0);
    let config = Config::default().limits(Limits::default().rule(limit));
    let (mut sim, subscription, dice) = subscribed(config);
    for crash in 1..=3 {
        let run = dice.started(crash, "");
        dice.exited(run, exit(1));
        sim.advance(SECOND);
    }
    let received = kinds(&subscription);
    let exceeded = "limit exceeded: crashes 3 within 10 minutes, above 2";
    assert_eq!(received.last().unwrap(), exceeded);
    let snapshot = sim.snapshot();
    let status = snapshot.plugin("dice").unwrap().limits().next().unwrap();
    assert_eq!((status.value, status.peak), (Some(3.0), Some(3.0)));
    assert!(status.state.is_exceeded());
}

#[test]
fn crash_limit_of_an_hour_is_a_sentence() {
    let limit = Limit::new(LimitMetric::Crashes { within: 3_600 * SECOND }, 2.0);
    assert_eq!(limit.to_string(), "crashes above 2 within an hour");
}

#[test]
fn removed_plugin_clears_its_limits_first() {
    let limits = Limits::default().rule(memory_limit().lasting(POLL));
    let (mut sim, subscription, dice) = subscribed(Config::default().limits(limits));
    dice.started(1, "");
    (0..2).for_each(|_| sim.tick(|_| usage(0, 600 << 10)));
    kinds(&subscription);
    dice.remove();
    // The new plugin takes the slot, not the values.
    let again = sim.register("dice").unwrap();
    sim.advance(Duration::ZERO);
    let cleared = "limit cleared after 5s (removed): memory above 512 MB";
    assert_eq!(kinds(&subscription), [cleared, "removed", "registered"]);
    let snapshot = sim.snapshot();
    let status = snapshot.plugin("dice").unwrap().limits().next().unwrap();
    assert_eq!((status.state, status.value), (LimitState::Ok, None));
    drop(again);
}
