//! Processes whose parent has exited before a tick could find them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use plugmeter::ProbeKind;
use plugmeter_test_support::{MAKE_ORPHAN, manual_collector, wait_until_orphaned};

#[test]
fn orphan_counts_if_its_group_is_the_plugins() {
    for (in_group, expected) in [(true, 2), (false, 1)] {
        let collector = manual_collector(ProbeKind::Native);
        let plugin = collector.register("dice").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", MAKE_ORPHAN]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = if in_group {
            plugin.spawn_in_group(&mut command, "1.0").unwrap()
        } else {
            plugin.spawn(&mut command, "1.0").unwrap()
        };
        collector.sample_now().unwrap();
        writeln!(child.stdin.as_mut().unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let orphan: u32 = line.trim().parse().unwrap();
        let _killed = wait_until_orphaned(orphan, child.id());
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.usage().process_count, Some(expected), "in a group: {in_group}");
        let is_listed = view.processes().any(|process| process.pid == orphan);
        assert_eq!(is_listed, in_group);
        // The orphan goes on when the plugin's process ends, and stays in the tree.
        assert!(!child.wait().unwrap().success(), "`read` has met the end of its input");
        let snapshot = collector.sample_now().unwrap();
        let sample = snapshot.plugin("dice").unwrap().current().unwrap();
        assert_eq!(sample.process_count, Some(expected - 1), "in a group: {in_group}");
    }
}
