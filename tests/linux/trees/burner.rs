//! Processes that use a known CPU time: this program again, and shell scripts that start it.

use std::io::{Read as _, stdin};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio, exit};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::test_child::{MARK, ROLE, burn, respond};

/// Commands of the scripts. Descriptor 3 is the control pipe: a burner that has it as its input exits
/// at its end.
///
/// - `burn MS`: uses MS milliseconds of CPU time, and exits.
/// - `last MS`: reports when it has done so, and exits at the end of the control pipe.
/// - `share BUSY IDLE`: uses BUSY microseconds of CPU time, sleeps for IDLE, and so on.
/// - `in_session`: runs a burner in a session of its own, in the exported role.
/// - `report TEXT`: reports it.
/// - `hold`: waits for the end of the control pipe.
///
/// `burn` and `last` become the process of a subshell in which they are the last command.
const PROLOGUE: &str = r#"
exec 3<&0
become() { export PLUGMETER_TEST_ROLE="$*"; exec "$BURNER" --exact trees::burner::burner_runs_its_role --nocapture; }
burn() { (become burn "$1" >/dev/null </dev/null); }
last() { become last "$1" <&3; }
share() { become share "$1" "$2" <&3 >/dev/null; }
in_session() { setsid "$BURNER" --exact trees::burner::burner_runs_its_role --nocapture >/dev/null; }
report() { echo; echo "@$1"; }
hold() { read held; }
"#;

/// A script with the commands of this module. It enters the cgroup that the variable `ENTRANCE` names,
/// if any, and waits for a line of input before it begins.
pub(super) fn script(text: &str) -> Command {
    let mut command = Command::new("sh");
    let enter = "[ -z \"$ENTRANCE\" ] || echo $$ > \"$ENTRANCE\"";
    command.args(["-c", &format!("{enter}\nread go\n{PROLOGUE}\n{text}")]);
    command.env("BURNER", std::env::current_exe().unwrap());
    command
}

/// The leader of a process group, which is killed on drop.
pub(super) struct GroupGuard(pub Child);

impl GroupGuard {
    /// Starts a shell as the leader of a group.
    pub(super) fn shell(text: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", text]).stdin(Stdio::null()).process_group(0);
        Self(command.spawn().unwrap())
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// The main function of a burner. Does nothing in a test run.
#[test]
fn burner_runs_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let parts: Vec<&str> = role.split(' ').collect();
    let number = |at: usize| parts[at].parse::<u64>().unwrap();
    match parts[0] {
        "burn" => burn(Duration::from_millis(number(1))),
        "last" => {
            burn(Duration::from_millis(number(1)));
            respond("done");
            wait_for_end_of_input();
        }
        "share" => share(1, number(1), number(2)),
        "threads" => share(number(1), number(2), number(3)),
        other => panic!("no such role: {other}"),
    }
    exit(0);
}

/// Uses microseconds of CPU time, sleeps, and so on, until the input ends.
fn share(threads: u64, busy: u64, idle: u64) {
    for _ in 0..threads {
        thread::spawn(move || {
            loop {
                burn(Duration::from_micros(busy));
                thread::sleep(Duration::from_micros(idle));
            }
        });
    }
    wait_for_end_of_input();
}

fn wait_for_end_of_input() {
    let mut byte = [0];
    while stdin().read(&mut byte).unwrap() > 0 {}
}

/// The text of a report.
pub(super) fn reported(line: &str) -> Option<&str> {
    line.strip_prefix(MARK).map(str::trim)
}
