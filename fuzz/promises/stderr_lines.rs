//! Lines of a program's standard error: bounded, the same however the bytes
//! come, and those that a plainer way of reading finds.

use std::time::Duration;

use wininetd::core::lines::{LONGEST_LINE, Lines, SESSION_LINES};
use wininetd::core::repeat_filter::LineBudget;

fn told<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut lines, mut told) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines.take(piece, &mut |line| told.push(line.to_owned()));
    }
    lines.end(&mut |line| told.push(line.to_owned()));
    lines.end(&mut |line| panic!("{line:?} after the end"));
    told
}

/// Each line whole, however long.
fn plainly(bytes: &[u8]) -> Vec<String> {
    let last_state = |line: &[u8]| {
        let end = line.iter().rposition(|&byte| byte != b'\r').map_or(0, |at| at + 1);
        let part = line[..end].rsplit(|&byte| byte == b'\r').next().unwrap_or_default();
        String::from_utf8_lossy(part).into_owned()
    };
    bytes.split(|&byte| byte == b'\n').map(last_state).filter(|line| !line.is_empty()).collect()
}

/// Panics where the promise is broken.
pub fn check(bytes: &[u8]) {
    let lines = told([bytes]);
    for size in [1, 3, 64, 1023] {
        assert_eq!(lines, told(bytes.chunks(size)), "{size}");
    }
    let whole = plainly(bytes);
    assert_eq!(lines.len(), whole.len());
    for (line, whole) in lines.iter().zip(&whole) {
        assert!(line.len() <= LONGEST_LINE);
        if whole.len() <= LONGEST_LINE {
            assert_eq!(line, whole);
        } else {
            let kept = line.strip_suffix("… (cut)").unwrap();
            assert!(whole.starts_with(kept) && kept.len() + 20 > LONGEST_LINE, "{line}");
        }
    }

    // The same bytes as times between lines, in hundredths of a second.
    let (mut budget, mut now, mut allowed, mut lost) =
        (LineBudget::new(SESSION_LINES), Duration::ZERO, 0u32, 0);
    for &gap in bytes {
        now += Duration::from_millis(u64::from(gap) * 10 / 16);
        if budget.allow(now) {
            allowed += 1;
            lost += budget.take_suppressed();
        }
        assert!(f64::from(allowed) <= 100.0 + now.as_secs_f64() * 10.0);
    }
    lost += budget.take_suppressed();
    assert_eq!(u64::from(allowed) + lost, bytes.len() as u64);
}
