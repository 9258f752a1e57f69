//! Parsers of what the Linux kernel writes, on bytes: they compile and are tested everywhere.
//!
//! Sources: proc(5), and Documentation/filesystems/proc.rst of the kernel.

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

/// When the process started, in clock ticks since the machine was: `starttime`, the 22nd field of
/// `/proc/PID/stat`. The second is the command's name in parentheses and may hold anything, spaces
/// and parentheses too; what comes after the *last* `)` is numbers.
pub(crate) fn start_time(stat: &[u8]) -> Option<u64> {
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    // The state is the third field and the first of the rest.
    let field = stat[name_ends + 1..].trim_ascii().split(|&byte| byte == b' ').nth(22 - 3)?;
    std::str::from_utf8(field).ok()?.parse().ok()
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
    fn resident_pages_are_the_second_number() {
        assert_eq!(resident_pages(b"2190 352 306 5 0 113 0\n"), Some(352));
        assert_eq!(resident_pages(b"0 0 0 0 0 0 0\n"), Some(0));
        assert_eq!(resident_pages(b"2190 352\n"), Some(352));
        for bad in [&b""[..], b"1", b"1 x 2", b"1 -3 2", b" ", b"1 99999999999999999999 1"] {
            assert_eq!(resident_pages(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn the_start_is_found_whatever_the_process_is_called() {
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
    fn the_thread_group_is_found_whatever_the_process_is_called() {
        let status = b"Name:\tTgid:\\n9\nUmask:\t0022\nTgid:\t4711\nNgid:\t0\nPid:\t4712\n";
        assert_eq!(thread_group(status), Some(4_711));
        assert_eq!(thread_group(b"Tgid:\t99999999999\n"), None);
        assert_eq!(thread_group(b"\xff\xfe\n"), None);
    }
}
