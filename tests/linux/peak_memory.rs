//! The peak memory of a run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use plugmeter::ProbeKind;
use plugmeter_test_support::{ChildGuard, manual_collector, report_missing};

const ALLOCATED: u64 = 64 << 20;

/// The child allocates, frees, and writes a line between two samples: only the kernel's high-water
/// mark shows the peak. Before that it has not run in some ticks, in which the mark is not read again.
#[test]
fn peak_between_ticks_is_in_the_run() {
    let script = format!(
        "import sys\n\
         print('ready', flush=True)\n\
         for line in sys.stdin:\n    \
         b = bytearray({ALLOCATED}); b[::4096] = b'x' * len(b[::4096]); del b\n    \
         print('freed', flush=True)"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(child) = command.spawn() else {
        report_missing("there is no python3", "peak_between_ticks_is_in_the_run");
        return;
    };
    let mut child = ChildGuard(child);
    let mut input = child.0.stdin.take().unwrap();
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("python").unwrap();
    plugin.started(child.pid(), "");
    for _ in 0..3 {
        collector.sample_now().unwrap();
    }

    writeln!(input, "allocate").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "freed");
    let snapshot = collector.sample_now().unwrap();
    let current = snapshot.plugin("python").unwrap().usage().memory_bytes.unwrap();
    assert!(current < ALLOCATED, "{current} bytes after the memory was freed");

    plugin.stopped();
    let snapshot = collector.sample_now().unwrap();
    let run = snapshot.plugin("python").unwrap().runs().next().unwrap();
    let peak = run.peak_memory_bytes.unwrap();
    assert!((ALLOCATED..ALLOCATED + (64 << 20)).contains(&peak), "{peak} bytes");
}
