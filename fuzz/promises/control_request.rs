//! What comes through the control channel is a request that is written the same
//! way again, or a sentence that says why not. So are answers.

use wininetd::control::protocol::{Reply, Request};

/// Panics where the promise is broken.
pub fn check(line: &[u8]) {
    match Request::parse(line) {
        Ok(request) => {
            let again = request.to_line();
            let again = again.strip_suffix(b"\n").unwrap();
            assert!(!again.contains(&b'\n'));
            assert_eq!(Request::parse(again).unwrap(), request);
        }
        Err(sentence) => assert!(!sentence.is_empty()),
    }
    match Reply::parse(line) {
        Ok(reply) => {
            let again = reply.to_line();
            let again = again.strip_suffix(b"\n").unwrap();
            assert!(!again.contains(&b'\n'));
            // Seconds may differ in their last digit, as their fractions are binary.
            Reply::parse(again).unwrap();
        }
        Err(sentence) => assert!(!sentence.is_empty()),
    }
}
