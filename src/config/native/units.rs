//! Parses values with a unit: times, sizes, rates and modes.

use std::time::Duration;

use crate::model::limits::Rate;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>, hint: &str) -> Fault {
        Fault { message: message.into(), hint: Some(hint.to_owned()) }
    }

    /// A fault without a hint.
    pub fn plain(message: impl Into<String>) -> Fault {
        Fault { message: message.into(), hint: None }
    }

    /// The fault as printed. Without `with_values`, `…` replaces each value.
    pub fn shown(self, with_values: bool) -> Fault {
        let shown = |text: String| {
            let parts = text.split(MARK).enumerate();
            parts.map(|(number, part)| if number % 2 == 0 || with_values { part } else { "…" }).collect()
        };
        Fault { message: shown(self.message), hint: self.hint.map(shown) }
    }
}

/// Encloses a value in a message until `shown` decides whether to mask it.
const MARK: char = '\u{1}';

pub(super) fn value(value: impl std::fmt::Display) -> String {
    let printable = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    let text: String = value.to_string().chars().map(printable).collect();
    format!("{MARK}{text}{MARK}")
}

/// Quotes a text of the file, shortened if it is long.
pub(super) fn quote(text: &str) -> String {
    let shown: String = text.chars().take(LONGEST_QUOTE).collect();
    format!("`{}`", value(if shown.len() < text.len() { shown + "…" } else { shown }))
}

/// In characters.
const LONGEST_QUOTE: usize = 100;

/// Ten years: a larger value is a typing error, and sums of times must not overflow.
const LONGEST: Duration = Duration::from_hours(10 * 366 * 24);

pub(super) const DURATION_HINT: &str =
    "write a whole number and its unit, as \"500ms\", \"10s\", \"5m\", \"10h\" or \"1d\"";
pub(super) const SIZE_HINT: &str =
    "write a whole number and its unit, as \"512B\", \"64KiB\", \"256MiB\" or \"1GiB\"";
pub(super) const RATE_HINT: &str = "write a number and a time, as \"50/s\", \"10/m\" or \"100/h\"";

pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    let fault = || Fault::new(format!("{} is not a time", quote(text)), DURATION_HINT);
    let (number, unit) = split(text).ok_or_else(fault)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    let too_long = || Fault::plain(format!("{} is longer than ten years", quote(text)));
    let total = number.and_then(|number| number.checked_mul(milliseconds)).ok_or_else(too_long)?;
    Some(Duration::from_millis(total)).filter(|&total| total <= LONGEST).ok_or_else(too_long)
}

pub(super) fn size(text: &str) -> Result<u64, Fault> {
    let fault = || Fault::new(format!("{} is not a size", quote(text)), SIZE_HINT);
    let (number, unit) = split(text).ok_or_else(fault)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(fault()),
    };
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    match bytes.filter(|&bytes| i64::try_from(bytes).is_ok()) {
        None => Err(Fault::plain(format!("{} is more than any system supports", quote(text)))),
        Some(0) => Err(Fault::plain("with a limit of 0 bytes nothing can run")),
        Some(bytes) => Ok(bytes),
    }
}

pub(super) fn rate(text: &str) -> Result<Rate, Fault> {
    let fault = || Fault::new(format!("{} is not a rate", quote(text)), RATE_HINT);
    let (number, unit) = split(text).ok_or_else(fault)?;
    let per = match unit {
        "/s" => Duration::from_secs(1),
        "/m" => Duration::from_mins(1),
        "/h" => Duration::from_hours(1),
        _ => return Err(fault()),
    };
    match number.and_then(|number| u32::try_from(number).ok()) {
        Some(0) => Err(Fault::new("a rate of 0 admits no client", "`enabled = false` closes a service")),
        Some(count) => Ok(Rate { count, per }),
        None => Err(Fault::plain(format!("{} is too high a rate to count", quote(text)))),
    }
}

pub(super) fn mode(text: &str) -> Result<u32, Fault> {
    let octal = (1..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| octal && mode <= 0o777);
    mode.ok_or_else(|| {
        Fault::new(format!("{} is not a mode", quote(text)), "write up to four octal digits, as \"0660\"")
    })
}

/// Digits and the unit after them. The number is `None` if it overflows.
fn split(text: &str) -> Option<(Option<u64>, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(end);
    (end > 0).then(|| (digits.parse().ok(), unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_an_end() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("10s").unwrap(), Duration::from_secs(10));
        assert_eq!(duration("5m").unwrap(), Duration::from_mins(5));
        assert_eq!(duration("10h").unwrap(), Duration::from_hours(10));
        assert_eq!(duration("1d").unwrap(), Duration::from_hours(24));
        for text in ["", "10", "s", "-1s", "1.5s", "10 s", "10S", "1h30m", "3661d", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(size("7B").unwrap(), 7);
        assert_eq!(size("64KiB").unwrap(), 65_536);
        assert_eq!(size("256MiB").unwrap(), 268_435_456);
        assert_eq!(size("1GiB").unwrap(), 1_073_741_824);
        for text in ["256", "256MB", "0B", "-1B", "1 GiB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_let_somebody_in() {
        assert_eq!(rate("50/s").unwrap(), Rate { count: 50, per: Duration::from_secs(1) });
        assert_eq!(rate("10/m").unwrap().per, Duration::from_mins(1));
        assert_eq!(rate("100/h").unwrap().per, Duration::from_hours(1));
        for text in ["0/s", "50", "50/", "/s", "50/d", "50 / s", "4294967296/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!((mode("0660").unwrap(), mode("600").unwrap()), (0o660, 0o600));
        for text in ["", "0888", "1777", "00660", "rw-", "+660"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
