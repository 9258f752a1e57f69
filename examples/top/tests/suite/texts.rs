//! Names, numbers and lengths of time.

use std::time::{Duration, SystemTime};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use plugmeter_top::text::{
    UNKNOWN, count, long, megabytes, percent, put, rate, short, spoken, time_of_day, width,
};

fn line(buf: &Buffer) -> Vec<&str> {
    (0..buf.area.width).map(|x| buf[(x, 0)].symbol()).collect()
}

#[test]
fn name_fills_the_columns_of_its_width() {
    for name in [
        "dice",
        "サイコロ",
        "שלום",
        "e\u{301}\u{302}\u{303}\u{304}\u{305}x",
        "\u{301}",
        "👩\u{200d}👩\u{200d}👧",
        "لا",
        "a\u{202e}b",
        "👍🏽",
    ] {
        for most in 0..=12 {
            let mut buf = Buffer::empty(Rect::new(0, 0, 16, 1));
            let end = put(&mut buf, (0, 0), most, name, Style::new());
            assert!(end <= most, "{name:?} in {most}");
            if width(name) <= most {
                assert_eq!(end, width(name), "{name:?} in {most}");
            } else if most > 0 {
                assert_eq!(line(&buf)[end as usize - 1], "…", "{name:?} in {most}");
            }
            // Nothing is written beyond.
            assert!(line(&buf)[end as usize..].iter().all(|cell| *cell == " "));
        }
    }
}

#[test]
fn direction_overrides_are_replaced() {
    let mut buf = Buffer::empty(Rect::new(0, 0, 4, 1));
    put(&mut buf, (0, 0), 4, "a\u{202e}b\u{200f}", Style::new());
    assert_eq!(line(&buf), ["a", "\u{fffd}", "b", "\u{fffd}"]);
}

#[test]
fn numbers_fit_their_columns() {
    for value in [0.0, 0.06, 9.99, 99.96, 999.94, 999.96, 6_400.0, 12_800.0] {
        assert!(percent(Some(value)).len() <= 5, "{value}");
    }
    for value in [0.0, 2.3, 131.0, 9_999.94, 9_999.96, 524_288.0] {
        assert!(megabytes(Some(value)).len() <= 6, "{value}");
    }
    for value in [0.0, 0.016, 0.994, 250.0, 9_999.4, 9_999.6, 99_999.6, 1e9, 1e15] {
        assert!(rate(Some(value)).len() <= 6, "{value}: {}", rate(Some(value)));
    }
    for value in [0, 9_999, 10_000, 9_999_999, u64::from(u32::MAX)] {
        assert!(count(value).len() <= 5, "{value}: {}", count(value));
    }
    assert_eq!((percent(None), rate(None)), (UNKNOWN.to_owned(), UNKNOWN.to_owned()));
}

#[test]
fn durations_are_rounded_down() {
    let of = |seconds| Duration::from_secs(seconds);
    assert_eq!([short(of(59)), short(of(119)), short(of(7_199))], ["59s", "1m", "1h"]);
    assert_eq!([spoken(of(61)), spoken(of(86_400))], ["1 min", "1 day"]);
    assert_eq!([long(of(61)), long(of(9_299)), long(of(277_199))], ["1m 01s", "2h 34m", "3d 04h"]);
    let at = SystemTime::UNIX_EPOCH + of(86_400 * 3 + 50_523);
    assert_eq!(time_of_day(at), "14:02:03 UTC");
}

#[test]
fn text_wraps_at_spaces() {
    use plugmeter_top::text::wrap;
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("one two three", 80), ["one two three"]);
    assert_eq!(wrap("extraordinary word", 4), ["extraordinary", "word"]);
    assert_eq!(wrap("", 4), [""]);
}

#[test]
fn processes_follow_their_parents() {
    use plugmeter_top::detail::tree_order;
    // A root with two children, of which the second has one; and one whose parent is not listed.
    let processes = [(10, None), (12, Some(10)), (13, Some(11)), (11, Some(10)), (40, Some(39))];
    assert_eq!(tree_order(&processes), [(0, 0), (1, 1), (1, 3), (2, 2), (0, 4)]);
    // A circle, and a process that is its own parent, are listed too.
    assert_eq!(tree_order(&[(1, Some(2)), (2, Some(1)), (3, Some(3))]), [(0, 2), (0, 0), (0, 1)]);
    assert_eq!(tree_order(&[]), []);
}
