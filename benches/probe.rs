//! What reading real processes costs, beside the floor and the neighbours, all in one run.
//!
//! Contenders take turns, in an order that rotates: whoever follows a slow one finds cold caches, and
//! that should hit everybody. Once back to back, and once with a pause before each turn, as there is
//! in a host. The result is a table of medians and of ratios to the floor.
//!
//! Each has a thread of its own that is woken for its turn, as our sampler is. The floor is two bare
//! system calls a process: its CPU clock, and its held `statm`. Our tick does the same, and records.
#![allow(missing_docs)]

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIPPED: the floor is made of Linux's system calls");
}

#[cfg(target_os = "linux")]
mod linux {
    #![allow(unsafe_code)] // the floor is made of bare system calls

    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use plugmeter::{Collector, Config, ProbeKind};
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

    const PAUSE: Duration = Duration::from_millis(30);

    pub(super) fn main() {
        // `cargo test --benches` asks for a look whether it runs at all, and says so, as criterion
        // has it, by leaving out what `cargo bench` gives.
        let has = |flag| std::env::args().any(|arg| arg == flag);
        let quick = has("--test") || !has("--bench");
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
            println!(
                "\nThe sampler's thread all told, waiting, publishing and logging included:\n"
            );
            println!("| N | interval | CPU time a tick | of one core |\n|---|---|---|---|");
            wholes.iter().for_each(|line| println!("{line}"));
        }
    }

    /// How the CPU clock of a process moves while it runs without a break: the median step.
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

    /// What the thread has used of the CPU, by its own word, over some ticks of half a second.
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
        let used = used.expect("Linux says").as_secs_f64();
        let ticks = (after.ticks - before.ticks) as f64;
        format!(
            "| {} | {interval:?} | {:.0} us | {:.4} % |",
            pids.len(),
            used / ticks * 1e6,
            used / (ticks * interval.as_secs_f64()) * 100.0,
        )
    }

    /// Sleeping processes, until it is dropped.
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

        fn pids(&self) -> Vec<u32> {
            self.0.iter().map(Child::id).collect()
        }
    }

    impl Drop for Children {
        fn drop(&mut self) {
            for child in &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    trait Contender {
        fn name(&self) -> &'static str;
        /// Reads all processes once, and says how long that took.
        fn turn(&mut self) -> Duration;
    }

    /// A contender that waits for its turns in a thread of its own, which ends with the sender.
    struct InThread {
        name: &'static str,
        call: mpsc::Sender<()>,
        answer: mpsc::Receiver<Duration>,
    }

    fn in_thread(mut contender: impl Contender + Send + 'static) -> Box<dyn Contender> {
        let (call, called) = mpsc::channel();
        let (give, answer) = mpsc::channel();
        let name = contender.name();
        std::thread::spawn(
            move || {
                while called.recv().is_ok() && give.send(contender.turn()).is_ok() {}
            },
        );
        Box::new(InThread { name, call, answer })
    }

    impl Contender for InThread {
        fn name(&self) -> &'static str {
            self.name
        }

        fn turn(&mut self) -> Duration {
            self.call.send(()).expect("it waits");
            self.answer.recv().expect("it answers")
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
        /// What the clock of the first process says.
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
                // SAFETY: writes no more than the length of the buffer that is handed over.
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
            let hour = Duration::from_secs(3_600);
            let config = Config::default().poll_interval(hour).history_duration(hour * 720);
            let collector = Collector::start(config.probe(probe)).expect("it starts");
            for pid in pids {
                let plugin = collector.register(&pid.to_string()).expect("a good name");
                plugin.started(*pid, "");
            }
            Self { collector, name }
        }
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
        let mut contenders: Vec<Box<dyn Contender>> = vec![
            in_thread(Floor::new(pids)),
            Box::new(Ours::new(pids, ProbeKind::Native, "plugmeter, a whole tick")),
            Box::new(Ours::new(pids, ProbeKind::Portable, "plugmeter, portable probe")),
            in_thread(sysinfo),
            in_thread(Procfs(pids.iter().map(procfs).collect())),
        ];
        let mut times = vec![Vec::with_capacity(turns); contenders.len()];
        // Back to back a turn is a handful of ticks, so that each finds its own caches warm.
        let ticks = if pause.is_some() { 1 } else { 5 };
        for turn in 0..turns / ticks {
            for i in 0..contenders.len() {
                let i = (i + turn) % contenders.len();
                if let Some(pause) = pause {
                    std::thread::sleep(pause);
                }
                times[i].extend((0..ticks).map(|_| contenders[i].turn()));
            }
        }
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        contenders.iter().map(|one| one.name()).zip(times.into_iter().map(median)).collect()
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
