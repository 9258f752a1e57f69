//! Files of procfs. Arbitrary bytes: no parser panics, and every number that a parser returns occurs in
//! the bytes in the same notation. Files with arbitrary values, written as the kernel does: the parsers
//! return these values.
#![no_main]

use std::fmt::Write as _;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use plugmeter::fuzzing::{Stat, command_name, procfs};

fuzz_target!(|bytes: &[u8]| {
    check_bytes(bytes);
    if let Ok(files) = Files::arbitrary(&mut Unstructured::new(bytes)) {
        files.check();
    }
});

fn check_bytes(bytes: &[u8]) {
    let occurs =
        |text: &[u8]| text.is_empty() || bytes.windows(text.len()).any(|part| part == text);
    let found = procfs(bytes);
    let mut numbers: Vec<u64> = found.children.iter().copied().map(u64::from).collect();
    numbers.extend(found.resident_pages);
    numbers.extend([found.cgroup_cpu_micros, found.oom_kills].into_iter().flatten());
    let pids = [found.thread_group, found.last_pid, found.number];
    numbers.extend(pids.into_iter().flatten().map(u64::from));
    if let Some((major, minor)) = found.kernel_release {
        numbers.extend([major, minor].map(u64::from));
    }
    // In KiB in the file.
    for bytes in [found.peak_resident, found.total_memory].into_iter().flatten() {
        assert_eq!(bytes % 1_024, 0);
        numbers.push(bytes / 1_024);
    }
    if let Some(stat) = &found.stat {
        numbers.extend([stat.parent, stat.threads].map(u64::from));
        numbers.push(stat.start_ticks);
        // Zero stands for -1 as well.
        numbers.extend([stat.group, stat.session].into_iter().filter(|id| *id != 0).map(u64::from));
        assert!(stat.state.is_ascii_alphabetic());
        let in_parentheses = [b"(", &stat.name[..], b")"].concat();
        assert!(occurs(&in_parentheses), "{stat:?}");
    }
    for number in numbers {
        let digits = number.to_string();
        assert!(occurs(digits.as_bytes()), "{number} does not occur in {:?}", text(bytes));
    }
    let (v1, v2) = &found.memory_cgroups;
    for path in [v1, v2].into_iter().flatten() {
        assert!(path.starts_with('/') && path.split('/').all(|part| part != ".."), "{path:?}");
    }
    let (name, shown) = command_name(bytes);
    assert!(name.len() <= 15 && bytes.starts_with(&name));
    assert!(name.len() == 15 || bytes.get(name.len()).is_none_or(|&byte| byte == 0), "{name:?}");
    assert_eq!(shown, String::from_utf8_lossy(&name));
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The values of files.
#[derive(Debug, Arbitrary)]
struct Files {
    pid: u32,
    name: Vec<u8>,
    state: u8,
    parent: u32,
    group: Option<u32>,
    session: Option<u32>,
    times: [u64; 4],
    threads: u32,
    start_ticks: u64,
    /// All other fields of the line; the number of those at its end differs between kernels.
    others: [i64; 10],
    rest: Vec<u64>,
    pages: [u64; 7],
    children: Vec<u32>,
    load: [u16; 5],
    memory_kib: u64,
    micros: u64,
}

impl Files {
    fn check(&self) {
        self.check_stat();
        self.check_status();
        let Self { pages, children, load, memory_kib, micros, pid, .. } = self;
        let statm = pages.map(|pages| pages.to_string()).join(" ");
        assert_eq!(procfs(format!("{statm}\n").as_bytes()).resident_pages, Some(pages[1]));
        let list: String = children.iter().map(|child| format!("{child} ")).collect();
        assert_eq!(procfs(list.as_bytes()).children, *children);
        let [first, second, third, running, all] = load;
        let average = format!("0.{first} {second}.00 {third}.25 {running}/{all} {pid}\n");
        assert_eq!(procfs(average.as_bytes()).last_pid, Some(*pid), "{average}");
        assert_eq!(procfs(format!("{pid}\n").as_bytes()).number, Some(*pid));
        let meminfo = format!("MemTotal: {memory_kib:>14} kB\nMemFree: {micros:>15} kB\n");
        assert_eq!(procfs(meminfo.as_bytes()).total_memory, memory_kib.checked_mul(1_024));
        let cpu_stat = format!("usage_usec {micros}\nuser_usec {memory_kib}\nsystem_usec 0\n");
        assert_eq!(procfs(cpu_stat.as_bytes()).cgroup_cpu_micros, Some(*micros));
        let events = format!("low 0\nhigh {pid}\noom {pid}\noom_kill {micros}\noom_group_kill 0\n");
        assert_eq!(procfs(events.as_bytes()).oom_kills, Some(*micros));
        let release = format!("{running}.{all}.{first}-generic\n");
        let numbers = (u32::from(*running), u32::from(*all));
        assert_eq!(procfs(release.as_bytes()).kernel_release, Some(numbers));
    }

    /// A name with spaces, parentheses and numbers is no part of the fields.
    fn check_stat(&self) {
        let name: Vec<u8> = self.name.iter().copied().take(64).collect();
        let state = b'A' + self.state % 26;
        let id = |id: Option<u32>| id.map_or("-1".to_owned(), |id| id.to_string());
        let [user, system, children_user, children_system] = self.times;
        let mut line = format!("{} (", self.pid).into_bytes();
        line.extend(&name);
        let others = &self.others;
        let mut fields = format!(
            ") {} {} {} {} {} {} {} {} {} {} {} {user} {system} {children_user} {children_system} \
             {} {} {} {} {}",
            char::from(state),
            self.parent,
            id(self.group),
            id(self.session),
            others[0],
            others[1],
            others[2],
            others[3],
            others[4],
            others[5],
            others[6],
            others[7],
            others[8],
            self.threads,
            others[9],
            self.start_ticks,
        );
        for number in &self.rest {
            let _ = write!(fields, " {number}");
        }
        line.extend(fields.as_bytes());
        line.push(b'\n');
        let sums = user.checked_add(system).zip(children_user.checked_add(children_system));
        let expected = sums.map(|(cpu_ticks, children_ticks)| Stat {
            name,
            state,
            parent: self.parent,
            group: self.group.unwrap_or(0),
            session: self.session.unwrap_or(0),
            cpu_ticks,
            children_ticks,
            threads: self.threads,
            start_ticks: self.start_ticks,
        });
        assert_eq!(procfs(&line).stat, expected, "{}", text(&line));
    }

    /// The kernel escapes newlines in the name.
    fn check_status(&self) {
        let Self { pid, memory_kib, parent, .. } = self;
        let mut status = b"Name:\t".to_vec();
        status.extend(self.name.iter().filter(|&&byte| byte != b'\n'));
        let fields = format!(
            "\nUmask:\t0022\nState:\tR (running)\nTgid:\t{pid}\nNgid:\t0\nPid:\t{parent}\n\
             VmPeak:\t{parent:>8} kB\nVmHWM:\t{memory_kib:>8} kB\nVmRSS:\t{parent:>8} kB\n"
        );
        status.extend(fields.as_bytes());
        let found = procfs(&status);
        assert_eq!(found.thread_group, Some(*pid), "{}", text(&status));
        assert_eq!(found.peak_resident, memory_kib.checked_mul(1_024), "{}", text(&status));
    }
}
