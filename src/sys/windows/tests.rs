//! Tests with real programs on pipes and connections. The program is this test binary: the
//! test `is_the_program_of_the_others` plays the role that the environment names.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::windows::io::{AsRawHandle, FromRawSocket, OwnedHandle};
use std::path::Path;
use std::time::Duration;

use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectBasicInformation};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Threading::GetProcessId;

use super::super::attempt::Attempt;
use super::super::{ErrorStream, Start, Stdio};
use super::child::Child;
use super::handle::size;
use super::job::is_gone;
use super::net::{Listener, Socket, Stream};
use super::pipe::{self, Reader, Writer};
use super::spawn::{assert_synchronous, spawn};
use crate::model::command_line::CommandLine;
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;
use crate::model::limits::Limits;
use crate::model::listen::Address;
use crate::model::listen::ListenOptions;
use crate::model::plan;

const LIMIT: Duration = Duration::from_secs(60);

const ROLE: &str = "WININETD_TEST_ROLE";

/// Separates the program's output from that of its test harness.
const BEGIN: &str = "<begin>";

const MUCH: usize = 1 << 20;

#[test]
#[allow(clippy::exit)] // before the harness has words for the end
fn is_the_program_of_the_others() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (mut input, mut output) = (std::io::stdin(), std::io::stdout().lock());
    write!(output, "{BEGIN}").unwrap();
    output.flush().unwrap();
    let code = match &*role {
        "both" => {
            let read = std::thread::spawn(move || std::io::copy(&mut input, &mut std::io::sink()).unwrap());
            output.write_all(&[b'x'; MUCH]).unwrap();
            output.flush().unwrap();
            write!(output, "read {}", read.join().unwrap()).unwrap();
            0
        }
        "deaf" => loop {
            std::thread::park();
        },
        "last" => {
            output.write_all(&[b'x'; 50_000]).unwrap();
            std::io::stderr().write_all(b"error").unwrap();
            7
        }
        "parent" => {
            #[allow(clippy::disallowed_methods)] // as any program would
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(ARGUMENTS)
                .env(ROLE, "deaf")
                .spawn();
            drop(child.unwrap());
            0
        }
        "parent-that-waits" => {
            #[allow(clippy::disallowed_methods)] // as any program would
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(ARGUMENTS)
                .env(ROLE, "deaf")
                .stdout(std::process::Stdio::null())
                .spawn();
            drop(child.unwrap());
            output.write_all(b"started").unwrap();
            output.flush().unwrap();
            input.read_to_end(&mut Vec::new()).unwrap();
            0
        }
        "echo" => {
            let mut text = String::new();
            input.read_to_string(&mut text).unwrap();
            write!(output, "got {text}").unwrap();
            0
        }
        role => unreachable!("{role}"),
    };
    output.flush().unwrap();
    std::process::exit(code);
}

const ARGUMENTS: [&str; 4] =
    ["-q", "--nocapture", "--exact", "sys::windows::tests::is_the_program_of_the_others"];

fn start(role: &str, stdio: Stdio<'_>, errors: ErrorStream<'_>) -> Child {
    let own = std::env::current_exe().unwrap();
    let line = format!("\"{}\" {}", own.display(), ARGUMENTS.join(" "));
    let environment: Vec<(OsString, OsString)> =
        std::env::vars_os().chain([(ROLE.into(), role.into())]).collect();
    spawn(&Start {
        command: &CommandLine::line(line),
        directory: Path::new(r"C:\"),
        environment: &environment,
        account: None,
        stdio,
        errors,
        limits: &Limits::default(),
        attempt: &Attempt::new(),
    })
    .unwrap()
}

struct Piped {
    child: Child,
    input: Writer,
    output: Reader,
}

impl Piped {
    fn start(role: &str, errors: ErrorStream<'_>) -> Piped {
        let (input, its_input) = pipe::to_program().unwrap();
        let (output, its_output) = pipe::from_program().unwrap();
        let child = start(role, Stdio::Pipes { input: &its_input, output: &its_output }, errors);
        Piped { child, input, output }
    }

    async fn exit(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.child.wait(Leftovers::End)).await.unwrap().unwrap()
    }
}

async fn read_until(reader: &Reader, last: Option<&str>) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    while !last.is_some_and(|last| all.ends_with(last.as_bytes())) {
        tokio::time::timeout(LIMIT, reader.readable()).await.unwrap().unwrap();
        match reader.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    String::from_utf8(all).unwrap()
}

async fn write_all(writer: &Writer, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        tokio::time::timeout(LIMIT, writer.writable()).await.unwrap()?;
        match writer.try_write(&bytes[..bytes.len().min(16 * 1024)]) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn of_program(text: &str) -> &str {
    text.split_once(BEGIN).unwrap().1
}

#[tokio::test]
async fn a_program_on_pipes_reads_to_the_end_while_it_writes() {
    let Piped { mut child, input, output } = Piped::start("both", ErrorStream::Output);
    let write = async move {
        write_all(&input, &[b'y'; MUCH]).await.unwrap();
        drop(input);
    };
    let ((), text) = tokio::join!(write, read_until(&output, None));
    assert!(of_program(&text) == format!("{}read {MUCH}", "x".repeat(MUCH)), "{} bytes", text.len());
    assert_eq!(child.wait(Leftovers::End).await.unwrap(), ExitStatus::Code(0));
}

/// Under Wine the console host inherits every handle. So no test here shows a program that
/// closes its input and continues.
#[tokio::test]
async fn a_writer_that_waits_for_a_program_learns_that_it_is_gone() {
    let mut piped = Piped::start("deaf", ErrorStream::Output);
    read_until(&piped.output, Some(BEGIN)).await;
    let write = async { write_all(&piped.input, &[b'y'; MUCH]).await.unwrap_err() };
    let (error, ()) = tokio::join!(write, async { piped.child.end_tree() });
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    piped.exit().await;
}

#[tokio::test]
async fn last_output_and_stderr_arrive_in_their_own_streams() {
    let (errors, end) = pipe::from_program().unwrap();
    let mut piped = Piped::start("last", ErrorStream::Pipe(&end));
    drop(end);
    assert_eq!(piped.exit().await, ExitStatus::Code(7));
    assert_eq!(of_program(&read_until(&piped.output, None).await), "x".repeat(50_000));
    assert_eq!(read_until(&errors, None).await, "error");
    for (errors, expected) in [(ErrorStream::Output, 50_005), (ErrorStream::Nowhere, 50_000)] {
        let mut piped = Piped::start("last", errors);
        piped.exit().await;
        assert_eq!(of_program(&read_until(&piped.output, None).await).len(), expected, "{errors:?}");
    }
}

#[tokio::test]
async fn output_ends_although_a_leftover_process_runs() {
    let mut piped = Piped::start("parent", ErrorStream::Output);
    assert_eq!(piped.exit().await, ExitStatus::Code(0));
    read_until(&piped.output, None).await;
}

#[tokio::test]
async fn every_process_of_a_tree_is_gone_when_the_wait_for_it_returns() {
    let mut piped = Piped::start("parent-that-waits", ErrorStream::Output);
    read_until(&piped.output, Some("started")).await;
    let tree = piped.child.tree();
    // SAFETY: the handle is open.
    let pid = |process: &OwnedHandle| unsafe { GetProcessId(process.as_raw_handle()) };
    assert!(tree.iter().any(|process| pid(process) != piped.child.pid()), "{tree:?}");
    drop(piped.input);
    let exit = tokio::time::timeout(LIMIT, piped.child.wait(Leftovers::End)).await.unwrap();
    assert_eq!(exit.unwrap(), ExitStatus::Code(0));
    assert!(tree.iter().all(is_gone));
}

async fn accepted() -> (TcpStream, Socket) {
    accepted_for(plan::Stdio::Socket).await
}

async fn accepted_for(stdio: plan::Stdio) -> (TcpStream, Socket) {
    let any = Address::Tcp("127.0.0.1:0".parse().unwrap());
    let listener = Listener::bind(&any, &ListenOptions { stdio, ..ListenOptions::default() }).unwrap();
    let Address::Tcp(address) = listener.local_addr().unwrap() else { unreachable!() };
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    listener.readable().await.unwrap();
    (client, listener.accept().unwrap().unwrap().0)
}

async fn byte_of(stream: &Stream) -> u8 {
    let mut byte = [0];
    loop {
        tokio::time::timeout(LIMIT, stream.readable()).await.unwrap().unwrap();
        match stream.try_read(&mut byte) {
            Ok(count) => assert_eq!(count, 1),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                continue;
            }
        }
        return byte[0];
    }
}

#[tokio::test]
async fn only_connections_for_programs_are_synchronous() {
    let (_client, socket) = accepted().await;
    assert_synchronous(socket.handle()).unwrap();
    let (_client, socket) = accepted_for(plan::Stdio::Pipe).await;
    assert!(assert_synchronous(socket.handle()).is_err());
}

#[tokio::test]
async fn a_connection_is_the_servers_then_a_programs_then_lingers() {
    let (mut client, mut socket) = accepted().await;
    let local = socket.local_addr().unwrap();
    // Each conversion removes the socket from the poll set or adds it again.
    for byte in b'a'..=b'j' {
        let stream = socket.into_stream().unwrap();
        client.write_all(&[byte]).unwrap();
        assert_eq!(byte_of(&stream).await, byte);
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(stream.try_write(&[byte]).unwrap(), 1);
        socket = stream.into_socket().unwrap();
    }
    assert_eq!(socket.local_addr().unwrap(), local);
    assert_eq!(socket.counter().counts(), None);
    let mut child = start("echo", Stdio::Connection(&socket), ErrorStream::Output);
    let mut text = vec![0; 10];
    client.read_exact(&mut text).unwrap();
    assert_eq!(text, b"abcdefghij");
    // The program, not the runtime, receives all data that arrives now.
    client.write_all(b"the rest").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(
        tokio::time::timeout(LIMIT, child.wait(Leftovers::End)).await.unwrap().unwrap(),
        ExitStatus::Code(0)
    );
    tokio::time::timeout(LIMIT, socket.linger()).await.unwrap().unwrap();
    drop(socket);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(of_program(&text), "got the rest");
}

/// Writes through Winsock, because file writes always block under Wine.
#[tokio::test]
async fn a_connection_that_a_program_gets_waits_for_its_client() {
    const TOO_MUCH: usize = 16 << 20;
    let (mut client, socket) = accepted().await;
    let socket = socket.into_stream().unwrap().into_socket().unwrap();
    // SAFETY: the socket is open as long as `socket`, which alone closes it.
    let mut as_program = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(socket.handle() as _) });
    let write = std::thread::spawn(move || as_program.write_all(&vec![b'x'; TOO_MUCH]));
    let (mut read, mut buffer) = (0, [0; 4096]);
    while read < TOO_MUCH {
        read += client.read(&mut buffer).unwrap();
    }
    write.join().unwrap().unwrap();
}

#[tokio::test]
async fn client_that_does_not_read_is_bounded_and_loses_nothing() {
    static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    // Asynchronous: on a synchronous socket Wine 10 blocks after a short send.
    let (mut client, socket) = accepted_for(plan::Stdio::Pipe).await;
    let stream = socket.into_stream().unwrap();
    let (mut taken, mut refused) = (0, 0);
    while refused < 100 {
        match stream.try_write(&CHUNK) {
            Ok(count) => (taken, refused) = (taken + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
            }
        }
        assert!(taken < 64 << 20, "there is no bound");
        tokio::task::yield_now().await;
    }
    let read = tokio::task::spawn_blocking(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
    tokio::time::timeout(LIMIT, stream.writable()).await.unwrap().unwrap();
    stream.shutdown().unwrap();
    assert_eq!(read.await.unwrap(), taken as u64);
}

#[tokio::test]
async fn half_closed_connection_lingers_until_the_client_ends() {
    let (mut client, socket) = accepted().await;
    let stream = socket.into_stream().unwrap();
    stream.shutdown().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let socket = stream.into_socket().unwrap();
    client.write_all(b"late").unwrap();
    drop(client);
    tokio::time::timeout(LIMIT, socket.linger()).await.unwrap().unwrap();
}

/// References to a socket beyond its handles. `None` on Windows, which counts in thousands.
fn references(socket: HANDLE) -> Option<u32> {
    // PUBLIC_OBJECT_BASIC_INFORMATION: handles in field 2, references in field 3.
    let mut information = [0u32; 14];
    // SAFETY: pointer and length belong to the array; null skips the returned length.
    let status = unsafe {
        NtQueryObject(
            socket,
            ObjectBasicInformation,
            information.as_mut_ptr().cast(),
            size::<[u32; 14]>(),
            std::ptr::null_mut(),
        )
    };
    assert_eq!(status, 0);
    (information[3] < 1000).then(|| information[3] - information[2])
}

#[tokio::test]
async fn event_loop_stops_polling_a_released_connection() {
    let (_client, socket) = accepted().await;
    let handle = socket.handle();
    let before = references(handle);
    let stream = socket.into_stream().unwrap();
    for _ in 0..10 {
        // The runtime polls when a task yields.
        let _ = stream.try_read(&mut [0]);
        tokio::task::yield_now().await;
    }
    let asked = references(handle);
    let _socket = stream.into_socket().unwrap();
    let after = references(handle);
    assert_eq!(after, before);
    assert!(before.is_none() || asked > before, "{asked:?} after {before:?}: it was not asked");
}
