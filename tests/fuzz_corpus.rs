//! What fuzzing keeps (`fuzz/corpus`) holds to the promises in every run of the
//! tests, without the compiler that fuzzing needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::path::Path;

/// Every kept input of a target.
fn each<T>(target: &str, check: impl Fn(&[u8]) -> T) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let _ = check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

macro_rules! targets {
    ($($name:ident $test:ident $path:literal;)*) => {$(
        #[path = $path]
        mod $name;

        #[test]
        fn $test() {
            each(stringify!($name), $name::check);
        }
    )*};
}

targets! {
    classic_file a_classic_file_is_read_or_answered_without_its_passwords "../fuzz/promises/classic_file.rs";
    control_request a_request_comes_back_or_gets_a_sentence "../fuzz/promises/control_request.rs";
    core_events all_promises_hold_in_every_history "../fuzz/promises/core_events.rs";
    log_text text_is_one_harmless_line "../fuzz/promises/log_text.rs";
    native_file a_native_file_is_read_or_answered_without_its_passwords "../fuzz/promises/native_file.rs";
    proxy_header a_header_is_read_to_its_last_byte "../fuzz/promises/proxy_header.rs";
    stderr_lines lines_are_bounded_and_the_same_however_they_come "../fuzz/promises/stderr_lines.rs";
}
