//! The server side of the control channel: turns lines into commands for the supervisor, and its
//! replies into lines. Limits bound what a slow or silent client costs.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::protocol::{LONGEST_REQUEST, Reply, Request};
use crate::model::exit_code::Exit;
use crate::sys::control::{Channel, Stream};

/// A request for the supervisor. If the supervisor drops `reply`, the server is stopping.
#[derive(Debug)]
pub struct ControlCommand {
    pub request: Request,
    pub reply: oneshot::Sender<Reply>,
}

/// Clients that the server answers at once. Each holds a descriptor that a session could use.
const MOST_CLIENTS: usize = 16;

/// The pause after a failed accept. Without it the loop would spin while resources are exhausted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Time limits for one client.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// From the connection to the complete request.
    request: Duration,
    /// For reading the answer and closing the connection.
    reply: Duration,
    /// For the supervisor's reply. Files on a disk that hangs must not occupy all connections.
    work: Duration,
}

const PATIENCE: Patience = Patience {
    request: Duration::from_secs(2),
    reply: Duration::from_secs(5),
    work: Duration::from_secs(55),
};

/// Answers clients until `commands` is closed. Dropping the future closes the channel.
pub async fn serve(channel: Channel, commands: mpsc::Sender<ControlCommand>) {
    serve_with(channel, commands, PATIENCE).await;
}

async fn serve_with(mut channel: Channel, commands: mpsc::Sender<ControlCommand>, patience: Patience) {
    let mut clients = JoinSet::new();
    let mut paused = false;
    loop {
        tokio::select! {
            accepted = channel.accept(), if !paused && clients.len() < MOST_CLIENTS => match accepted {
                Ok(stream) => drop(clients.spawn(attend(stream, commands.clone(), patience))),
                Err(_) => paused = true,
            },
            () = sleep(ACCEPT_PAUSE), if paused => paused = false,
            Some(_) = clients.join_next() => {}
            () = commands.closed() => break,
        }
    }
    drop(channel);
    // The remaining clients still get the answer that the server is stopping.
    while clients.join_next().await.is_some() {}
}

async fn attend(mut stream: Stream, commands: mpsc::Sender<ControlCommand>, patience: Patience) {
    let Some(reply) = reply_to(&mut stream, &commands, patience).await else { return };
    let until = Instant::now() + patience.reply;
    let deliver = async {
        stream.write_all(&reply.to_line()).await?;
        // The client closes once it has read the answer. Closing earlier would destroy unread data:
        // on Windows always, elsewhere if the client keeps sending.
        let mut more = [0; 1024];
        while stream.read(&mut more).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout_at(until, deliver).await;
}

/// The answer for a client. `None` if the client sent no request.
async fn reply_to(
    stream: &mut Stream,
    commands: &mpsc::Sender<ControlCommand>,
    patience: Patience,
) -> Option<Reply> {
    let line = match timeout_at(Instant::now() + patience.request, read_line(stream)).await {
        Ok(Ok(line)) => line?,
        Ok(Err(_)) => return None,
        Err(_) => return Some(Reply::refused("the request took too long to arrive", Exit::Usage)),
    };
    let request = match line.and_then(|line| Request::parse(&line)) {
        Ok(request) => request,
        Err(message) => return Some(Reply::refused(message, Exit::Usage)),
    };
    let (reply, answer) = oneshot::channel();
    // If the supervisor is gone, the send drops `reply`, and `answer` fails.
    let _ = commands.send(ControlCommand { request, reply }).await;
    let too_long = "this takes long; see the log for the result";
    Some(match tokio::time::timeout(patience.work, answer).await {
        Ok(reply) => reply.unwrap_or_else(|_| Reply::refused("the server is stopping", Exit::Unavailable)),
        Err(_) => Reply::refused(too_long, Exit::Unavailable),
    })
}

/// Reads the request's line and returns it without its newline. The newline is optional if the
/// client half-closes. The inner error is for the client; `None` if the client sent nothing.
async fn read_line(stream: &mut Stream) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
    let mut line = Vec::new();
    let mut part = [0; 1024];
    loop {
        let length = stream.read(&mut part).await?;
        let read = &part[..length];
        let end = read.iter().position(|&byte| byte == b'\n');
        line.extend_from_slice(&read[..end.unwrap_or(length)]);
        if line.len() >= LONGEST_REQUEST {
            return Ok(Some(Err(format!("a request has at most {LONGEST_REQUEST} bytes"))));
        }
        if end.is_some() || (length == 0 && !line.is_empty()) {
            return Ok(Some(Ok(line)));
        }
        if length == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::timeout;

    use super::super::client;
    use super::*;
    use crate::sys::control::connect;

    const LIMIT: Duration = Duration::from_mins(1);
    const BRIEF: Duration = Duration::from_millis(100);
    const ENDLESS: Patience = Patience { request: LIMIT, reply: LIMIT, work: LIMIT };

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(LIMIT, test).await.unwrap() });
    }

    fn channel() -> (Channel, PathBuf, tempfile::TempDir) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = if cfg!(windows) {
            PathBuf::from(format!(r"\\.\pipe\wininetd-test-{name}"))
        } else {
            folder.path().join(name)
        };
        (Channel::open(&path).unwrap(), path, folder)
    }

    fn server(patience: Patience) -> (mpsc::Receiver<ControlCommand>, PathBuf, tempfile::TempDir) {
        let (channel, path, folder) = channel();
        let (sender, commands) = mpsc::channel(1);
        tokio::spawn(serve_with(channel, sender, patience));
        (commands, path, folder)
    }

    fn obedient(patience: Patience) -> (PathBuf, tempfile::TempDir) {
        let (mut commands, path, folder) = server(patience);
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let _ = command.reply.send(Reply::Killed);
            }
        });
        (path, folder)
    }

    async fn read_to_end(stream: &mut Stream) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            all.extend_from_slice(&part[..length]);
            if all.ends_with(b"\n") {
                break;
            }
        }
        all
    }

    async fn told(path: &std::path::Path, bytes: &[u8]) -> String {
        let mut stream = connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        match Reply::parse(&read_to_end(&mut stream).await).unwrap() {
            Reply::Refused { message, exit: 64 } => message,
            other => panic!("{other:?}"),
        }
    }

    async fn ask(path: PathBuf) -> Reply {
        let ask = move || client::ask(&path, &[], &Request::Kill { session: 7 }, LIMIT);
        tokio::task::spawn_blocking(ask).await.unwrap().unwrap()
    }

    #[test]
    fn a_command_reaches_the_supervisor_and_its_reply_the_client() {
        run(async {
            let (mut commands, path, _folder) = server(ENDLESS);
            let asked = tokio::spawn(ask(path.clone()));
            let command = commands.recv().await.unwrap();
            assert_eq!(command.request, Request::Kill { session: 7 });
            command.reply.send(Reply::no_such_session(7)).unwrap();
            assert_eq!(asked.await.unwrap(), Reply::no_such_session(7));
            let asked = tokio::spawn(ask(path));
            let long = Reply::Reloaded { message: "x".repeat(2 << 20), exit: 0 };
            commands.recv().await.unwrap().reply.send(long.clone()).unwrap();
            assert_eq!(asked.await.unwrap(), long);
        });
    }

    #[test]
    fn a_request_of_another_shape_gets_an_error() {
        run(async {
            let (path, _folder) = obedient(ENDLESS);
            for bytes in [&b"\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"\0\xff\n", b"{\"version\":1}\n"] {
                let message = told(&path, bytes).await;
                assert!(message.starts_with("not a valid request"), "{message}");
            }
            let long = vec![b' '; 10_000];
            assert_eq!(told(&path, &long).await, "a request has at most 4096 bytes");
            assert!(told(&path, b"{\"version\":9}\n").await.contains("version 1"));
            assert_eq!(ask(path).await, Reply::Killed);
        });
    }

    #[test]
    fn a_slow_request_is_ended_at_its_deadline_and_not_later() {
        run(async {
            let (path, _folder) = obedient(Patience { request: BRIEF, reply: BRIEF, work: LIMIT });
            assert_eq!(told(&path, b"{").await, "the request took too long to arrive");
            let mut stream = connect(&path).await.unwrap();
            let mut tick = tokio::time::interval(BRIEF / 10);
            let began = Instant::now();
            loop {
                tick.tick().await;
                let mut answer = [0; 4096];
                if stream.write_all(b" ").await.is_err() {
                    break;
                }
                if let Ok(Ok(length)) = timeout(BRIEF / 100, stream.read(&mut answer)).await {
                    assert!(length > 0);
                    break;
                }
            }
            assert!(began.elapsed() < LIMIT / 2);
        });
    }

    #[test]
    fn incomplete_request_affects_no_other_client() {
        run(async {
            let (path, _folder) = obedient(ENDLESS);
            for bytes in [&b""[..], b"{\"version\":1,\"req"] {
                let mut stream = connect(&path).await.unwrap();
                stream.write_all(bytes).await.unwrap();
                drop(stream);
                assert_eq!(ask(path.clone()).await, Reply::Killed);
            }
        });
    }

    #[test]
    fn clients_that_do_not_read_are_dropped_and_free_their_slots() {
        run(async {
            let (mut commands, path, _folder) =
                server(Patience { request: LIMIT, reply: BRIEF, work: LIMIT });
            let mut deaf = Vec::new();
            for _ in 0..MOST_CLIENTS {
                let mut stream = connect(&path).await.unwrap();
                stream.write_all(&Request::Status.to_line()).await.unwrap();
                // More than all buffers on the way can hold.
                let long = Reply::Reloaded { message: "x".repeat(1 << 20), exit: 0 };
                commands.recv().await.unwrap().reply.send(long).unwrap();
                deaf.push(stream);
            }
            let asked = tokio::spawn(ask(path));
            commands.recv().await.unwrap().reply.send(Reply::Killed).unwrap();
            assert_eq!(asked.await.unwrap(), Reply::Killed);
            assert!(read_to_end(&mut deaf[0]).await.len() < 1 << 20);
        });
    }

    #[test]
    fn more_clients_than_there_are_places_wait_and_are_answered_too() {
        run(async {
            let (mut commands, path, _folder) = server(ENDLESS);
            let clients: Vec<_> = (0..20).map(|_| tokio::spawn(ask(path.clone()))).collect();
            let mut answered = 0;
            while answered < clients.len() {
                let mut waiting = vec![commands.recv().await.unwrap()];
                while let Ok(Some(command)) = timeout(BRIEF, commands.recv()).await {
                    waiting.push(command);
                }
                assert!(waiting.len() <= MOST_CLIENTS, "{}", waiting.len());
                answered += waiting.len();
                for command in waiting {
                    command.reply.send(Reply::Killed).unwrap();
                }
            }
            for client in clients {
                assert_eq!(client.await.unwrap(), Reply::Killed);
            }
        });
    }

    #[test]
    fn a_server_that_stops_says_so_and_is_gone() {
        run(async {
            let (channel, path, _folder) = channel();
            let (sender, mut commands) = mpsc::channel(1);
            let serving = tokio::spawn(serve(channel, sender));
            let asked = tokio::spawn(ask(path.clone()));
            drop(commands.recv().await.unwrap());
            assert_eq!(asked.await.unwrap(), Reply::refused("the server is stopping", Exit::Unavailable));
            drop(commands);
            serving.await.unwrap();
            let ask = move || client::ask(&path, &[], &Request::Status, LIMIT);
            let error = tokio::task::spawn_blocking(ask).await.unwrap().unwrap_err();
            assert_eq!(error.exit(), Exit::Unavailable);
            assert!(error.to_string().contains("no server answers there"), "{error}");
        });
    }

    #[test]
    fn client_stops_waiting_for_a_silent_server() {
        run(async {
            let (_commands, path, _folder) = server(ENDLESS);
            let ask = move || client::ask(&path, &[], &Request::Status, BRIEF);
            let error = tokio::task::spawn_blocking(ask).await.unwrap().unwrap_err();
            assert_eq!(error.exit(), Exit::Unavailable);
            assert!(error.to_string().contains("no answer in 0.1 s"), "{error}");
        });
    }

    #[test]
    fn peer_that_is_not_wininetd_is_reported() {
        run(async {
            for (answer, said) in [
                (&b"220 mail.example ESMTP\r\n"[..], "the process at this control channel is not wininetd"),
                (b"{\"version\":1,\"reply\":\"dance\"}\n", "cannot be read"),
                (b"{\"version\":1", "the server's answer broke off"),
                (b"", "without an answer"),
            ] {
                let (mut channel, path, _folder) = channel();
                let asked =
                    tokio::task::spawn_blocking(move || client::ask(&path, &[], &Request::Status, LIMIT));
                let mut stream = channel.accept().await.unwrap();
                read_line(&mut stream).await.unwrap();
                stream.write_all(answer).await.unwrap();
                if answer.ends_with(b"\n") {
                    while stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {}
                }
                drop(stream);
                let error = asked.await.unwrap().unwrap_err().to_string();
                // On Windows, closing the connection destroys the unread answer.
                assert!(
                    error.contains(said) || (cfg!(windows) && error.contains("without an answer")),
                    "{error}"
                );
            }
        });
    }
}
