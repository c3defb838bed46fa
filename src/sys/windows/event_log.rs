//! The Windows Event Log. `--install` registers the message file with the texts of entries.

use std::io;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};

use super::handle::{check, wide};
use crate::model::level::Level;

/// A DLL with texts only. Viewers keep it open, which must not block an upgrade of the program.
pub const MESSAGE_FILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wininetd-events.dll"));

/// In UTF-16 units. Windows refuses more than 31,839, so longer texts are cut.
const LONGEST: usize = 31_000;

#[derive(Debug)]
pub struct EventLog {
    source: HANDLE,
}

// SAFETY: any thread may use the handle.
unsafe impl Send for EventLog {}

impl EventLog {
    pub fn open(source: &str) -> io::Result<EventLog> {
        let source = wide(source);
        // SAFETY: the name is NUL-terminated; null means this computer.
        let source = unsafe { RegisterEventSourceW(std::ptr::null(), source.as_ptr()) };
        if source.is_null() { Err(io::Error::last_os_error()) } else { Ok(EventLog { source }) }
    }

    pub fn report(&self, level: Level, id: u32, text: &str) -> io::Result<()> {
        let kind = match level {
            Level::Error => EVENTLOG_ERROR_TYPE,
            Level::Warning => EVENTLOG_WARNING_TYPE,
            Level::Info => EVENTLOG_INFORMATION_TYPE,
        };
        let mut text = wide(text.replace('\0', "\u{fffd}"));
        if text.len() > LONGEST {
            text.truncate(LONGEST);
            // Do not cut a surrogate pair in half.
            if text.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit)) {
                text.pop();
            }
            text.extend("…\0".encode_utf16());
        }
        let texts = [text.as_ptr()];
        // SAFETY: one NUL-terminated string, no data, no user.
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
        // SAFETY: the handle is open and owned.
        unsafe { DeregisterEventSource(self.source) };
    }
}
