//! Names, numbers and lengths of time, in a known number of columns.

use std::time::{Duration, SystemTime};

use ratatui::buffer::Buffer;
use ratatui::style::Style;
use unicode_width::UnicodeWidthChar as _;

/// The text for an unknown value.
pub const UNKNOWN: &str = "–";
/// The mark at the end of a text that was cut.
const CUT: &str = "…";
/// The number of combining marks kept on one character: more would overlap the lines above and
/// below.
const MARKS: usize = 2;

/// Splits an untrusted text (a name, a version) into characters, each with its marks and its width.
///
/// Terminals disagree on sequences that form one glyph, such as emoji joined to a family, and on
/// characters that change the writing direction. So each character stands for itself, and
/// characters that only modify others are dropped or shown as U+FFFD.
fn cells(text: &str) -> Vec<(String, u16)> {
    let mut cells: Vec<(String, u16)> = Vec::new();
    for ch in text.chars() {
        match (ch, ch.width()) {
            // Joiners, selectors, skin tones, tags.
            (
                '\u{200b}'..='\u{200d}'
                | '\u{2060}'..='\u{2064}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{1f3fb}'..='\u{1f3ff}'
                | '\u{e0000}'..='\u{e0fff}',
                _,
            ) => {}
            // Two of these form a flag, whose width depends on the terminal.
            ('\u{1f1e6}'..='\u{1f1ff}', _) => {
                let letter = b'A' + (ch as u32 - 0x1f1e6) as u8;
                cells.push((char::from(letter).to_string(), 1));
            }
            // Direction marks and embeddings, line separators.
            (
                '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{feff}',
                _,
            )
            | (_, None) => cells.push(("\u{fffd}".to_owned(), 1)),
            (mark, Some(0)) => match cells.last_mut() {
                Some((cell, _)) if cell.chars().count() <= MARKS => cell.push(mark),
                Some(_) => {}
                None => cells.push((format!("◌{mark}"), 1)),
            },
            (ch, Some(width)) => cells.push((ch.to_string(), width as u16)),
        }
    }
    cells
}

/// The width of an untrusted text in columns.
pub fn width(text: &str) -> u16 {
    cells(text).iter().fold(0, |sum, (_, width)| sum.saturating_add(*width))
}

/// Draws an untrusted text in at most `most` columns, cut if it is longer, and returns the column
/// after it.
pub fn put(buf: &mut Buffer, at: (u16, u16), most: u16, text: &str, style: Style) -> u16 {
    let (mut x, y) = at;
    if y >= buf.area.bottom() {
        return x;
    }
    let most = most.min(buf.area.right().saturating_sub(x));
    let cells = cells(text);
    let fits = cells.iter().fold(0u16, |sum, (_, width)| sum.saturating_add(*width)) <= most;
    let end = if fits { x + most } else { (x + most).saturating_sub(1) };
    for (symbol, width) in &cells {
        if x + width > end {
            break;
        }
        buf[(x, y)].set_symbol(symbol).set_style(style);
        for covered in x + 1..x + width {
            buf[(covered, y)].reset();
        }
        x += width;
    }
    if !fits && most > 0 {
        buf[(x, y)].set_symbol(CUT).set_style(style);
        x += 1;
    }
    x
}

/// Splits a text at spaces into lines of at most `most` columns. A longer word is a line of its own.
pub fn wrap(text: &str, most: u16) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() || width(line) + 1 + width(word) > most {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.remove(0);
    lines
}

fn or_unknown<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Formats in five columns if possible: `0.1`, `99.9`, `12345`.
pub fn percent(value: Option<f64>) -> String {
    or_unknown(value, |v| if v < 999.95 { format!("{v:.1}") } else { format!("{v:.0}") })
}

/// Formats in six columns: `0.5`, `9999.9`, `123456`.
pub fn megabytes(value: Option<f64>) -> String {
    or_unknown(value, |v| if v < 9_999.95 { format!("{v:.1}") } else { format!("{v:.0}") })
}

/// Formats in six columns: `0.02`, `250.0`, `99999`, `1200k`.
pub fn rate(value: Option<f64>) -> String {
    or_unknown(value, |v| match v {
        0.0 => "0".to_owned(),
        ..0.995 => format!("{v:.2}"),
        ..9_999.5 => format!("{v:.1}"),
        ..99_999.5 => format!("{v:.0}"),
        _ => count(v as u64),
    })
}

/// Formats a count in five columns if possible: `9999`, `10k`, `9999k`.
pub fn count(value: u64) -> String {
    let units = [(1_000_000_000_000, 'T'), (1_000_000_000, 'G'), (1_000_000, 'M'), (1_000, 'k')];
    match units.into_iter().find(|(unit, _)| value >= 10 * unit) {
        Some((unit, letter)) => format!("{}{letter}", value / unit),
        None => value.to_string(),
    }
}

/// Formats in the leading unit, rounded down, for a column: `42s`, `17m`, `2h`, `3d`.
pub fn short(time: Duration) -> String {
    let (value, unit) = leading(time);
    format!("{value}{unit}")
}

/// Formats in the two leading units: `42s`, `17m 03s`, `2h 34m`, `3d 05h`.
pub fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        86_400.. => format!("{days}d {:02}h", hours % 24),
    }
}

/// Formats in the leading unit, for a sentence: `42 s`, `17 min`, `2 h`, `3 days`.
pub fn spoken(time: Duration) -> String {
    match leading(time) {
        (value, 'm') => format!("{value} min"),
        (1, 'd') => "1 day".to_owned(),
        (value, 'd') => format!("{value} days"),
        (value, unit) => format!("{value} {unit}"),
    }
}

/// Formats a time that has passed, for a sentence.
pub fn ago(time: Duration) -> String {
    if time.as_secs() == 0 { "just now".to_owned() } else { format!("{} ago", spoken(time)) }
}

/// Formats a window that ends now: `last hour`, `last 10 min`.
pub fn last(time: Duration) -> String {
    if time.as_secs() == 3_600 { "last hour".to_owned() } else { format!("last {}", spoken(time)) }
}

fn leading(time: Duration) -> (u64, char) {
    let seconds = time.as_secs();
    match seconds {
        0..60 => (seconds, 's'),
        60..3_600 => (seconds / 60, 'm'),
        3_600..86_400 => (seconds / 3_600, 'h'),
        86_400.. => (seconds / 86_400, 'd'),
    }
}

/// Formats the time of day in UTC.
pub fn time_of_day(at: SystemTime) -> String {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = since_1970 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
