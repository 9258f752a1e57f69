//! Numbers in both formats: decimal, without an exponent.

use std::fmt;

use crate::export::catalog::Number;

impl Number {
    /// Writes the end of a sample line after its labels: `} 17` and the newline.
    pub(in crate::export) fn end_line(self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Integer(value) => {
                let mut line = ReverseBuffer::ending_with("\n");
                line.digits(value);
                line.text(b"} ");
                out.write_str(line.as_str())
            }
            Self::Seconds { negative, size } => {
                let mut line = ReverseBuffer::ending_with("\n");
                line.fraction(size.subsec_nanos(), 9);
                line.digits(size.as_secs());
                line.text(if negative { b"} -" } else { b"} " });
                out.write_str(line.as_str())
            }
            // The shortest text that parses to the same value; `Display` has no exponents.
            Self::Float(value) => match thousandths(value) {
                Some(thousandths) => {
                    let mut line = ReverseBuffer::ending_with("\n");
                    line.fraction((thousandths % 1_000) as u32, 3);
                    line.digits(thousandths / 1_000);
                    line.text(b"} ");
                    out.write_str(line.as_str())
                }
                None => writeln!(out, "}} {value}"),
            },
        }
    }
}

/// The value in thousandths, if it is the number closest to so many of them, as a percentage of CPU is.
///
/// Then these decimals are also its shortest text: no two numbers of at most fifteen digits are
/// closest to the same value.
fn thousandths(value: f64) -> Option<u64> {
    let thousandths = (value * 1_000.0).round();
    let is_exact = (0.0..1e15).contains(&thousandths) && thousandths / 1_000.0 == value;
    (is_exact && value.is_sign_positive()).then_some(thousandths as u64)
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, fraction, whole) = match *self {
            Self::Integer(value) => (false, 0, value),
            Self::Seconds { negative, size } => (negative, size.subsec_nanos(), size.as_secs()),
            Self::Float(value) => return value.fmt(f),
        };
        let mut text = ReverseBuffer::ending_with("");
        text.fraction(fraction, 9);
        text.digits(whole);
        text.text(if negative { b"-" } else { b"" });
        f.write_str(text.as_str())
    }
}

/// ASCII text that is filled from its end, since digits are computed from the last to the first.
struct ReverseBuffer {
    bytes: [u8; Self::CAPACITY],
    begin: usize,
}

impl ReverseBuffer {
    /// `} -`, twenty digits, a point, nine digits, a newline.
    const CAPACITY: usize = 36;

    fn ending_with(end: &str) -> Self {
        let mut line = Self { bytes: [0; Self::CAPACITY], begin: Self::CAPACITY };
        line.text(end.as_bytes());
        line
    }

    fn text(&mut self, text: &[u8]) {
        let begin = self.begin - text.len();
        self.bytes[begin..self.begin].copy_from_slice(text);
        self.begin = begin;
    }

    fn digit(&mut self, digit: u8) {
        self.begin -= 1;
        self.bytes[self.begin] = b'0' + digit;
    }

    fn digits(&mut self, mut value: u64) {
        loop {
            self.digit((value % 10) as u8);
            value /= 10;
            if value == 0 {
                break;
            }
        }
    }

    /// The point and so many decimals, without the zeros at their end; nothing for a whole number.
    fn fraction(&mut self, decimals: u32, places: u32) {
        if decimals == 0 {
            return;
        }
        let (mut rest, mut places) = (decimals, places);
        while rest.is_multiple_of(10) {
            rest /= 10;
            places -= 1;
        }
        for _ in 0..places {
            self.digit((rest % 10) as u8);
            rest /= 10;
        }
        self.text(b".");
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.begin..]).expect("the buffer is ASCII")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn integer_is_written_as_by_display() {
        for value in [0, 7, 10, 99, 100, 4_294_967_296, u64::MAX] {
            assert_eq!(Number::Integer(value).to_string(), value.to_string());
        }
    }

    #[test]
    fn seconds_are_exact_without_trailing_zeros() {
        for (secs, nanos, expected) in [
            (0, 0, "0"),
            (0, 1, "0.000000001"),
            (5, 0, "5"),
            (5, 250_000_000, "5.25"),
            (1_700_000_000, 123_456_789, "1700000000.123456789"),
            (u64::MAX, 999_999_999, "18446744073709551615.999999999"),
        ] {
            assert_eq!(Number::from(Duration::new(secs, nanos)).to_string(), expected);
        }
        let before = UNIX_EPOCH - Duration::from_millis(1_500);
        assert_eq!(Number::from(before).to_string(), "-1.5");
    }

    #[test]
    fn float_round_trips_without_exponent() {
        for value in [0.0, 0.001, 99.999, 1e-7, 6_400.0, 4_294_967.295, 1e21] {
            let text = Number::Float(value).to_string();
            assert_eq!(text.parse(), Ok(value));
            assert!(!text.contains(['e', 'E']), "{text}");
        }
    }

    #[test]
    fn float_is_written_as_by_display() {
        let percentages = (0..200_000u32).step_by(if cfg!(miri) { 997 } else { 7 }).chain([
            u32::MAX - 2,
            99_999,
            100_000,
        ]);
        let percentages = percentages.map(|thousandths| f64::from(thousandths) / 1_000.0);
        let others = [0.1 + 0.2, 1e-7, 1e15, 1e21, -0.0, -12.5, 0.0004, 0.0005, 1.0005, f64::MAX];
        for value in percentages.chain(others) {
            let mut line = String::new();
            Number::Float(value).end_line(&mut line).unwrap();
            assert_eq!(line, format!("}} {value}\n"));
        }
    }

    #[test]
    fn line_end_is_brace_number_newline() {
        let longest = Number::Seconds { negative: true, size: Duration::MAX };
        for number in [Number::Integer(u64::MAX), longest, Number::Float(12.5)] {
            let mut line = String::new();
            number.end_line(&mut line).unwrap();
            assert_eq!(line, format!("}} {number}\n"));
        }
    }
}
