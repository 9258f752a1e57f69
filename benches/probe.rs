//! The cost of reading real processes, compared with a lower bound and with other crates in one run.
//!
//! The contenders take turns in a rotating order, so that the cold caches after a slow contender affect
//! all of them equally. The turns run back to back, and again with a pause before each turn, as in a
//! host. The result is a table of medians and of ratios to the lower bound.
//!
//! Each contender has its own thread, which is woken for its turn like the sampler. The lower bound
//! ("floor") is two system calls per process: its CPU clock, and its open `statm`. A tick makes the same
//! calls, and records the results.
//!
//! Process trees are measured in a PID namespace of their own if possible (root, `unshare`): a tick costs
//! more if pids were assigned since the last one, and in a namespace of its own nobody else assigns any.
#![allow(missing_docs)] // a bench has no public API

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIPPED: the lower bound consists of Linux system calls");
}

#[cfg(target_os = "linux")]
mod linux {
    #![allow(unsafe_code)] // the lower bound consists of system calls

    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use plugmeter::{Collector, Config, ProbeKind};
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

    const PAUSE: Duration = Duration::from_millis(30);

    pub(super) fn main() {
        // `cargo test --benches` only checks that the bench runs. As for criterion, it omits the
        // argument `--bench` of `cargo bench`.
        let has = |flag| std::env::args().any(|arg| arg == flag);
        let quick = has("--test") || !has("--bench");
        if has(FORKS) {
            fork_on_request();
            return;
        }
        if has(IN_NAMESPACE) {
            trees(quick);
            return;
        }
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("Reading N sleeping processes once; median of all turns; {cores} cores.\n");
        println!("| N | turns | contender | a process | to the floor |");
        println!("|---|---|---|---|---|");
        let sizes: &[usize] = if quick { &[10] } else { &[10, 100, 1_000] };
        let mut wholes = Vec::new();
        for &n in sizes {
            let children = Children::new(n);
            if !quick && n != 100 {
                wholes.push(whole(&children.pids()));
            }
            for pause in [None, Some(PAUSE)] {
                let turns = match (quick, pause) {
                    (true, _) => 10,
                    (false, Some(_)) => 100,
                    (false, None) => (200_000 / n).clamp(200, 2_000),
                };
                let results = run(&children.pids(), turns, pause);
                report(n, pause, results);
            }
        }
        println!(
            "\nThe CPU clock of a process that never sleeps moves in steps of {:.1?}.",
            step()
        );
        if !wholes.is_empty() {
            println!("\nThe sampler's whole thread, including waiting, publishing and logging:\n");
            println!("| N | interval | CPU time a tick | of one core |\n|---|---|---|---|");
            wholes.iter().for_each(|line| println!("{line}"));
        }
        trees_in_namespace(quick);
    }

    /// The argument of the process that measures process trees.
    const IN_NAMESPACE: &str = "--trees";
    /// The argument of the process of a [`Forker`].
    const FORKS: &str = "--forks";

    /// Measures process trees in a process of its own.
    fn trees_in_namespace(quick: bool) {
        let this = std::env::current_exe().expect("it has a path");
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(this);
        command.arg(if quick { "--test" } else { "--bench" }).arg(IN_NAMESPACE);
        println!();
        if !command.status().is_ok_and(|status| status.success()) {
            println!("In a PID namespace that others use, too:\n");
            trees(quick);
        }
    }

    /// Numbers of trees, and of the processes of each.
    const TREES: [(usize, usize); 4] = [(10, 1), (10, 3), (10, 10), (100, 10)];

    /// Prints the cost of a tick with process trees.
    fn trees(quick: bool) {
        let mut forker = Forker::new();
        println!(
            "Trees of sleeping processes, N trees x processes of each; a tick, back to back.\n"
        );
        println!(
            "| trees | pids assigned a tick | contender | median | lowest | median to the floor |"
        );
        println!("|---|---|---|---|---|---|");
        for &(n, size) in if quick { &TREES[..2] } else { &TREES[..] } {
            let children = Children::trees(n, size);
            for forks in [0, 20, 1_000] {
                let turns = match (quick, forks) {
                    (true, _) => 2,
                    (false, 0) => (40_000 / (n * size)).clamp(60, 1_000),
                    (false, 20) => 60,
                    (false, _) => 10,
                };
                // Back to back, as above. Otherwise the forks lie between all ticks.
                let ticks = if forks == 0 && !quick { 5 } else { 1 };
                let results = take_turns(tree_contenders(&children, size), turns, ticks, || {
                    forker.fork(forks);
                });
                report_trees(&format!("{n} x {size}"), forks, &results);
            }
        }
    }

    fn tree_contenders(children: &Children, size: usize) -> Vec<Box<dyn Contender>> {
        let roots = children.pids();
        let all: Vec<u32> =
            roots.iter().flat_map(|&root| std::iter::once(root).chain(children_of(root))).collect();
        assert_eq!(all.len(), roots.len() * size);
        vec![
            in_thread(Floor::new(&all)),
            Box::new(Ours::with_trees(&roots, true, "plugmeter, with trees")),
            Box::new(Ours::with_trees(&roots, false, "plugmeter, without trees")),
            in_thread(Scan(Vec::new())),
            in_thread(SysinfoAll(System::new().expect("a known platform"))),
        ]
    }

    fn report_trees(trees: &str, forks: u32, results: &[(&str, Vec<Duration>)]) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let floor = micros(median(&results[0].1));
        for (name, times) in results {
            let (median, lowest) = (micros(median(times)), micros(times[0]));
            let ratio = median / floor;
            println!(
                "| {trees} | {forks} | {name} | {median:.1} us | {lowest:.1} us | {ratio:.2} |"
            );
        }
        let [with, without] = [1, 2].map(|i| micros(median(&results[i].1)));
        let [low_with, low_without] = [1, 2].map(|i| micros(results[i].1[0]));
        println!(
            "| {trees} | {forks} | with trees more than without | {:.1} us | {:.1} us | |",
            with - without,
            low_with - low_without,
        );
    }

    fn children_of(pid: u32) -> Vec<u32> {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).expect("the kernel lists children");
        children.split_ascii_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }

    fn is_sleep(pid: u32) -> bool {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name == "sleep\n")
    }

    /// Forks on request, in a process of its own: after a fork, the first write of the parent to each
    /// of its pages is slow.
    struct Forker {
        child: Child,
        requests: ChildStdin,
        answers: ChildStdout,
    }

    impl Forker {
        fn new() -> Self {
            let mut command = Command::new(std::env::current_exe().expect("it has a path"));
            command.arg(FORKS).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("it starts");
            let requests = child.stdin.take().expect("it is a pipe");
            let answers = child.stdout.take().expect("it is a pipe");
            Self { child, requests, answers }
        }

        /// Assigns `n` pids, none of which is in use afterwards.
        fn fork(&mut self, n: u32) {
            if n > 0 {
                self.requests.write_all(&n.to_ne_bytes()).expect("it waits");
                self.answers.read_exact(&mut [0]).expect("it answers");
            }
        }
    }

    impl Drop for Forker {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// The process of a [`Forker`]. It ends with its input.
    fn fork_on_request() {
        let mut n = [0; 4];
        while std::io::stdin().read_exact(&mut n).is_ok() {
            for _ in 0..u32::from_ne_bytes(n) {
                // SAFETY: the child calls nothing but `_exit`.
                unsafe {
                    match libc::fork() {
                        -1 => panic!("{}", std::io::Error::last_os_error()),
                        0 => libc::_exit(0),
                        pid => assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid),
                    }
                }
            }
            let mut out = std::io::stdout();
            out.write_all(&[0]).and_then(|()| out.flush()).expect("the other end waits");
        }
    }

    /// Returns the median step of a process's CPU clock while the process is busy.
    fn step() -> Duration {
        let mut busy = Command::new("sh");
        busy.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
        let children = Children(vec![busy.spawn().expect("there is a shell")]);
        let mut floor = Floor::new(&children.pids());
        let (mut steps, mut last) = (Vec::new(), Duration::ZERO);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            let now = floor.clock();
            if now != last {
                steps.push(now - last);
                last = now;
            }
        }
        steps.sort_unstable();
        steps[steps.len() / 2]
    }

    /// Returns the CPU time of the sampler's thread, as it reports it, over ticks of half a second.
    fn whole(pids: &[u32]) -> String {
        let interval = Duration::from_millis(500);
        let config = Config::default().poll_interval(interval);
        let collector = Collector::start(config).expect("it starts");
        for pid in pids {
            let plugin = collector.register(&pid.to_string()).expect("a good name");
            plugin.started(*pid, "");
        }
        std::thread::sleep(interval);
        let before = collector.snapshot().sampler();
        std::thread::sleep(interval * 20);
        let after = collector.snapshot().sampler();
        let used = after.cpu_time.zip(before.cpu_time).map(|(after, before)| after - before);
        let used = used.expect("Linux reports it").as_secs_f64();
        let ticks = (after.ticks - before.ticks) as f64;
        format!(
            "| {} | {interval:?} | {:.0} us | {:.4} % |",
            pids.len(),
            used / ticks * 1e6,
            used / (ticks * interval.as_secs_f64()) * 100.0,
        )
    }

    /// Sleeping processes, which are killed on drop.
    struct Children(Vec<Child>);

    impl Children {
        fn new(n: usize) -> Self {
            let sleep = |_| {
                let mut command = Command::new("sleep");
                command.arg("10000").stdin(Stdio::null()).stdout(Stdio::null());
                command.spawn().expect("there is sleep")
            };
            Self((0..n).map(sleep).collect())
        }

        /// Roots that each have `size - 1` children, in a group of their own.
        fn trees(n: usize, size: usize) -> Self {
            let tree = |_| {
                let script = "sleep 10000 & ".repeat(size - 1) + "exec sleep 10000";
                let mut command = Command::new("sh");
                command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null());
                command.process_group(0).spawn().expect("there is a shell")
            };
            let children = Self((0..n).map(tree).collect());
            for pid in children.pids() {
                while children_of(pid).len() < size - 1 || !is_sleep(pid) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            children
        }

        fn pids(&self) -> Vec<u32> {
            self.0.iter().map(Child::id).collect()
        }
    }

    impl Drop for Children {
        fn drop(&mut self) {
            for child in &mut self.0 {
                // SAFETY: signals the group of a child that was not reaped, if it leads one.
                unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    trait Contender {
        fn name(&self) -> &'static str;
        /// Reads all processes once, and returns the duration.
        fn turn(&mut self) -> Duration;
    }

    /// A contender that waits for its turns in its own thread, which ends when the sender is dropped.
    struct InThread {
        name: &'static str,
        turns: mpsc::Sender<()>,
        durations: mpsc::Receiver<Duration>,
    }

    fn in_thread(mut contender: impl Contender + Send + 'static) -> Box<dyn Contender> {
        let (turns, turn) = mpsc::channel();
        let (duration, durations) = mpsc::channel();
        let name = contender.name();
        std::thread::spawn(
            move || {
                while turn.recv().is_ok() && duration.send(contender.turn()).is_ok() {}
            },
        );
        Box::new(InThread { name, turns, durations })
    }

    impl Contender for InThread {
        fn name(&self) -> &'static str {
            self.name
        }

        fn turn(&mut self) -> Duration {
            self.turns.send(()).expect("the thread waits");
            self.durations.recv().expect("the thread returns a duration")
        }
    }

    struct Floor(Vec<(libc::clockid_t, File)>);

    impl Floor {
        fn new(pids: &[u32]) -> Self {
            let open = |&pid: &u32| {
                let mut clock = 0;
                // SAFETY: writes one `clockid_t` through a pointer to one.
                let error =
                    unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) };
                assert_eq!(error, 0, "the process lives");
                (clock, File::open(format!("/proc/{pid}/statm")).expect("the process lives"))
            };
            Self(pids.iter().map(open).collect())
        }
    }

    impl Floor {
        /// Reads the CPU clock of the first process.
        fn clock(&mut self) -> Duration {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: writes one `timespec` through a pointer to one.
            assert_eq!(unsafe { libc::clock_gettime(self.0[0].0, &raw mut time) }, 0);
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        }
    }

    impl Contender for Floor {
        fn name(&self) -> &'static str {
            "floor: two bare system calls"
        }

        fn turn(&mut self) -> Duration {
            let start = Instant::now();
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let mut buffer = [0u8; 160];
            for (clock, statm) in &self.0 {
                // SAFETY: writes one `timespec` through a pointer to one.
                assert_eq!(unsafe { libc::clock_gettime(*clock, &raw mut time) }, 0);
                let (fd, into) = (statm.as_raw_fd(), buffer.as_mut_ptr().cast());
                // SAFETY: writes at most the length of the buffer.
                assert!(unsafe { libc::pread(fd, into, buffer.len(), 0) } > 0);
            }
            start.elapsed()
        }
    }

    struct Ours {
        collector: Collector,
        name: &'static str,
    }

    impl Ours {
        fn new(pids: &[u32], probe: ProbeKind, name: &'static str) -> Self {
            Self::start(pids, hourly().probe(probe), name)
        }

        fn with_trees(pids: &[u32], process_trees: bool, name: &'static str) -> Self {
            Self::start(pids, hourly().process_trees(process_trees), name)
        }

        fn start(pids: &[u32], config: Config, name: &'static str) -> Self {
            let collector = Collector::start(config).expect("it starts");
            for pid in pids {
                let plugin = collector.register(&pid.to_string()).expect("a good name");
                plugin.started(*pid, "");
            }
            Self { collector, name }
        }
    }

    /// Ticks only on request.
    fn hourly() -> Config {
        let hour = Duration::from_secs(3_600);
        Config::default().poll_interval(hour).history_duration(hour * 720)
    }

    impl Contender for Ours {
        fn name(&self) -> &'static str {
            self.name
        }

        fn turn(&mut self) -> Duration {
            let snapshot = self.collector.sample_now().expect("it runs");
            snapshot.sampler().last_tick_duration
        }
    }

    struct Sysinfo {
        system: System,
        pids: Vec<Pid>,
    }

    impl Contender for Sysinfo {
        fn name(&self) -> &'static str {
            "sysinfo, without tasks"
        }

        fn turn(&mut self) -> Duration {
            let start = Instant::now();
            let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
            let pids = ProcessesToUpdate::Some(&self.pids);
            self.system.refresh_processes_specifics(pids, true, kind);
            start.elapsed()
        }
    }

    /// Finds trees by reading the parents of all processes of the machine.
    struct Scan(Vec<u8>);

    impl Contender for Scan {
        fn name(&self) -> &'static str {
            "scan: every /proc/PID/stat"
        }

        fn turn(&mut self) -> Duration {
            let start = Instant::now();
            for entry in std::fs::read_dir("/proc").expect("it is mounted").flatten() {
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| name.parse::<u32>().is_ok()) {
                    self.0.clear();
                    let file = File::open(entry.path().join("stat"));
                    // It may have exited.
                    let _ = file.and_then(|mut file| file.read_to_end(&mut self.0));
                }
            }
            start.elapsed()
        }
    }

    struct SysinfoAll(System);

    impl Contender for SysinfoAll {
        fn name(&self) -> &'static str {
            "sysinfo, all processes"
        }

        fn turn(&mut self) -> Duration {
            let start = Instant::now();
            let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
            self.0.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
            start.elapsed()
        }
    }

    struct Procfs(Vec<procfs::process::Process>);

    impl Contender for Procfs {
        fn name(&self) -> &'static str {
            "procfs, held process"
        }

        fn turn(&mut self) -> Duration {
            let start = Instant::now();
            for process in &self.0 {
                let stat = process.stat().expect("the process lives");
                std::hint::black_box((stat.utime, stat.stime, stat.rss));
            }
            start.elapsed()
        }
    }

    fn run(pids: &[u32], turns: usize, pause: Option<Duration>) -> Vec<(&'static str, Duration)> {
        let procfs = |&pid: &u32| procfs::process::Process::new(pid as i32).expect("it lives");
        let sysinfo = Sysinfo {
            system: System::new().expect("a known platform"),
            pids: pids.iter().map(|&pid| Pid::from_u32(pid)).collect(),
        };
        let contenders: Vec<Box<dyn Contender>> = vec![
            in_thread(Floor::new(pids)),
            Box::new(Ours::new(pids, ProbeKind::Native, "plugmeter, a whole tick")),
            Box::new(Ours::new(pids, ProbeKind::Portable, "plugmeter, portable probe")),
            in_thread(sysinfo),
            in_thread(Procfs(pids.iter().map(procfs).collect())),
        ];
        // Back to back, a turn is five ticks, so that each contender finds its caches warm.
        let ticks = if pause.is_some() { 1 } else { 5 };
        let results = take_turns(contenders, turns, ticks, || {
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
        });
        results.into_iter().map(|(name, times)| (name, median(&times))).collect()
    }

    /// Returns the durations of the ticks of each contender, sorted. `before` is called before each turn.
    fn take_turns(
        mut contenders: Vec<Box<dyn Contender>>,
        turns: usize,
        ticks: usize,
        mut before: impl FnMut(),
    ) -> Vec<(&'static str, Vec<Duration>)> {
        let mut times = vec![Vec::with_capacity(turns); contenders.len()];
        for turn in 0..turns / ticks {
            for i in 0..contenders.len() {
                let i = (i + turn) % contenders.len();
                before();
                times[i].extend((0..ticks).map(|_| contenders[i].turn()));
            }
        }
        times.iter_mut().for_each(|times| times.sort_unstable());
        contenders.iter().map(|one| one.name()).zip(times).collect()
    }

    /// The median of sorted durations.
    fn median(times: &[Duration]) -> Duration {
        times[times.len() / 2]
    }

    fn report(n: usize, pause: Option<Duration>, results: Vec<(&'static str, Duration)>) {
        let turns = pause.map_or("back to back".to_owned(), |pause| format!("every {pause:?}"));
        let floor = results[0].1.as_secs_f64();
        for (name, time) in results {
            let each = time.as_secs_f64() * 1e6 / n as f64;
            let ratio = time.as_secs_f64() / floor;
            println!("| {n} | {turns} | {name} | {each:.2} us | {ratio:.2} |");
        }
    }
}
