//! The control channel on Windows: a local named pipe for administrators and its owner.
//! By default only administrators can create its name, so no other process can take it first.

use std::io::{self, ErrorKind};
use std::os::windows::io::{AsRawHandle, RawHandle};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BROKEN_PIPE, ERROR_FILE_NOT_FOUND, ERROR_NO_DATA, ERROR_PATH_NOT_FOUND,
    ERROR_PIPE_BUSY, ERROR_PIPE_NOT_CONNECTED, ERROR_SUCCESS, WIN32_ERROR,
};
use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT};
use windows_sys::Win32::Security::{
    EqualSid, OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES, TOKEN_USER,
};
use windows_sys::Win32::Storage::FileSystem::SECURITY_IDENTIFICATION;

use super::super::ControlFault;
use super::super::fault::{self, Says};
use super::handle::size;
use super::paths::OPEN_PIPES;
use super::security::{self, Descriptor, Local, SidKind};
use super::{names, process, scm, token};

pub const WHO_MAY_ASK: &str = "administrators (from an elevated prompt) and the user who runs it";

/// The prefix of local pipes. A pipe on another computer could claim any owner.
const PIPES: &str = r"\\.\pipe\";

const BUSY_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Channel {
    name: PathBuf,
    /// The access list in SDDL.
    access: String,
    next: NamedPipeServer,
}

impl Channel {
    /// Must be called within the runtime. Fails if a pipe of this name exists.
    pub fn open(name: &Path) -> io::Result<Channel> {
        check_name(name).map_err(|message| io::Error::new(ErrorKind::InvalidInput, message))?;
        let own = token::own_sid()?;
        // A server of an administrator answers all administrators.
        let access = access(if process::is_privileged() { "BA" } else { &own }, &own);
        let next = instance(name, &access, true).map_err(|error| {
            if is(&error, ERROR_ACCESS_DENIED) || is(&error, ERROR_PIPE_BUSY) {
                let message =
                    "another server answers there, or only administrators may have a pipe of this name";
                io::Error::new(ErrorKind::PermissionDenied, message)
            } else {
                error
            }
        })?;
        Ok(Channel { name: name.to_owned(), access, next })
    }

    /// Accepts the next client. The pipe's access list decides which clients may connect.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            let connected = self.next.connect().await;
            let next = match instance(&self.name, &self.access, false) {
                Ok(next) => next,
                Err(error) => {
                    // Keep this instance: without one, another process could take the name.
                    let _ = self.next.disconnect();
                    return Err(error);
                }
            };
            let pipe = std::mem::replace(&mut self.next, next);
            match connected {
                Ok(()) => return Ok(Stream { pipe: Pipe::Server(pipe) }),
                Err(error) if is(&error, ERROR_NO_DATA) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.name
    }
}

fn instance(name: &Path, access: &str, first: bool) -> io::Result<NamedPipeServer> {
    fault::point(if first { "control-open" } else { "control-accept" }, Says::Memory)?;
    let access = Descriptor::parse(access)?;
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: size::<SECURITY_ATTRIBUTES>(),
        lpSecurityDescriptor: access.raw(),
        bInheritHandle: 0,
    };
    let mut options = ServerOptions::new();
    options.first_pipe_instance(first).reject_remote_clients(true);
    // SAFETY: the attributes and the descriptor live through the call.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}

/// Full access for the system, administrators and the server's account, none for others.
/// The client checks the owner to identify the server.
fn access(owner: &str, own: &str) -> String {
    format!("O:{owner}D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;{own})")
}

/// Connects to a server of an administrator, the system or the caller's own account.
pub async fn connect(name: &Path) -> Result<Stream, ControlFault> {
    check_name(name).map_err(ControlFault::Name)?;
    let pipe = loop {
        // A malicious server can identify the client but not act as the client.
        match ClientOptions::new().security_qos_flags(SECURITY_IDENTIFICATION).open(name) {
            Err(error) if is(&error, ERROR_PIPE_BUSY) => tokio::time::sleep(BUSY_PAUSE).await,
            opened => break opened.map_err(fault)?,
        }
    };
    match stranger(pipe.as_raw_handle(), name).map_err(ControlFault::Other)? {
        Some(owner) => Err(ControlFault::Stranger { owner }),
        None => Ok(Stream { pipe: Pipe::Client(pipe) }),
    }
}

fn fault(error: io::Error) -> ControlFault {
    if is(&error, ERROR_FILE_NOT_FOUND) || is(&error, ERROR_PATH_NOT_FOUND) {
        ControlFault::Absent
    } else if is(&error, ERROR_ACCESS_DENIED) {
        ControlFault::NotPermitted(error)
    } else {
        ControlFault::Other(error)
    }
}

fn is(error: &io::Error, code: WIN32_ERROR) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

fn check_name(name: &Path) -> Result<(), String> {
    let text = name.to_string_lossy();
    let rest = text
        .get(..PIPES.len())
        .filter(|start| start.eq_ignore_ascii_case(PIPES))
        .map(|_| &text[PIPES.len()..]);
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains("..")) {
        return Ok(());
    }
    Err(format!("the control channel is a pipe of this computer: {PIPES}NAME"))
}

/// The pipe's owner, unless it is trusted: an administrator, the client's own account, or
/// the account with which the service of this name is registered.
fn stranger(pipe: RawHandle, name: &Path) -> io::Result<Option<String>> {
    let mut owner: PSID = std::ptr::null_mut();
    let mut descriptor = std::ptr::null_mut();
    // SAFETY: the handle is open; the owner lies within the descriptor, which is freed below.
    let code = unsafe {
        GetSecurityInfo(
            pipe,
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    let memory = Local(descriptor);
    if owner.is_null() {
        return Ok(Some("nobody".to_owned()));
    }
    let own = token::own_user()?;
    // SAFETY: the owner lies within the descriptor, which is freed below; `own` begins with a
    // TOKEN_USER that holds its SID.
    let found = unsafe {
        let is_own = EqualSid((*own.as_ptr().cast::<TOKEN_USER>()).User.Sid, owner) != 0;
        let is_of_service = || {
            let sid = service_account(name).and_then(|account| names::sid_of(&account).ok());
            sid.is_some_and(|sid| EqualSid(sid.as_ptr().cast_mut().cast(), owner) != 0)
        };
        let trusted = is_own || security::kind(owner) == SidKind::Administrator || is_of_service();
        (!trusted).then(|| names::of_sid(owner).unwrap_or_else(|_| security::text(owner)))
    };
    drop(memory);
    Ok(found)
}

/// The registered account of the service, if any account can create the pipe's name.
/// Only administrators register services.
fn service_account(pipe: &Path) -> Option<String> {
    let name = pipe.to_string_lossy();
    let service = name.get(..OPEN_PIPES.len()).filter(|start| start.eq_ignore_ascii_case(OPEN_PIPES));
    service.and_then(|_| scm::account_of(&name[OPEN_PIPES.len()..]))
}

#[derive(Debug)]
pub struct Stream {
    pipe: Pipe,
}

#[derive(Debug)]
enum Pipe {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Windows would keep unread data for the client for ever.
        if let Pipe::Server(pipe) = &self.pipe {
            let _ = pipe.disconnect();
        }
    }
}

impl Stream {
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &self.pipe {
                Pipe::Server(pipe) => {
                    pipe.readable().await?;
                    pipe.try_read(buffer)
                }
                Pipe::Client(pipe) => {
                    pipe.readable().await?;
                    pipe.try_read(buffer)
                }
            };
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if is(&error, ERROR_BROKEN_PIPE) || is(&error, ERROR_PIPE_NOT_CONNECTED) => {
                    return Ok(0);
                }
                read => return read,
            }
        }
    }

    /// Writes all bytes. The runtime may still send the last of them after the return.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match &self.pipe {
                Pipe::Server(pipe) => {
                    pipe.writable().await?;
                    pipe.try_write(bytes)
                }
                Pipe::Client(pipe) => {
                    pipe.writable().await?;
                    pipe.try_write(bytes)
                }
            };
            match written {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => bytes = &bytes[written?..],
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test)
    }

    #[test]
    fn pipe_name_is_exclusive_and_freed_when_the_server_ends() {
        run(async {
            let name = PathBuf::from(format!(r"\\.\pipe\wininetd-test-{}-once", std::process::id()));
            assert!(matches!(connect(&name).await, Err(ControlFault::Absent)));
            let channel = Channel::open(&name).unwrap();
            connect(&name).await.unwrap();
            // Wine allows a second server.
            if let Err(error) = Channel::open(&name) {
                assert!(error.to_string().contains("another server answers there"), "{error}");
            }
            drop(channel);
            assert!(matches!(connect(&name).await, Err(ControlFault::Absent)));
            Channel::open(&name).unwrap();
        });
    }

    #[test]
    fn only_pipes_of_this_computer_are_channels() {
        run(async {
            for name in [r"\\elsewhere\pipe\w", r"C:\w", "w", r"\\.\pipe\", r"\\.\pipe\..\C:\w", r"\\.\C:"] {
                assert!(Channel::open(Path::new(name)).is_err(), "{name}");
                assert!(matches!(connect(Path::new(name)).await, Err(ControlFault::Name(_))), "{name}");
            }
            assert_eq!(check_name(Path::new(r"\\.\PIPE\w")), Ok(()));
        });
    }

    #[test]
    fn control_pipe_access_is_for_system_admins_and_owner_only() {
        let text = access("BA", "S-1-5-21-1-2-3-1234");
        assert_eq!(text, "O:BAD:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;S-1-5-21-1-2-3-1234)");
        Descriptor::parse(&text).unwrap();
    }

    #[test]
    fn service_account_is_taken_from_the_registration() {
        // This service exists on Windows and Wine.
        let pipe = PathBuf::from(format!("{OPEN_PIPES}EventLog"));
        let account = service_account(&pipe).unwrap();
        assert!(names::sid_of(&account).is_ok() || account == "LocalSystem", "{account}");
        for other in [r"\\.\pipe\EventLog", r"\\.\pipe\wininetd\no-such-service", OPEN_PIPES] {
            assert_eq!(service_account(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn server_of_another_account_is_not_asked() {
        run(async {
            let name = PathBuf::from(format!(r"\\.\pipe\wininetd-test-{}-theirs", std::process::id()));
            let own = token::own_sid().unwrap();
            // The owner Guests stands for another account. Windows refuses it without a privilege.
            let Ok(_theirs) = instance(&name, &access("BG", &own), true) else { return };
            let fault = connect(&name).await.unwrap_err();
            assert!(
                matches!(&fault, ControlFault::Stranger { owner } if owner.contains("Guests")),
                "{fault:?}"
            );
        });
    }
}
