//! `top` on a real pseudo-terminal, which `script` of util-linux provides: however it ends, the
//! terminal is restored and no child process remains.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // in a test, a panic is the failure

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use plugmeter_test_support::examples::{is_worker, workers};
use plugmeter_test_support::{ChildGuard, report_missing, wait_for};

/// The program under test.
const TOP: &str = env!("CARGO_BIN_EXE_plugmeter-top");

const ENTER_ALTERNATE: &str = "\x1b[?1049h";
const LEAVE_ALTERNATE: &str = "\x1b[?1049l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// What runs on the terminal: it notes the terminal's settings before and after, the process id,
/// and how that ended.
const ON_THE_TERMINAL: &str = r#"
stty rows 24 cols 80
stty -g > "$DIR/before"
sh -c 'echo $$ > "$DIR/pid"; exec "$TOP" --interval 0.2'
echo $? > "$DIR/code"
stty -g > "$DIR/after"
"#;

/// The example on a terminal of its own.
struct Session {
    script: ChildGuard,
    dir: PathBuf,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    /// `None`, and says so, where there is no `script` that can do it; a failure where it has to
    /// be.
    fn start(name: &str, panics: bool) -> Option<Self> {
        let version = Command::new("script").arg("--version").output();
        if !version.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("util-linux")) {
            report_missing("there is no `script` of util-linux", "what needs a terminal");
            return None;
        }
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("top-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        // A copy: one of the tests takes it away.
        let top = dir.join("top");
        fs::copy(TOP, &top).unwrap();
        let mut command = Command::new("script");
        command.args(["-qec", ON_THE_TERMINAL, "/dev/null"]);
        command.env("DIR", &dir).env("TOP", &top).env("TERM", "xterm-256color");
        command.env("SHELL", "/bin/sh").env("RUST_BACKTRACE", "0");
        if panics {
            command.env("PLUGMETER_TOP_PANICS", "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = ChildGuard(command.spawn().unwrap());
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut out = script.0.stdout.take().unwrap();
        let kept = Arc::clone(&written);
        thread::spawn(move || {
            let mut piece = [0; 4_096];
            while let Ok(read @ 1..) = out.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Some(Self { script, dir, written })
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn wait_for_output(&self, words: &str) {
        wait_for(words, || self.written().contains(words).then_some(()));
    }

    fn press(&mut self, keys: &str) {
        let stdin = self.script.0.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// What was noted in a file, once it was.
    #[track_caller]
    fn noted(&self, file: &str) -> String {
        wait_for(file, || {
            fs::read_to_string(self.dir.join(file)).ok().filter(|noted| noted.ends_with('\n'))
        })
    }

    fn pid(&self) -> u32 {
        self.noted("pid").trim().parse().unwrap()
    }

    /// Waits until all five run, and returns them: one crashes now and then, and is another one
    /// later.
    fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        wait_for("five workers", || Some(workers(pid)).filter(|workers| workers.len() == 5))
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for the end, and holds that the terminal is as it was.
    #[track_caller]
    fn assert_restored(mut self, code: &str) -> String {
        assert_eq!(self.noted("code").trim(), code, "{}", self.written());
        assert_eq!(self.noted("after"), self.noted("before"));
        self.script.wait();
        let written = self.written();
        let entered = written.rfind(ENTER_ALTERNATE).expect("it took the alternate screen");
        let left = written.find(LEAVE_ALTERNATE).expect("it gave it back");
        assert!(left > entered, "{written:?}");
        let after = &written[left..];
        assert!(after.contains(SHOW_CURSOR), "the cursor is hidden: {after:?}");
        assert!(!after.contains("\x1b[?25l"), "the cursor is hidden: {after:?}");
        fs::remove_dir_all(&self.dir).unwrap();
        after.to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where a test has failed, what it has started may be what does not end.
        if thread::panicking() && self.dir.join("pid").exists() {
            let _ = Command::new("sh")
                .args(["-c", "kill -KILL $(cat pid)"])
                .current_dir(&self.dir)
                .status();
        }
    }
}

#[track_caller]
fn assert_gone(children: Vec<u32>) {
    for pid in children {
        wait_for("the worker is gone", || (!is_worker(pid)).then_some(()));
    }
}

#[test]
fn q_quits_and_restores_the_terminal() {
    let Some(mut session) = Session::start("quit", false) else { return };
    for name in ["PLUGIN", "steady", "bursty", "leaky", "events", "crashy", "sampler "] {
        session.wait_for_output(name);
    }
    let children = session.children();
    session.press("\r");
    session.wait_for_output("Runs, the newest first");
    session.press("q");
    session.assert_restored("0");
    assert_gone(children);
}

#[test]
fn panic_restores_the_terminal_and_is_printed() {
    let Some(session) = Session::start("panic", true) else { return };
    let after = session.assert_restored("101");
    assert!(after.contains("panicked at"), "{after:?}");
    assert!(after.contains("PLUGMETER_TOP_PANICS is set"), "{after:?}");
}

#[test]
fn error_restores_the_terminal_and_is_printed() {
    let Some(session) = Session::start("error", false) else { return };
    session.wait_for_output("PLUGIN");
    let children = session.children();
    // The one that crashes cannot be started anew.
    fs::remove_file(session.dir.join("top")).unwrap();
    let after = session.assert_restored("1");
    assert!(after.contains("top: No such file or directory"), "{after:?}");
    assert_gone(children);
}

#[test]
fn signals_restore_the_terminal() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let Some(session) = Session::start(&format!("signal{signal}"), false) else { return };
        session.wait_for_output("PLUGIN");
        let children = session.children();
        session.signal(signal);
        session.assert_restored("0");
        assert_gone(children);
    }
}

#[test]
fn closed_terminal_ends_the_program() {
    let Some(mut session) = Session::start("gone", false) else { return };
    session.wait_for_output("PLUGIN");
    let children = session.children();
    let pid = session.pid();
    // With it goes the other side of the terminal.
    session.script.kill();
    session.script.wait();
    let is_top = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    wait_for("the end of the example", || (!is_top()).then_some(()));
    assert_gone(children);
}

#[test]
fn killed_program_leaves_no_child() {
    let Some(session) = Session::start("kill", false) else { return };
    let children = session.children();
    session.signal("-KILL");
    // The terminal is lost: nobody can give it back then.
    assert_eq!(session.noted("code").trim(), "137");
    assert_gone(children);
}

#[test]
fn missing_terminal_is_a_usage_error() {
    let output = Command::new(TOP).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "top: standard output is not a terminal\n");
    assert!(output.stdout.is_empty());
}

#[test]
fn invalid_arguments_are_usage_errors() {
    let run = |args: &[&str]| Command::new(TOP).args(args).stdin(Stdio::null()).output().unwrap();
    let help = run(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for option in ["NAME=PID", "--interval", "--history"] {
        assert!(text.contains(option), "{text}");
    }
    for args in [&["--for", "1"][..], &["--interval", "0"], &["--history"], &["x"], &["x=0"]] {
        let output = run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
        assert!(errors.starts_with("top: "), "{args:?}: {errors}");
    }
}
