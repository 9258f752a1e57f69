//! Processes that are not the plugin's: reused pids, threads, and strangers beside a tree.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plugmeter_test_support::isolated_process::{OWN_PID_NAMESPACE, enter_isolated, lacks_root};
use plugmeter_test_support::reaped::has_late_status;
use plugmeter_test_support::{ChildGuard, report_skipped, wait_for};

use super::burner::GroupGuard;
use super::run::{NAME, TreeRun};
use crate::test_child::cpu_time;

/// Starts and reaps a child on request.
const ROOT: &str = "
    while read line <&3; do
        sleep 1000 & report $!
        read line <&3; { kill -KILL $!; wait $!; } 2>/dev/null; report gone
    done; hold";

/// Uses all CPU time that it gets, with two children and an orphan.
const STRANGER: &str = "
    ((while :; do :; done) & )
    (while :; do :; done) & (while :; do :; done) & while :; do :; done";

const REUSED_PIDS: usize = 40;

/// Starts strangers of which the first one has the given pid, which must be free: as leader of a
/// group, and on request of a session.
fn strangers_with(pid: u32, is_session: bool) -> GroupGuard {
    wait_for("the pid to be reused", || {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let mut command = Command::new(if is_session { "setsid" } else { "sh" });
        if is_session {
            command.arg("sh");
        } else {
            command.process_group(0);
        }
        let command = command.args(["-c", STRANGER]).stdin(Stdio::null());
        let strangers = GroupGuard(command.spawn().unwrap());
        (strangers.0.id() == pid).then_some(strangers)
    })
}

fn wait_until_busy(pid: u32) {
    let children = format!("/proc/{pid}/task/{pid}/children");
    wait_for("busy strangers", || {
        let children = std::fs::read_to_string(&children).unwrap();
        let children: Vec<u32> = children.split(' ').filter_map(|it| it.parse().ok()).collect();
        let is_busy = |&pid: &u32| cpu_time(pid) > Duration::from_millis(5);
        (children.len() == 2 && children.iter().all(is_busy)).then_some(())
    });
}

#[test]
fn reused_pid_of_member_brings_no_strangers() {
    if lacks_root("control over PIDs")
        || !enter_isolated(reused_pid_of_member_brings_no_strangers, OWN_PID_NAMESPACE)
    {
        return;
    }
    let Some(mut run) = TreeRun::start("reused", ROOT) else { return };
    run.go();
    for number in 0..REUSED_PIDS {
        run.go();
        let member: u32 = run.tick_until_reported(1)[0].parse().unwrap();
        let tick = run.tick_until("the member", |tick| tick.sample().process_count == Some(2));
        let view = tick.snapshot.plugin(NAME).unwrap();
        assert!(view.processes().any(|process| process.pid == member));
        run.go();
        // Without a tick before the pid is reused.
        let gone = run.reports().recv().unwrap();
        assert_eq!(gone, "gone");
        let strangers = strangers_with(member, number % 2 == 0);
        wait_until_busy(strangers.0.id());
        for _ in 0..3 {
            let tick = run.tick();
            assert_eq!(tick.sample().process_count, Some(1), "{number}");
            let view = tick.snapshot.plugin(NAME).unwrap();
            assert!(view.processes().all(|process| process.pid == run.root.pid()));
        }
    }
}

/// The pids of the processes in a session whose parent is this process.
fn orphans_in(session: u32) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_orphan = |&pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap().split(' ');
        let fields: Vec<&str> = fields.collect();
        let [parent, found] = [2, 4].map(|at| fields.get(at).and_then(|id| id.parse().ok()));
        pid != session && (parent, found) == (Some(std::process::id()), Some(session))
    };
    pids.filter(is_orphan).collect()
}

/// An orphan belongs to the tree whose member leads its session, but the member's pid, and with it the
/// session's number, is a stranger's by then.
#[test]
fn reused_session_of_member_brings_no_strangers() {
    if lacks_root("control over PIDs")
        || !enter_isolated(reused_session_of_member_brings_no_strangers, OWN_PID_NAMESPACE)
    {
        return;
    }
    let text = ROOT.replace("sleep", "setsid sleep");
    let Some(mut run) = TreeRun::start("reused session", &text) else { return };
    run.go();
    for number in 0..REUSED_PIDS / 4 {
        run.go();
        // Without a tick before the member leads its session.
        let member: u32 = run.reports().recv().unwrap().parse().unwrap();
        wait_for("a session", || {
            let stat = std::fs::read_to_string(format!("/proc/{member}/stat")).unwrap();
            stat.contains(&format!("(sleep) S {} {member} {member} ", run.root.pid())).then_some(())
        });
        run.tick_until("the member", |tick| tick.sample().process_count == Some(2));
        run.go();
        // Without a tick before the pid is reused.
        let gone = run.reports().recv().unwrap();
        assert_eq!(gone, "gone");
        let strangers = strangers_with(member, true);
        wait_until_busy(strangers.0.id());
        let orphan = wait_for("a busy orphan in the session", || {
            let orphans = orphans_in(member);
            orphans.into_iter().find(|&pid| cpu_time(pid) > Duration::from_millis(5))
        });
        for _ in 0..3 {
            let tick = run.tick();
            assert_eq!(tick.sample().process_count, Some(1), "{number}: {orphan}");
            let view = tick.snapshot.plugin(NAME).unwrap();
            assert!(view.processes().all(|process| process.pid == run.root.pid()));
        }
    }
}

/// The next run has the pid of the last one, whose session was used again.
#[test]
fn reused_pid_of_root_brings_no_strangers() {
    if lacks_root("control over PIDs")
        || !enter_isolated(reused_pid_of_root_brings_no_strangers, OWN_PID_NAMESPACE)
    {
        return;
    }
    for number in 0..REUSED_PIDS / 4 {
        let mut command = super::burner::script("burn 5; report done; hold");
        command.process_group(0);
        let Some(mut run) = TreeRun::start_command("reused root", command) else { return };
        run.go();
        run.tick_until_reported(1);
        let root = run.root.pid();
        run.end_input();
        run.root.wait();
        let strangers = strangers_with(root, number % 2 == 0);
        wait_until_busy(strangers.0.id());
        for _ in 0..3 {
            let tick = run.tick();
            let sample = tick.sample();
            assert!(sample.process_count.is_none_or(|count| count == 0), "{sample:?}");
            assert_eq!((sample.memory_bytes, sample.tree_memory_bytes), (None, None));
        }
        run.tick_until("no processes", |tick| tick.sample().process_count == Some(0));
    }
}

/// The smallest numbers of pids that leave room for a test.
const FEW_PIDS: &str = "500";

/// Strangers that fork and burn beside a tree that does the same, in a namespace in which numbers
/// begin again all the time.
#[test]
fn strangers_beside_a_tree_never_count() {
    let name = "strangers beside a tree";
    if lacks_root(name) {
        return;
    }
    if !has_late_status() {
        // Linux 6.14.
        report_skipped("`pid_max` is not a namespace's own", name);
        return;
    }
    if !enter_isolated(strangers_beside_a_tree_never_count, OWN_PID_NAMESPACE) {
        return;
    }
    std::fs::write("/proc/sys/kernel/pid_max", FEW_PIDS).unwrap();
    let script = "
        while :; do (:) & burn 5 & (i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done); wait; done";
    let Some(mut run) = TreeRun::start("strangers", script) else { return };
    let stranger =
        "while :; do (i=0; while [ $i -lt 500 ]; do i=$((i + 1)); done) & (:); (:); wait; done";
    let mut strangers: Vec<ChildGuard> = (0..2)
        .map(|_| {
            let mut command = Command::new("sh");
            ChildGuard(command.args(["-c", stranger]).stdin(Stdio::null()).spawn().unwrap())
        })
        .collect();
    run.go();
    let mut laps = 0;
    let mut last = 0;
    let start = Instant::now();
    let tick = loop {
        let tick = run.tick();
        let newest = std::fs::read_to_string("/proc/sys/kernel/ns_last_pid").unwrap();
        let newest: u32 = newest.trim().parse().unwrap();
        laps += u32::from(newest < last);
        last = newest;
        let view = tick.snapshot.plugin(NAME).unwrap();
        for process in view.processes() {
            assert!(!strangers.iter().any(|stranger| stranger.pid() == process.pid));
        }
        // Until numbers were reused many times.
        if laps >= 12 && tick.told > Duration::from_millis(500) {
            break tick;
        }
        assert!(start.elapsed() < plugmeter_test_support::HANG_TIMEOUT, "{laps} laps");
        std::thread::sleep(Duration::from_millis(10));
    };
    println!("{laps} laps, {:?} of {:?}", tick.told, run.truth());
    strangers.iter_mut().for_each(ChildGuard::kill);
}

#[test]
fn threads_are_no_processes() {
    let script = "(become threads 16 1000 9000 <&3 >/dev/null) & report done; hold";
    let Some(mut run) = TreeRun::start("threads", script) else { return };
    run.go();
    run.tick_until_reported(1);
    let child = run.tick_until("the child", |tick| tick.sample().process_count == Some(2));
    let view = child.snapshot.plugin(NAME).unwrap();
    let child = view.processes().map(|it| it.pid).find(|&pid| pid != run.root.pid()).unwrap();
    wait_for("its threads", || (crate::test_child::tasks(child).len() > 16).then_some(()));
    for _ in 0..5 {
        let tick = run.tick();
        assert_eq!(tick.sample().process_count, Some(2));
        let view = tick.snapshot.plugin(NAME).unwrap();
        assert_eq!(view.processes().count(), 2);
    }
    run.end();
}
