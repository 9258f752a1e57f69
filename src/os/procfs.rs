//! Parsers of what the Linux kernel writes, on bytes: they compile and are tested everywhere.
//!
//! Sources: proc(5), and Documentation/filesystems/proc.rst of the kernel.

/// The number after `key` at the beginning of a line.
fn number_after(text: &[u8], key: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key))?;
    std::str::from_utf8(line.trim_ascii()).ok()?.parse().ok()
}

/// When the machine was started, in seconds since 1970: `btime` of `/proc/stat`.
pub(crate) fn boot_time(stat: &[u8]) -> Option<u64> {
    number_after(stat, b"btime ")
}

/// The process that a thread belongs to: `Tgid` of `/proc/PID/status`. A number that is a thread's
/// has a folder in `/proc` too, although it is not listed.
pub(crate) fn thread_group(status: &[u8]) -> Option<u32> {
    number_after(status, b"Tgid:")?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_time_is_found_among_the_other_lines() {
        let stat = b"cpu  1 2 3\nintr 99 0 0\nctxt 7\nbtime 1763987654\nprocesses 4\n";
        assert_eq!(boot_time(stat), Some(1_763_987_654));
        for bad in [&b""[..], b"btime", b"btime \n", b"btime x\n", b"xbtime 1\n", b"btime -1"] {
            assert_eq!(boot_time(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn the_thread_group_is_found_whatever_the_process_is_called() {
        let status = b"Name:\tTgid:\\n9\nUmask:\t0022\nTgid:\t4711\nNgid:\t0\nPid:\t4712\n";
        assert_eq!(thread_group(status), Some(4_711));
        assert_eq!(thread_group(b"Tgid:\t99999999999\n"), None);
        assert_eq!(thread_group(b"\xff\xfe\n"), None);
    }
}
