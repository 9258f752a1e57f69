//! Children with a known load: this program again, in a role that an environment variable sets; and
//! facts about a child from `/proc`.

use std::io::{BufRead, BufReader, Write, stdin};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio, exit};
use std::thread;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;
use plugmeter::{Collector, PluginState, RunEnd};
use plugmeter_test_support::{ChildGuard, wait_for};

pub(crate) const ROLE: &str = "PLUGMETER_TEST_ROLE";

/// Precedes every response, to distinguish it from the output of the test harness.
pub(crate) const MARK: char = '@';

const PAGE_BYTES: usize = 4_096;

/// A child that runs a role and responds to requests. It exits at the end of its input.
pub(crate) struct TestChild {
    pub child: ChildGuard,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl TestChild {
    /// Starts a child and waits until it runs `role`.
    pub(crate) fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "test_child::child_runs_its_role", "--nocapture"]);
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut child = Self { child: ChildGuard(child), input, output };
        assert_eq!(child.receive(), "ready");
        child
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn send(&mut self, request: &str) {
        writeln!(self.input.as_ref().unwrap(), "{request}").unwrap();
    }

    pub(crate) fn request(&mut self, request: &str) -> String {
        self.send(request);
        self.receive()
    }

    /// CPU time of the child by its own clock.
    pub(crate) fn own_cpu_time(&mut self) -> Duration {
        Duration::from_nanos(self.request("cpu").parse().unwrap())
    }

    fn receive(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the child has exited");
            if let Some(response) = line.strip_prefix(MARK) {
                return response.trim().to_owned();
            }
        }
    }
}

pub(crate) fn respond(text: &str) {
    // The harness may have printed an incomplete line.
    println!("\n{MARK}{text}");
}

/// The main function of a [`TestChild`]. Does nothing in a test run.
#[test]
fn child_runs_its_role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let parts: Vec<&str> = role.split(' ').collect();
    let number = |at: usize| parts[at].parse::<u64>().unwrap();
    let mut memory: Vec<u8> = Vec::new();
    let mut children: Vec<ChildGuard> = Vec::new();
    match parts[0] {
        // Microseconds of CPU time and of sleep, in turn.
        "share" => {
            let (busy, idle) = (number(1), number(2));
            thread::spawn(move || {
                loop {
                    burn(Duration::from_micros(busy));
                    thread::sleep(Duration::from_micros(idle));
                }
            });
        }
        "threads" => (0..number(1)).for_each(|_| {
            thread::spawn(|| burn(Duration::MAX));
        }),
        "idle" => {}
        "heavy" => {
            memory = vec![1; HEAVY_BYTES];
            thread::spawn(|| burn(Duration::MAX));
        }
        "memory" => {
            // With transparent huge pages a single write would add two megabytes.
            nix::sys::prctl::set_thp_disable(true).unwrap();
            memory = vec![0; 64 << 20];
        }
        // Number of children, and the code with which they exit.
        "parent" => {
            let then = format!("exit {}", number(2));
            children = (0..number(1)).map(|_| waiting_shell(&then)).collect();
        }
        other => panic!("no such role: {other}"),
    }
    respond("ready");
    let mut touched = 0;
    for line in stdin().lines() {
        let line = line.unwrap();
        let (request, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: u64 = number.parse().unwrap();
        match request {
            "cpu" => respond(&cpu_clock(ClockId::CLOCK_PROCESS_CPUTIME_ID).as_nanos().to_string()),
            "touch" => {
                for _ in 0..number {
                    memory[touched * PAGE_BYTES] = 1;
                    touched += 1;
                }
                respond("done");
            }
            "pids" => {
                let pids: Vec<_> = children.iter().map(|child| child.pid().to_string()).collect();
                respond(&pids.join(" "));
            }
            "release" => {
                children.iter_mut().for_each(release);
                respond("done");
            }
            "reap" => {
                for mut child in children.drain(..) {
                    child.wait();
                }
                respond("done");
            }
            // Uses milliseconds of CPU time, then waits for the next request.
            "burn" => {
                burn(Duration::from_millis(number));
                respond("done");
            }
            // Uses milliseconds of CPU time in its last thread and exits.
            "burn-and-exit-3" => {
                burn(Duration::from_millis(number));
                exit(3);
            }
            // Executed by a thread that is not the first one: it takes over the first thread's ID.
            "exec" => {
                thread::spawn(|| panic!("{}", Command::new("sleep").arg("1000").exec()));
            }
            other => panic!("no such request: {other}"),
        }
    }
    exit(0);
}

/// Least resident memory of a child in the role "heavy".
pub(crate) const HEAVY_BYTES: usize = 16 << 20;

/// Uses `time` of CPU time in this thread.
pub(crate) fn burn(time: Duration) {
    let start = cpu_clock(ClockId::CLOCK_THREAD_CPUTIME_ID);
    while cpu_clock(ClockId::CLOCK_THREAD_CPUTIME_ID) - start < time {}
}

fn cpu_clock(clock: ClockId) -> Duration {
    clock.now().unwrap().into()
}

/// CPU time of all threads of a process, to the nanosecond. Available until the process is reaped.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    cpu_clock(ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32)).unwrap())
}

/// Starts a shell that runs `then` at the end of its input.
pub(crate) fn waiting_shell(then: &str) -> ChildGuard {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("read x; {then}")]).stdin(Stdio::piped());
    ChildGuard(command.spawn().unwrap())
}

/// Closes the input of a waiting shell.
pub(crate) fn release(child: &mut ChildGuard) {
    drop(child.0.stdin.take().expect("it is a waiting shell"));
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// State of a process or thread: the letter in `/proc/PID/stat`.
pub(crate) fn state_letter(pid: u32) -> Option<char> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    Some(char::from(stat[name_ends + 2]))
}

pub(crate) fn wait_for_state(pid: u32, wanted: char) {
    wait_for(&format!("{pid} in state {wanted}"), || {
        (state_letter(pid) == Some(wanted)).then_some(())
    });
}

pub(crate) fn wait_for_command_name(pid: u32, wanted: &str) {
    wait_for(&format!("{pid} to be {wanted}"), || {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        (name.trim() == wanted).then_some(())
    });
}

/// IDs of all threads of a process. The ID of the first thread is the PID.
pub(crate) fn tasks(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Resident pages of a process, from `/proc/PID/statm`.
pub(crate) fn resident_pages(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Kills `child`, reaps it or not, and waits until a tick has found its end. The end of a process
/// that was reaped may be unknown.
#[track_caller]
pub(crate) fn kill_and_wait_for_end(
    collector: &Collector,
    name: &str,
    mut child: ChildGuard,
    reap: bool,
) {
    child.kill();
    if reap {
        child.wait();
    }
    wait_for("the end of a killed process", || {
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin(name).unwrap();
        let expected = match view.runs().last().unwrap().end? {
            RunEnd::Signaled(9) => PluginState::Crashed,
            RunEnd::Unknown if reap => PluginState::Stopped,
            end => panic!("{end:?}"),
        };
        assert_eq!(view.state(), expected);
        Some(())
    });
}
