//! Children that do as they are told: this program again, in a part that an environment variable
//! gives it; and what `/proc` says of a child.

use std::io::{BufRead, BufReader, Write, stdin};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio, exit};
use std::thread;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::support::{Reaped, wait_for};

const PART: &str = "PLUGMETER_TEST_PART";

/// Before every answer, so that it is told from what the test harness prints.
const MARK: char = '@';

const PAGE: usize = 4_096;

/// A child that plays a part. It ends when its input does.
pub(crate) struct Actor {
    pub child: Reaped,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts the child, and returns once it plays.
    pub(crate) fn playing(part: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::a_child_plays_its_part", "--nocapture"]);
        command.env(PART, part).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut actor = Self { child: Reaped(child), input, output };
        assert_eq!(actor.answer(), "ready");
        actor
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn tell(&mut self, request: &str) {
        writeln!(self.input.as_ref().unwrap(), "{request}").unwrap();
    }

    pub(crate) fn ask(&mut self, request: &str) -> String {
        self.tell(request);
        self.answer()
    }

    /// CPU time of the child, by its own clock.
    pub(crate) fn own_cpu_time(&mut self) -> Duration {
        Duration::from_nanos(self.ask("cpu").parse().unwrap())
    }

    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the child has gone");
            if let Some(answer) = line.strip_prefix(MARK) {
                return answer.trim().to_owned();
            }
        }
    }
}

fn answer(text: &str) {
    // The harness may have left a line without an end.
    println!("\n{MARK}{text}");
}

#[test]
fn a_child_plays_its_part() {
    let Ok(part) = std::env::var(PART) else {
        return; // nobody's child
    };
    let words: Vec<&str> = part.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let mut memory: Vec<u8> = Vec::new();
    match words[0] {
        // So many microseconds of CPU time, so many of sleep, in turn.
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
            memory = vec![1; HEAVY];
            thread::spawn(|| burn(Duration::MAX));
        }
        "memory" => {
            // Where they are always used, one touch brings two megabytes.
            nix::sys::prctl::set_thp_disable(true).unwrap();
            memory = vec![0; 64 << 20];
        }
        other => panic!("no such part: {other}"),
    }
    answer("ready");
    let mut touched = 0;
    for line in stdin().lines() {
        let line = line.unwrap();
        let (request, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: u64 = number.parse().unwrap();
        match request {
            "cpu" => answer(&cpu_clock(ClockId::CLOCK_PROCESS_CPUTIME_ID).as_nanos().to_string()),
            "touch" => {
                for _ in 0..number {
                    memory[touched * PAGE] = 1;
                    touched += 1;
                }
                answer("done");
            }
            // So many milliseconds of CPU time, in its last thread, and that is all.
            "burn-and-exit-3" => {
                burn(Duration::from_millis(number));
                exit(3);
            }
            // By a thread that is not the first one: it takes over the first one's number.
            "exec" => {
                thread::spawn(|| panic!("{}", Command::new("sleep").arg("1000").exec()));
            }
            other => panic!("no such request: {other}"),
        }
    }
    exit(0);
}

/// Resident memory of a child that plays "heavy", at least.
pub(crate) const HEAVY: usize = 16 << 20;

/// Uses so much CPU time in this thread.
fn burn(time: Duration) {
    let start = cpu_clock(ClockId::CLOCK_THREAD_CPUTIME_ID);
    while cpu_clock(ClockId::CLOCK_THREAD_CPUTIME_ID) - start < time {}
}

fn cpu_clock(clock: ClockId) -> Duration {
    clock.now().unwrap().into()
}

/// CPU time of a process, all of its threads and to the nanosecond. Also of one that has ended, as
/// long as it was not reaped.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    cpu_clock(ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32)).unwrap())
}

/// A shell that waits for the end of its input and then does `then`.
pub(crate) fn waiting_shell(then: &str) -> Reaped {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("read x; {then}")]).stdin(Stdio::piped());
    Reaped(command.spawn().unwrap())
}

/// Lets a waiting shell go on.
pub(crate) fn let_go(child: &mut Reaped) {
    drop(child.0.stdin.take().expect("it waits for the end of its input"));
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// The letter that `/proc` gives for what the process is doing.
pub(crate) fn letter(pid: u32) -> Option<char> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    Some(char::from(stat[name_ends + 2]))
}

pub(crate) fn wait_for_letter(pid: u32, wanted: char) {
    wait_for(&format!("{pid} in state {wanted}"), || (letter(pid) == Some(wanted)).then_some(()));
}

pub(crate) fn wait_for_name(pid: u32, wanted: &str) {
    wait_for(&format!("{pid} to be {wanted}"), || {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        (name.trim() == wanted).then_some(())
    });
}

/// The numbers of the threads of a process, its own among them.
pub(crate) fn tasks(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Resident pages, as the kernel counts them.
pub(crate) fn resident_pages(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}
