//! The properties that hold whatever the processes do.

use super::cases::Case;
use super::driver::Driver;
use crate::engine::process_tree::MemberLimits;
use crate::engine::process_tree::tree::HIDDEN_NANOS;

/// Cases of each property, usually and in Miri, where one takes a minute; more by
/// `PLUGMETER_TREE_CASES`.
fn seeds(usual: u64, in_miri: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|cases: String| cases.parse().ok());
    if let Some(seed) = number("PLUGMETER_TREE_SEED") {
        return seed..seed + 1;
    }
    0..number("PLUGMETER_TREE_CASES").unwrap_or(if cfg!(miri) { in_miri } else { usual })
}

fn check(seeds: std::ops::Range<u64>, new: fn(u64) -> Case, run: fn(&Case) -> Result<(), String>) {
    for seed in seeds {
        if let Err(error) = run(&new(seed)) {
            let mut case = new(seed).reduce(&|case| run(case).is_err());
            case.settings.is_traced = std::env::var_os("PLUGMETER_TREE_TRACE").is_some();
            let reduced = run(&case);
            panic!("seed {seed}: {error}\nreduced: {:?}\n{case}", reduced.err());
        }
    }
}

#[test]
fn total_never_exceeds_used_time_or_decreases() {
    check(seeds(3_000, 3), Case::new, |case| Driver::run(case).map(drop));
}

#[test]
fn waited_for_processes_are_counted_within_ticks() {
    check(seeds(300, 1), Case::polite, |case| {
        let mut driver = Driver::run(case)?;
        driver.deliver_all();
        // Processes without room count once there is room for them.
        driver.trees.limits = MemberLimits::default();
        for _ in 0..3 {
            driver.tick();
            driver.check()?;
        }
        let parents = driver.kernel.processes.iter().filter(|process| process.has_waited());
        let hidden = HIDDEN_NANOS * parents.count() as u64;
        let lost = driver.lost();
        if lost > hidden { Err(format!("lost {lost}, hidden are {hidden}")) } else { Ok(()) }
    });
}
