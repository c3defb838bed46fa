//! The client side of the control channel: one request and one answer, within a time limit. It
//! talks only to a server of the system or of the client's own account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::protocol::{LONGEST_REPLY, Reply, Request};
use crate::config::error::Error;
use crate::model::exit_code::Exit;
use crate::sys::ControlFault;
use crate::sys::control::{Stream, connect};

/// How long the client waits for an answer, which the server has at hand.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The same for a reload, which may read files on a network and look up accounts.
pub const RELOAD_PATIENCE: Duration = Duration::from_mins(1);

/// Asks the server at `channel`. If no server is there, tries `others` in order. Blocks, so do not
/// call it on the event loop.
pub fn ask(
    channel: &Path,
    others: &[PathBuf],
    request: &Request,
    patience: Duration,
) -> Result<Reply, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::System { what: "the event loop", cause })?;
    let answer = runtime.block_on(async { timeout(patience, converse(channel, others, request)).await });
    answer.unwrap_or_else(|_| {
        let seconds = patience.as_secs_f64();
        Err(refused(channel, format!("the server gave no answer in {seconds} s"), Exit::Unavailable))
    })
}

async fn converse(channel: &Path, others: &[PathBuf], request: &Request) -> Result<Reply, Error> {
    let mut answers = channel;
    let mut connected = connect(channel).await;
    for other in others {
        if !matches!(connected, Err(ControlFault::Absent)) {
            break;
        }
        connected = connect(other).await;
        // If no server answers, the error names the usual channel.
        answers = if matches!(connected, Err(ControlFault::Absent)) { channel } else { other };
    }
    let channel = answers;
    let mut stream = connected.map_err(|fault| unreachable(channel, fault))?;
    // A server may refuse the client before it reads the request. Its answer can still be read.
    let _ = stream.write_all(&request.to_line()).await;
    let line =
        read_line(&mut stream).await.map_err(|message| refused(channel, message, Exit::Unavailable))?;
    Reply::parse(&line).map_err(|message| refused(channel, message, Exit::Unavailable))
}

async fn read_line(stream: &mut Stream) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    let mut part = vec![0; 16 * 1024];
    loop {
        let length = stream
            .read(&mut part)
            .await
            .map_err(|error| format!("the server's answer broke off: {error}"))?;
        let end = part[..length].iter().position(|&byte| byte == b'\n');
        line.extend_from_slice(&part[..end.unwrap_or(length)]);
        match end {
            Some(_) => return Ok(line),
            None if length == 0 && line.is_empty() => {
                return Err("the server closed the channel without an answer".to_owned());
            }
            None if length == 0 => return Err("the server's answer broke off".to_owned()),
            None if line.len() > LONGEST_REPLY => {
                return Err(
                    "the process at this control channel is not wininetd: its answer does not end".to_owned()
                );
            }
            None => {}
        }
    }
}

fn unreachable(channel: &Path, fault: ControlFault) -> Error {
    let (message, exit) = match fault {
        ControlFault::Absent => (
            "no server answers there\n    hint: is it running? --control PATH names another channel"
                .to_owned(),
            Exit::Unavailable,
        ),
        ControlFault::NotPermitted(cause) => (
            format!("{cause}\n    hint: only {} may ask the server", crate::sys::control::WHO_MAY_ASK),
            Exit::NoPermission,
        ),
        ControlFault::Stranger { owner } => (
            format!(
                "the server there is run by {owner}, who is neither an administrator nor you; it was not asked"
            ),
            Exit::NoPermission,
        ),
        ControlFault::Name(message) => (message, Exit::Usage),
        ControlFault::Other(cause) => (cause.to_string(), Exit::Unavailable),
    };
    refused(channel, message, exit)
}

fn refused(channel: &Path, message: impl std::fmt::Display, exit: Exit) -> Error {
    Error::Refused { message: format!("{}: {message}", channel.display()), exit }
}
