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

/// A shell with job control: it continues when the program is suspended, and brings it to the
/// foreground again when it is told to.
const WITH_JOB_CONTROL: &str = r#"
set -m
stty rows 24 cols 80
stty -g > "$DIR/before"
sh -c 'echo $$ > "$DIR/pid"; exec "$TOP" --interval 0.2'
echo $? > "$DIR/stopped"
stty -g > "$DIR/stopped-settings"
while [ ! -e "$DIR/continue" ]; do sleep 0.01; done
fg
echo $? > "$DIR/code"
stty -g > "$DIR/after"
"#;

/// A shell that outlives the terminal. `$WRAPPER` starts the program in a session without a terminal,
/// in which it receives no SIGHUP, or in the shell's session.
const OUTLIVES_THE_TERMINAL: &str = r#"
trap : HUP
stty rows 24 cols 80
$WRAPPER sh -c 'echo $$ > "$DIR/pid"; exec "$TOP" --interval 0.2'
echo $? > "$DIR/code"
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
        let panics: &[_] = if panics { &[("PLUGMETER_TOP_PANICS", "1")] } else { &[] };
        Self::start_in(name, ON_THE_TERMINAL, panics)
    }

    fn start_in(name: &str, shell: &str, variables: &[(&str, &str)]) -> Option<Self> {
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
        command.args(["-qec", shell, "/dev/null"]);
        command.env("DIR", &dir).env("TOP", &top).env("TERM", "xterm-256color");
        command.env("SHELL", "/bin/sh").env("RUST_BACKTRACE", "0");
        command.envs(variables.iter().copied());
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

    /// Waits until all six run, and returns them: one crashes now and then, and is another one
    /// later.
    fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        wait_for("six workers", || Some(workers(pid)).filter(|workers| workers.len() == 6))
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
        let after = &written[entered..];
        let left = after.find(LEAVE_ALTERNATE).expect("it gave it back");
        let after = &after[left..];
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

/// The terminal's other side goes away: with SIGHUP, or without it in another session. The program
/// reads the end of its input, and every write is an error.
#[test]
fn closed_terminal_ends_the_program() {
    for (name, wrapper) in
        [("hangup", ""), ("ignored-hangup", "env --ignore-signal=HUP"), ("no-hangup", "setsid")]
    {
        let variables = [("WRAPPER", wrapper)];
        let Some(mut session) = Session::start_in(name, OUTLIVES_THE_TERMINAL, &variables) else {
            return;
        };
        session.wait_for_output("PLUGIN");
        let children = session.children();
        session.script.kill();
        session.script.wait();
        assert_eq!(session.noted("code").trim(), "0", "{name}");
        assert_gone(children);
        fs::remove_dir_all(&session.dir).unwrap();
    }
}

/// The state of a process: proc_pid_stat(5).
fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|fields| fields.chars().next()).unwrap_or('-')
}

/// Waits until the program is suspended, continues it in the shell, and waits until it has drawn its
/// whole screen.
#[track_caller]
fn assert_suspends(session: &Session, is_restored: bool) {
    let stopped: i32 = session.noted("stopped").trim().parse().unwrap();
    assert!(stopped > 128, "it was stopped by a signal: {stopped}");
    assert_eq!(state(session.pid()), 'T');
    let settings = session.noted("stopped-settings");
    if is_restored {
        assert_eq!(settings, session.noted("before"));
        wait_for("the restored screen", || {
            let written = session.written();
            let (_, after) = written.rsplit_once(LEAVE_ALTERNATE)?;
            let is_restored = !after.contains(ENTER_ALTERNATE) && after.contains(SHOW_CURSOR);
            is_restored.then_some(())
        });
    }
    let before = session.written();
    fs::write(session.dir.join("continue"), "").unwrap();
    wait_for("a complete screen", || {
        let after = session.written()[before.len()..].to_owned();
        let (_, drawn) = after.rsplit_once(ENTER_ALTERNATE)?;
        let parts = ["PLUGIN", "steady", "bursty", "leaky", "events", "crashy", "quit"];
        parts.iter().all(|part| drawn.contains(part)).then_some(())
    });
}

#[test]
fn ctrl_z_suspends_until_fg() {
    let Some(mut session) = Session::start_in("ctrl-z", WITH_JOB_CONTROL, &[]) else { return };
    session.wait_for_output("quit");
    let children = session.children();
    session.press("\x1a");
    session.noted("stopped");
    // The terminal's own Ctrl-Z would stop the plugins as well. One may have crashed before, and one
    // may be waiting (D) for a process that was stopped before it could execute its program (vfork(2)).
    wait_for("the workers to be stopped", || {
        children.iter().all(|&child| ['T', 'Z', '-', 'D'].contains(&state(child))).then_some(())
    });
    assert!(children.iter().any(|&child| state(child) == 'T'));
    assert_suspends(&session, true);
    session.press("q");
    session.assert_restored("0");
    assert_gone(children);
}

#[test]
fn stop_signals_suspend_until_fg() {
    // SIGSTOP cannot be blocked: the settings are those of the program until it continues.
    for (signal, is_restored) in [("-TSTP", true), ("-STOP", false)] {
        let name = format!("stop{signal}");
        let Some(mut session) = Session::start_in(&name, WITH_JOB_CONTROL, &[]) else { return };
        session.wait_for_output("quit");
        let children = session.children();
        session.signal(signal);
        assert_suspends(&session, is_restored);
        session.press("q");
        session.assert_restored("0");
        assert_gone(children);
    }
}

#[test]
fn ctrl_z_without_job_control_redraws() {
    let Some(mut session) = Session::start("no-job-control", false) else { return };
    session.wait_for_output("quit");
    let children = session.children();
    session.press("\x1a");
    wait_for("the alternate screen again", || {
        let written = session.written();
        let (_, again) = written.split_once(LEAVE_ALTERNATE)?;
        (again.contains(ENTER_ALTERNATE) && again.contains("quit")).then_some(())
    });
    session.press("q");
    session.assert_restored("0");
    assert_gone(children);
}

#[test]
fn hangup_ends_a_suspended_program() {
    let Some(mut session) = Session::start_in("hangup-stopped", WITH_JOB_CONTROL, &[]) else {
        return;
    };
    session.wait_for_output("quit");
    let children = session.children();
    session.press("\x1a");
    session.noted("stopped");
    let pid = session.pid();
    // The kernel sends SIGHUP and SIGCONT to the group, which is an orphan then: setpgid(2).
    session.script.kill();
    session.script.wait();
    wait_for("the end of the program", || ['Z', '-'].contains(&state(pid)).then_some(()));
    assert_gone(children);
    fs::remove_dir_all(&session.dir).unwrap();
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
