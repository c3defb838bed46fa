//! A client of the control channel, written without the server's own code.

use std::io::{BufRead, BufReader, Write};

/// Sends bytes and a newline, and returns the line that the server answers, or an empty text.
pub fn exchange(path: &str, request: &[u8]) -> String {
    let mut stream = open(path);
    // If the server has closed the channel, the read shows it.
    let _ = stream.write_all(&[request, b"\n"].concat());
    let mut answer = Vec::new();
    let _ = BufReader::new(stream).read_until(b'\n', &mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[cfg(unix)]
pub fn open(path: &str) -> std::os::unix::net::UnixStream {
    let stream = std::os::unix::net::UnixStream::connect(path).expect("the control channel");
    stream.set_read_timeout(Some(crate::LIMIT)).expect("a read timeout");
    stream
}

#[cfg(windows)]
pub fn open(path: &str) -> std::fs::File {
    use std::time::Instant;
    const ERROR_PIPE_BUSY: i32 = 231;
    let until = Instant::now() + crate::LIMIT;
    loop {
        match std::fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => return file,
            // The server has not created the pipe's next instance yet.
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) && Instant::now() < until => {
                std::thread::yield_now();
            }
            Err(error) => panic!("the control channel: {error}"),
        }
    }
}
