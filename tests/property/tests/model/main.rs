//! Random sequences of reports, ticks and queries, applied to a simulation and to a naive oracle,
//! which must agree in every result.
//!
//! `PROPTEST_CASES` sets the number of cases.
#![cfg(unix)]

mod agreement;
mod fields;
mod harness;
mod host;
mod notified;
mod oracle;
mod registration;
mod steps;

use std::time::Duration;

use plugmeter::RunEnd;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError};

use crate::harness::Harness;
use crate::steps::{
    HostReport, PIDS, Pid, PlannedReading, ReportKind, Step, WindowSpec, lengths, packed_lengths,
    packed_steps, steps,
};

type Checked = Result<(), TestCaseError>;

/// Registers two plugins and runs the steps.
fn run_steps(lengths: (Duration, Duration), steps: Vec<Step>) -> Checked {
    let mut all = vec![Step::Register(0), Step::Register(1)];
    all.extend(steps);
    Harness::new(lengths).run(&all)
}

fn config(usual_cases: u32) -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    let config =
        ProptestConfig { failure_persistence: Some(Box::new(beside)), ..Default::default() };
    // The default takes the number of cases from the environment.
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if is_set { config.cases } else { usual_cases }, ..config }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn queries_agree_with_oracle(
        lengths in lengths(),
        steps in steps(1, 100),
    ) {
        run_steps(lengths, steps)?;
    }
}

proptest! {
    #![proptest_config(config(64))]

    /// As `queries_agree_with_oracle`, with hundreds of runs.
    #[test]
    fn queries_agree_with_oracle_over_many_runs(
        lengths in lengths(),
        steps in steps(12, 60),
    ) {
        run_steps(lengths, steps)?;
    }
}

proptest! {
    #![proptest_config(config(24))]

    /// As `queries_agree_with_oracle`, with histories whose older part is packed.
    #[test]
    fn queries_agree_with_oracle_over_packed_blocks(
        lengths in packed_lengths(),
        steps in packed_steps(),
    ) {
        run_steps(lengths, steps)?;
    }
}

/// The smallest history: one sample.
const SHORTEST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(10));
const ZERO: [WindowSpec; 2] = [WindowSpec::Zero, WindowSpec::Zero];
const IDLE: Step = Step::Ticks { count: 1, seed: 0, windows: ZERO };

#[test]
fn pending_crash_counts_after_many_runs() {
    let crash = Step::Tick {
        planned: Box::new([PlannedReading::Ended(RunEnd::Exited(1)); PIDS.len()]),
        during_tick: Vec::new(),
        windows: ZERO,
    };
    let second = Step::Advance(Duration::from_secs(1), ZERO);
    let steps = vec![Step::Reloads(0, 108), crash, IDLE, IDLE, Step::Reloads(0, 60), second];
    run_steps(SHORTEST, steps).expect("the oracle agrees");
}

#[test]
fn runs_are_listed_until_tick_passes_them() {
    let hour = Step::Advance(Duration::from_secs(3_600), ZERO);
    let now = Step::Advance(Duration::ZERO, ZERO);
    let before_a_tick = vec![Step::Reloads(0, 70), hour.clone(), Step::Reloads(0, 58), now.clone()];
    run_steps(SHORTEST, before_a_tick).expect("the oracle agrees");
    let after = vec![Step::Reloads(0, 70), IDLE, hour, Step::Reloads(0, 58), now, IDLE, IDLE];
    run_steps(SHORTEST, after).expect("the oracle agrees");
}

#[test]
fn restarted_run_keeps_process_start() {
    let started = |version| {
        let kind = ReportKind::Started { pid: Pid::One(11), version, fresh: false };
        Step::Report(HostReport { name: 0, stale: false, kind })
    };
    run_steps(SHORTEST, vec![started("1.0"), IDLE, started("1.1"), IDLE])
        .expect("the oracle agrees");
}
