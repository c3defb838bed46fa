//! Room for bytes on their way, one for each thread: a session that waits
//! holds none.

use std::cell::RefCell;

/// As large as what TLS and pipes give and take at once. Half of it costs wake-ups;
/// twice of it, with its copies in TLS and in the system, no longer fits the second
/// level of a core's cache and made TLS a third slower where it was measured.
pub const ROOM: usize = 64 << 10;

thread_local! {
    // (Clippy takes what the macro makes of it for Windows for something else.)
    #[allow(clippy::missing_const_for_thread_local)]
    static ROOM_OF_THREAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's room. What is left in it is anybody's.
pub fn with<R>(using: impl FnOnce(&mut [u8]) -> R) -> R {
    ROOM_OF_THREAD.with_borrow_mut(|room| {
        room.resize(ROOM, 0);
        using(room)
    })
}
