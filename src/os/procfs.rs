//! Parsers of `/proc` files of Linux. They take bytes, so that they are tested on all platforms.
//!
//! Sources: proc(5), and Documentation/filesystems/proc.rst of the kernel.

use std::str::FromStr;

/// The number after `key` at the beginning of a line.
fn number_after(text: &[u8], key: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key))?;
    parse(line.trim_ascii())
}

/// Resident pages: the second number of `/proc/PID/statm`.
pub(crate) fn resident_pages(statm: &[u8]) -> Option<u64> {
    parse(statm.split(|&byte| byte == b' ').nth(1)?.trim_ascii_end())
}

/// `/proc/PID/stat` (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatFields<'a> {
    /// `comm`, with newlines and backslashes escaped.
    pub name: &'a [u8],
    pub state: u8,
    /// 0 if the parent is in another PID namespace.
    pub parent: u32,
    /// 0 if it is unknown: of another PID namespace, or of a process that is being reaped.
    pub group: u32,
    /// The same.
    pub session: u32,
    /// `utime` + `stime`, in clock ticks.
    pub cpu_ticks: u64,
    /// `cutime` + `cstime`, in clock ticks.
    pub children_ticks: u64,
    pub threads: u32,
    /// `starttime`, in clock ticks since the start of the machine.
    pub start_ticks: u64,
}

impl StatFields<'_> {
    /// Whether it is stopped, by a signal or by a debugger.
    pub(crate) const fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// Parses `/proc/PID/stat`. The second field is the command's name in parentheses and may contain
/// spaces and parentheses, so the other fields are counted from the *last* `)`.
pub(crate) fn process_stat(stat: &[u8]) -> Option<StatFields<'_>> {
    let name_start = stat.iter().position(|&byte| byte == b'(')? + 1;
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let name = stat.get(name_start..name_end)?;
    let mut fields = stat[name_end + 1..].trim_ascii().split(|&byte| byte == b' ');
    let state = match fields.next()? {
        &[state] if state.is_ascii_alphabetic() => state,
        _ => return None,
    };
    let parent = parse(fields.next()?)?;
    let group = parse_id(fields.next()?)?;
    let session = parse_id(fields.next()?)?;
    let cpu_ticks = parse::<u64>(fields.nth(14 - 7)?)?.checked_add(parse(fields.next()?)?)?;
    let children_ticks = parse::<u64>(fields.next()?)?.checked_add(parse(fields.next()?)?)?;
    let threads = parse(fields.nth(20 - 18)?)?;
    let start_ticks = parse(fields.nth(22 - 21)?)?;
    Some(StatFields {
        name,
        state,
        parent,
        group,
        session,
        cpu_ticks,
        children_ticks,
        threads,
        start_ticks,
    })
}

fn parse<T: FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel writes -1 for the group and the session of a process that is being reaped.
fn parse_id(field: &[u8]) -> Option<u32> {
    if field == b"-1" { Some(0) } else { parse(field) }
}

/// The pid that was assigned last: the fifth field of `/proc/loadavg`.
pub(crate) fn last_pid(loadavg: &[u8]) -> Option<u32> {
    parse(loadavg.trim_ascii().split(|&byte| byte == b' ').nth(4)?)
}

/// A file of one number, such as those in `/proc/sys/kernel`.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    parse(text.trim_ascii())
}

/// The pids in `/proc/PID/task/TID/children`.
pub(crate) fn pids(children: &[u8]) -> impl Iterator<Item = u32> {
    children.split(|byte| byte.is_ascii_whitespace()).filter_map(parse)
}

/// The release of the kernel, such as 6.9, in `/proc/sys/kernel/osrelease`.
pub(crate) fn kernel_release(text: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = text.split(|byte| !byte.is_ascii_digit());
    Some((parse(numbers.next()?)?, parse(numbers.next()?)?))
}

/// The CPU time of a cgroup of version 2 in microseconds: `usage_usec` of its `cpu.stat`
/// (Documentation/admin-guide/cgroup-v2.rst).
pub(crate) fn cgroup_cpu_micros(cpu_stat: &[u8]) -> Option<u64> {
    number_after(cpu_stat, b"usage_usec ")
}

/// The memory cgroup of cgroup v1, other than the root, and the cgroup of v2 in `/proc/PID/cgroup`
/// (cgroups(7)).
///
/// The path `/` may be the root of a cgroup namespace, as in most containers. In v2 it differs from
/// the real root, which has no `memory.events`.
pub(crate) fn memory_cgroups(cgroups: &str) -> (Option<&str>, Option<&str>) {
    let mut found = (None, None);
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            continue;
        }
        if controllers.split(',').any(|controller| controller == "memory") {
            found.0 = Some(path).filter(|path| *path != "/");
        } else if id == "0" && controllers.is_empty() {
            found.1 = Some(path);
        }
    }
    found
}

/// The number of OOM kills: `oom_kill` of `memory.events` (cgroup v2) and `memory.oom_control` (v1).
pub(crate) fn oom_kills(events: &[u8]) -> Option<u64> {
    number_after(events, b"oom_kill ")
}

/// The largest resident size in bytes: `VmHWM` of `/proc/PID/status`, in KiB there.
pub(crate) fn peak_resident(status: &[u8]) -> Option<u64> {
    let line = status.split(|&byte| byte == b'\n').find_map(|l| l.strip_prefix(b"VmHWM:"))?;
    parse::<u64>(line.trim_ascii().strip_suffix(b" kB")?.trim_ascii())?.checked_mul(1_024)
}

/// The memory of the machine in bytes: `MemTotal` of `/proc/meminfo`, in KiB there.
pub(crate) fn total_memory(meminfo: &[u8]) -> Option<u64> {
    let line = meminfo.split(|&byte| byte == b'\n').find_map(|l| l.strip_prefix(b"MemTotal:"))?;
    parse::<u64>(line.trim_ascii().strip_suffix(b" kB")?.trim_ascii())?.checked_mul(1_024)
}

/// The process to which a thread belongs: `Tgid` of `/proc/PID/status`.
pub(crate) fn thread_group(status: &[u8]) -> Option<u32> {
    number_after(status, b"Tgid:")?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_pages_is_second_number() {
        assert_eq!(resident_pages(b"2190 352 306 5 0 113 0\n"), Some(352));
        assert_eq!(resident_pages(b"0 0 0 0 0 0 0\n"), Some(0));
        assert_eq!(resident_pages(b"2190 352\n"), Some(352));
        for bad in [&b""[..], b"1", b"1 x 2", b"1 -3 2", b" ", b"1 99999999999999999999 1"] {
            assert_eq!(resident_pages(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    /// The fields of a process after its name, from the state on.
    fn stat(name: &str, state: char) -> String {
        format!(
            "99 ({name}) {state} 4 5 6 7 -1 9 10 11 12 13 700 11 160 17 20 -19 3 0 4711 23 24 25\n"
        )
    }

    #[test]
    fn stat_is_parsed_after_any_command_name() {
        for name in ["sh", "a b", "a) R 1 2 (b", ")))", "(", ""] {
            let text = stat(name, 'S');
            let fields = StatFields {
                name: name.as_bytes(),
                state: b'S',
                parent: 4,
                group: 5,
                session: 6,
                cpu_ticks: 711,
                children_ticks: 177,
                threads: 3,
                start_ticks: 4_711,
            };
            assert_eq!(process_stat(text.as_bytes()), Some(fields), "{name:?}");
        }
        let shortest = b"1 (\xff\xfe) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 7";
        let shortest = process_stat(shortest).unwrap();
        assert_eq!((shortest.name, shortest.start_ticks), (&b"\xff\xfe"[..], 7));
    }

    #[test]
    fn stat_gives_state() {
        for (state, stopped) in [('T', true), ('t', true), ('S', false), ('R', false), ('Z', false)]
        {
            let text = stat("a) T 1 (", state);
            let fields = process_stat(text.as_bytes()).unwrap();
            assert_eq!((fields.state, fields.is_stopped()), (state as u8, stopped));
        }
    }

    #[test]
    fn truncated_stat_is_none() {
        let text = stat("sh", 'S');
        let start_end = text.find(" 23 24").unwrap();
        let start = start_end - "4711".len();
        for len in 0..=start {
            assert_eq!(process_stat(&text.as_bytes()[..len]), None, "{len}");
        }
        assert!(process_stat(&text.as_bytes()[..start_end]).is_some());
        for bad in [&b""[..], b"99 (sh", b"99 (sh) S 1 2 3", b")", b")(", b"1 (a)", b"1 (a) 7 8"] {
            assert_eq!(process_stat(bad), None);
        }
    }

    #[test]
    fn stat_numbers_out_of_range_are_none() {
        let with = |old: &str, new: &str| {
            let text = stat("sh", 'S').replacen(old, new, 1);
            process_stat(text.as_bytes()).map(|fields| (fields.group, fields.session))
        };
        assert_eq!(with("4 5 6", "4 5 6"), Some((5, 6)));
        assert_eq!(with("4 5 6", "0 0 0"), Some((0, 0)));
        assert_eq!(with("4 5 6", "4 -1 -1"), Some((0, 0)), "it is being reaped");
        for (old, new) in [
            ("4 5 6", "-4 5 6"),
            ("4 5 6", "4 -2 6"),
            ("4 5 6", "4294967296 5 6"),
            ("700 11", "18446744073709551615 11"),
            ("700 11", "-700 11"),
            ("160 17", "160 18446744073709551600"),
            ("160 17", "160 x"),
            ("160 17", "160  17"),
            ("4711", "18446744073709551616"),
        ] {
            assert_eq!(with(old, new), None, "{new}");
        }
    }

    #[test]
    fn last_pid_is_fifth_field() {
        assert_eq!(last_pid(b"0.20 0.18 0.12 1/80 11206\n"), Some(11_206));
        assert_eq!(last_pid(b"0.20 0.18 0.12 1/80 11206"), Some(11_206));
        for bad in [&b""[..], b"0.20 0.18 0.12 1/80", b"1 2 3 4 -1\n", b"1 2 3 4 4294967296\n"] {
            assert_eq!(last_pid(bad), None);
        }
    }

    #[test]
    fn number_is_the_whole_file() {
        assert_eq!(number(b"4194304\n"), Some(4_194_304));
        for bad in [&b""[..], b"\n", b"1 2\n", b"-1\n", b"4294967296\n"] {
            assert_eq!(number(bad), None);
        }
    }

    #[test]
    fn children_are_separated_by_spaces() {
        assert_eq!(pids(b"11 4711 4194303 ").collect::<Vec<_>>(), [11, 4_711, 4_194_303]);
        assert_eq!(pids(b"").count() + pids(b" ").count() + pids(b"-1 x\n").count(), 0);
    }

    #[test]
    fn kernel_release_is_two_numbers() {
        assert_eq!(kernel_release(b"6.18.44-fc-v657\n"), Some((6, 18)));
        assert_eq!(kernel_release(b"6.9-rc1\n"), Some((6, 9)));
        for bad in [&b""[..], b"6\n", b"six.nine", b"6.", b"-6.9"] {
            assert_eq!(kernel_release(bad), None);
        }
    }

    #[test]
    fn cgroup_cpu_is_usage() {
        let text = b"usage_usec 4711\nuser_usec 4000\nsystem_usec 711\nnr_periods 0\n";
        assert_eq!(cgroup_cpu_micros(text), Some(4_711));
        for bad in [&b""[..], b"user_usec 4000\n", b"usage_usec \n", b"usage_usec -1\n"] {
            assert_eq!(cgroup_cpu_micros(bad), None);
        }
    }

    #[test]
    fn memory_cgroups_are_found_by_version() {
        let hybrid = "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d:e\n";
        assert_eq!(memory_cgroups(hybrid), (Some("/a/b"), Some("/d:e")));
        assert_eq!(memory_cgroups("0::/user.slice/x\n"), (None, Some("/user.slice/x")));
        assert_eq!(memory_cgroups("4:hugetlb,memory:/a\n0::/\n"), (Some("/a"), Some("/")));
        for bad in ["", "0", "0:", "0::", "0::relative", "0::/../x", "4:memory:/", "x:mem:/a"] {
            assert_eq!(memory_cgroups(bad), (None, None), "{bad:?}");
        }
    }

    #[test]
    fn oom_kills_are_counted_in_both_versions() {
        let v1 = b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = b"low 0\nhigh 0\nmax 9\noom 5\noom_kill 4\noom_group_kill 7\n";
        assert_eq!((oom_kills(v1), oom_kills(v2)), (Some(3), Some(4)));
        assert_eq!(oom_kills(b"oom_kill_disable 0\n"), None);
    }

    #[test]
    fn total_memory_is_in_kib() {
        let meminfo = b"MemTotal:       24689172 kB\nMemFree:  1 kB\n";
        assert_eq!(total_memory(meminfo), Some(24_689_172 * 1_024));
        assert_eq!(total_memory(b"MemFree: 1 kB\n"), None);
    }

    #[test]
    fn peak_resident_is_in_kib() {
        let status = b"Name:\tVmHWM:\nVmPeak:\t    9000 kB\nVmHWM:\t    2164 kB\nVmRSS:\t 4 kB\n";
        assert_eq!(peak_resident(status), Some(2_164 * 1_024));
        for bad in
            [&b""[..], b"VmHWM:\t kB\n", b"VmHWM:\t7 MB\n", b"VmHWM:\t99999999999999999999 kB"]
        {
            assert_eq!(peak_resident(bad), None);
        }
    }

    #[test]
    fn thread_group_is_found_after_any_command_name() {
        let status = b"Name:\tTgid:\\n9\nUmask:\t0022\nTgid:\t4711\nNgid:\t0\nPid:\t4712\n";
        assert_eq!(thread_group(status), Some(4_711));
        assert_eq!(thread_group(b"Tgid:\t99999999999\n"), None);
        assert_eq!(thread_group(b"\xff\xfe\n"), None);
    }
}
