//! Parsers of `/proc` files of Linux. They take bytes, so that they are tested on all platforms.
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

/// The start of the process in clock ticks since the start of the machine: `starttime`, the 22nd
/// field of `/proc/PID/stat`. The second field is the command's name in parentheses and may contain
/// spaces and parentheses, so fields are counted from the *last* `)`.
pub(crate) fn start_time(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    // The state, the third field, is the first after the name.
    let field = stat[name_end + 1..].trim_ascii().split(|&byte| byte == b' ').nth(22 - 3)?;
    std::str::from_utf8(field).ok()?.parse().ok()
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
    fn thread_group_is_found_after_any_command_name() {
        let status = b"Name:\tTgid:\\n9\nUmask:\t0022\nTgid:\t4711\nNgid:\t0\nPid:\t4712\n";
        assert_eq!(thread_group(status), Some(4_711));
        assert_eq!(thread_group(b"Tgid:\t99999999999\n"), None);
        assert_eq!(thread_group(b"\xff\xfe\n"), None);
    }
}
