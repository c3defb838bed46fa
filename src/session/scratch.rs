//! One buffer per thread for bytes in transit. A session that waits holds no buffer.

use std::cell::RefCell;

/// Buffer size in bytes. Half of it costs wake-ups. Twice of it, with the copies in TLS and the
/// kernel, overflows the L2 cache; it made TLS a third slower when measured.
pub const SIZE: usize = 64 << 10;

thread_local! {
    // The macro expands differently on Windows, where Clippy reports a false positive.
    #[allow(clippy::missing_const_for_thread_local)]
    static BUFFER_OF_THREAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The buffer holds bytes of earlier calls.
pub fn with<R>(using: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER_OF_THREAD.with_borrow_mut(|buffer| {
        buffer.resize(SIZE, 0);
        using(buffer)
    })
}
