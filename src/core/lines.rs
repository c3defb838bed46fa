//! Splits a program's standard error into lines of limited length.

use std::time::Duration;

use crate::model::limits::Rate;

/// In bytes, including `CUT`. The log shows as many characters.
pub const LONGEST_LINE: usize = 1024;

const CUT: &str = "… (cut)";

/// LF, CRLF or the end of the input ends a line; empty lines are dropped. After a lone CR a
/// terminal overwrites the line, as progress bars do.
#[derive(Debug, Default)]
pub struct Lines {
    /// One byte more than `LONGEST_LINE` is the sign of truncation.
    kept: Vec<u8>,
    returned: bool,
}

impl Lines {
    pub fn take(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end(line),
                b'\r' => self.returned = true,
                byte => {
                    if std::mem::take(&mut self.returned) {
                        self.kept.clear();
                    }
                    if self.kept.len() <= LONGEST_LINE {
                        self.kept.push(byte);
                    }
                }
            }
        }
    }

    pub fn end(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.kept.is_empty() {
            // Only whole lines: a read can split a character.
            let text = String::from_utf8_lossy(&self.kept);
            if text.len() <= LONGEST_LINE {
                line(&text);
            } else {
                let end = text.floor_char_boundary(LONGEST_LINE - CUT.len());
                line(&[&text[..end], CUT].concat());
            }
        }
        self.kept.clear();
    }
}

/// Log limit per session: a burst of a few stack traces, and ten lines a second on average.
pub const SESSION_LINES: Rate = Rate { count: 100, per: Duration::from_secs(10) };

pub const SERVICE_LINES: Rate = Rate { count: 300, per: Duration::from_secs(10) };

/// Bytes read without a pause. An ordinary program writes less in its life.
const UNSLOWED: usize = 4 << 20;

/// Beyond `UNSLOWED`, the server reads `PIECE` bytes per `PAUSE`, 1.3 MB/s. A flood must not take
/// a processor from other sessions.
const PIECE: u32 = 64 << 10;

/// The shortest pause, which limits their number for a program that writes single bytes.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub struct Pace {
    /// When all bytes would have been read at the slow rate.
    paid_at: Duration,
}

impl Pace {
    /// Returns the pause before the next read.
    pub fn read(&mut self, bytes: usize, now: Duration) -> Option<Duration> {
        self.paid_at = self.paid_at.max(now) + slow_time_of(bytes);
        let excess = self.paid_at.saturating_sub(now + slow_time_of(UNSLOWED));
        (!excess.is_zero()).then(|| excess.max(PAUSE))
    }
}

fn slow_time_of(bytes: usize) -> Duration {
    PAUSE * u32::try_from(bytes).unwrap_or(u32::MAX) / PIECE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.take(piece, &mut |line| told.push(line.to_owned()));
        }
        lines.end(&mut |line| told.push(line.to_owned()));
        told
    }

    #[test]
    fn lines_end_at_lf_crlf_or_eof_and_empty_lines_are_dropped() {
        assert_eq!(told(&[b"one\ntwo\r\n\n\r\n\r\rthree"]), ["one", "two", "three"]);
        assert_eq!(told(&[b"", b"\n", b"\r"]), [""; 0]);
        assert_eq!(told(&[b"one\r", b"\ntwo\r\r", b"\n"]), ["one", "two"]);
    }

    #[test]
    fn a_line_is_told_when_it_ends_and_not_before() {
        let mut lines = Lines::default();
        lines.take(b"one", &mut |line| panic!("{line}"));
        let mut told = Vec::new();
        lines.take(b"\ntwo", &mut |line| told.push(line.to_owned()));
        assert_eq!(told, ["one"]);
    }

    #[test]
    fn of_a_progress_bar_the_last_state_is_told() {
        assert_eq!(told(&[b"10%\r55%", b"\r", b"100%\r\ndone\n"]), ["100%", "done"]);
        assert_eq!(told(&[b"10%\r55%\r"]), ["55%"]);
        assert_eq!(told(&[&[b'x'; 3000], b"\rshort\n"]), ["short"]);
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark_and_its_rest_is_dropped() {
        let whole = "x".repeat(LONGEST_LINE);
        assert_eq!(told(&[whole.as_bytes(), b"\n"]), [whole]);
        let cut = format!("{}{CUT}", "x".repeat(LONGEST_LINE - CUT.len()));
        assert_eq!(told(&[&[b'x'; 1025], b"\nnext\n"]), [cut.as_str(), "next"]);
        assert_eq!(told(&[&[b'x'; 100_000], &[b'x'; 100_000], b"\nnext"]), [&cut, "next"]);
    }

    #[test]
    fn invalid_utf8_is_replaced_and_split_characters_are_joined() {
        assert_eq!(told(&[b"a\xffb\xe2\x82", b"\xac\n\xe2\x82"]), ["a\u{fffd}b€", "\u{fffd}"]);
        let cut = told(&[&[0xff; 1000], b"\n"]);
        assert!(cut[0].len() <= LONGEST_LINE && cut[0].ends_with(&format!("\u{fffd}{CUT}")), "{cut:?}");
        assert!(!told(&["€".repeat(400).as_bytes()])[0].contains('\u{fffd}'));
    }

    #[test]
    fn control_characters_are_left_to_the_log() {
        assert_eq!(told(&[b"\x1b[31m\0\t\x07\n"]), ["\x1b[31m\0\t\x07"]);
    }

    #[test]
    fn first_megabytes_are_unthrottled_and_a_flood_is_slowed() {
        let (mut pace, mut now) = (Pace::default(), Duration::from_secs(7));
        let read = |pace: &mut Pace, now: &mut Duration, bytes: usize| {
            let began = *now;
            for _ in 0..bytes >> 16 {
                *now += pace.read(1 << 16, *now).unwrap_or_default();
            }
            *now - began
        };
        assert_eq!(read(&mut pace, &mut now, UNSLOWED), Duration::ZERO);
        // Sixteen megabytes take 12.8 seconds.
        let took = read(&mut pace, &mut now, 16 << 20);
        assert!((12_700..12_900).contains(&took.as_millis()), "{took:?}");
        // A quiet time restores the initial allowance, and no more.
        now += Duration::from_hours(1);
        assert_eq!(read(&mut pace, &mut now, UNSLOWED), Duration::ZERO);
        assert_ne!(read(&mut pace, &mut now, 1 << 20), Duration::ZERO);
    }

    fn written() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::sample::select(vec!["\n", "\r", "\r\n", "€", "x", " "])
                .prop_map(|text| text.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
            (any::<u8>(), 300usize..1200).prop_map(|(byte, count)| vec![byte; count]),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn lines_are_bounded_and_the_same_however_the_bytes_come(bytes in written(), piece in 1usize..2000) {
            let whole = told(&[&bytes]);
            prop_assert_eq!(&whole, &told(&bytes.chunks(piece).collect::<Vec<_>>()));
            for line in whole {
                prop_assert!(!line.is_empty() && line.len() <= LONGEST_LINE && !line.contains(['\r', '\n']));
            }
        }

        #[test]
        fn buffered_partial_line_is_bounded(bytes in written(), times in 1usize..20) {
            let mut lines = Lines::default();
            for _ in 0..times {
                lines.take(&bytes, &mut |_| ());
                prop_assert!(lines.kept.capacity() <= 2 * LONGEST_LINE);
            }
        }
    }
}
