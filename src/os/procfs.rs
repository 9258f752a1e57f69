//! Parsers of `/proc` files of Linux. They take bytes, so that they are tested on all platforms.
//!
//! Sources: proc(5), and Documentation/filesystems/proc.rst of the kernel.

use crate::history::command_name::CommandName;

/// The number after `key` at the beginning of a line.
fn number_after(text: &[u8], key: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key))?;
    std::str::from_utf8(line.trim_ascii()).ok()?.parse().ok()
}

/// Resident pages: the second number of `/proc/PID/statm`.
pub(crate) fn resident_pages(statm: &[u8]) -> Option<u64> {
    let number = statm.split(|&byte| byte == b' ').nth(1)?;
    std::str::from_utf8(number.trim_ascii_end()).ok()?.parse().ok()
}

/// The start of the process in clock ticks since the start of the machine: `starttime`, the 22nd
/// field of `/proc/PID/stat`. The second field is the command's name in parentheses and may contain
/// spaces and parentheses, so fields are counted from the *last* `)`.
pub(crate) fn start_time(stat: &[u8]) -> Option<u64> {
    parse(stat_fields(stat)?.nth(22 - 3)?)
}

/// The command's name: the second field of `/proc/PID/stat`, without its parentheses.
pub(crate) fn command_name(stat: &[u8]) -> Option<CommandName> {
    let start = stat.iter().position(|&byte| byte == b'(')? + 1;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(start..end).map(CommandName::new)
}

/// The fields of `/proc/PID/stat` after the command's name, which may contain spaces and
/// parentheses: from the third, the state, on.
fn stat_fields(stat: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    Some(stat[name_end + 1..].trim_ascii().split(|&byte| byte == b' '))
}

fn parse(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Whether the process is stopped: `state`, the third field of `/proc/PID/stat`, is `T` (stopped by
/// a signal) or `t` (by a debugger).
pub(crate) fn is_stopped(stat: &[u8]) -> Option<bool> {
    match stat_fields(stat)?.next()? {
        [state] if state.is_ascii_alphabetic() => Some(matches!(state, b'T' | b't')),
        _ => None,
    }
}

/// CPU time in clock ticks: `utime` and `stime`, the fields 14 and 15 of `/proc/PID/stat`.
pub(crate) fn cpu_ticks(stat: &[u8]) -> Option<u64> {
    let mut fields = stat_fields(stat)?.skip(14 - 3);
    parse(fields.next()?)?.checked_add(parse(fields.next()?)?)
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
    parse(line.trim_ascii().strip_suffix(b" kB")?.trim_ascii())?.checked_mul(1_024)
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

    #[test]
    fn start_time_is_found_after_any_command_name() {
        let rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n";
        for name in ["sh", "a b", "a) R 1 2 (b", ")))", "(", ""] {
            let stat = format!("99 ({name}){rest}");
            assert_eq!(start_time(stat.as_bytes()), Some(4_711), "{name:?}");
        }
        assert_eq!(
            start_time(b"1 (\xff\xfe) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 7 0"),
            Some(7)
        );
        for bad in [&b""[..], b"99 (sh", b"99 (sh) S 1 2 3", b")"] {
            assert_eq!(start_time(bad), None);
        }
    }

    #[test]
    fn command_name_is_between_outer_parentheses() {
        let name = |stat: &str| command_name(stat.as_bytes()).map(|name| name.text().into_owned());
        assert_eq!(name("99 (sh) S 1 2").as_deref(), Some("sh"));
        assert_eq!(name("99 (a) (b c)) S 1 2").as_deref(), Some("a) (b c)"));
        assert_eq!(
            [name(""), name("99 sh S"), name("99 )("), name("99 (")],
            [None, None, None, None]
        );
    }

    #[test]
    fn stat_gives_state_and_cpu_ticks() {
        let stat = |state| {
            format!(
                "99 (a) T 1 ({state} 1 2 3 4 5 6 7 8 9 10 11 12 13) {state} 1 2 3 4 5 6 7 8 9 10 700 11 0"
            )
        };
        for (state, stopped) in [("T", true), ("t", true), ("S", false), ("R", false), ("Z", false)]
        {
            assert_eq!(is_stopped(stat(state).as_bytes()), Some(stopped), "{state}");
            assert_eq!(cpu_ticks(stat(state).as_bytes()), Some(711), "{state}");
        }
        let overflow = format!("1 (a) S 1 2 3 4 5 6 7 8 9 10 {} 1 0", u64::MAX);
        assert_eq!(cpu_ticks(overflow.as_bytes()), None);
        for bad in [&b""[..], b"1 (a", b"1 (a)", b"1 (a) ", b"1 (a) 7 8"] {
            assert_eq!((is_stopped(bad), cpu_ticks(bad)), (None, None));
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
