//! The Event Log of Windows: entries with our numbers, whose words come from
//! the message file that `--install` registers.

use std::io;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};

use super::handle::{check, wide};
use crate::model::level::Level;

/// The message file, a DLL that holds nothing but texts. It is no part of the
/// program's file, since viewers keep it open and would block an upgrade.
pub const MESSAGE_FILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wininetd-events.dll"));

/// Entries that are longer are refused (31,839), and an entry that is cut says more than none.
const LONGEST: usize = 31_000;

/// An open source of the Event Log.
#[derive(Debug)]
pub struct EventLog {
    source: HANDLE,
}

// SAFETY: the handle may be used from any thread.
unsafe impl Send for EventLog {}

impl EventLog {
    /// Opens the log for entries of this source.
    pub fn open(source: &str) -> io::Result<EventLog> {
        let source = wide(source);
        // SAFETY: the name ends with zero; null is this computer.
        let source = unsafe { RegisterEventSourceW(std::ptr::null(), source.as_ptr()) };
        if source.is_null() { Err(io::Error::last_os_error()) } else { Ok(EventLog { source }) }
    }

    /// Writes an entry.
    pub fn report(&self, level: Level, id: u32, text: &str) -> io::Result<()> {
        let kind = match level {
            Level::Error => EVENTLOG_ERROR_TYPE,
            Level::Warning => EVENTLOG_WARNING_TYPE,
            Level::Info => EVENTLOG_INFORMATION_TYPE,
        };
        let mut text = wide(text.replace('\0', "\u{fffd}"));
        if text.len() > LONGEST {
            text.truncate(LONGEST);
            // Not in the midst of a letter of two units.
            if text.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit)) {
                text.pop();
            }
            text.extend("…\0".encode_utf16());
        }
        let texts = [text.as_ptr()];
        // SAFETY: one text that ends with zero, no data, no user.
        check(unsafe {
            ReportEventW(
                self.source,
                kind,
                0,
                id,
                std::ptr::null_mut(),
                1,
                0,
                texts.as_ptr(),
                std::ptr::null(),
            )
        })
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { DeregisterEventSource(self.source) };
    }
}
