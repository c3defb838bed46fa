//! The messages of the control channel, one line of JSON each. Requests are parsed strictly because
//! they change state. Answers may have fields that an older client does not know.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::core::explain::Verdict;
use crate::model::exit_code::Exit;

/// The version of the protocol. Adding fields to answers does not change it.
pub const VERSION: u64 = 1;

/// The longest request in bytes, with its newline.
pub const LONGEST_REQUEST: usize = 4096;

/// The longest answer that a client reads, in bytes. A hundred thousand sessions fit.
pub const LONGEST_REPLY: usize = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Status,
    Reload,
    Kill {
        /// The session's number, as `--status` lists it.
        session: u64,
    },
    Explain {
        address: IpAddr,
        /// The service to explain; every service if `None`.
        service: Option<String>,
    },
}

/// The JSON form of a request, with the fields of all requests. `Request::parse` rejects fields
/// that the named request does not have.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u64,
    request: RequestName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RequestName {
    Status,
    Reload,
    Kill,
    Explain,
}

/// Parsed first, because another version may have other fields.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Request {
    pub fn to_line(&self) -> Vec<u8> {
        let (request, session, address, service) = match self.clone() {
            Request::Status => (RequestName::Status, None, None, None),
            Request::Reload => (RequestName::Reload, None, None, None),
            Request::Kill { session } => (RequestName::Kill, Some(session), None, None),
            Request::Explain { address, service } => (RequestName::Explain, None, Some(address), service),
        };
        line(&Written { version: VERSION, request, session, address, service })
    }

    /// Parses a line without its newline. The error is a sentence for the client.
    pub fn parse(line: &[u8]) -> Result<Request, String> {
        let not_a_request = |error: serde_json::Error| format!("not a valid request: {error}");
        let Versioned { version } = serde_json::from_slice(line).map_err(not_a_request)?;
        if version != VERSION {
            return Err(format!("this server speaks version {VERSION} of the protocol, not {version}"));
        }
        let written: Written = serde_json::from_slice(line).map_err(not_a_request)?;
        match written {
            Written { request: RequestName::Status, session: None, address: None, service: None, .. } => {
                Ok(Request::Status)
            }
            Written { request: RequestName::Reload, session: None, address: None, service: None, .. } => {
                Ok(Request::Reload)
            }
            Written { request: RequestName::Kill, session: Some(session), address: None, service: None, .. } => {
                Ok(Request::Kill { session })
            }
            Written { request: RequestName::Explain, address: Some(address), service, session: None, .. } => {
                Ok(Request::Explain { address, service })
            }
            _ => Err("not a valid request: kill takes a session, explain an address and optionally a service; other fields are not allowed".to_owned()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "body", rename_all = "lowercase")]
pub enum Reply {
    Status(Status),
    Reloaded {
        message: String,
        /// The exit code of the client. Not 0 if the server cannot use a certificate from the
        /// files.
        #[serde(default)]
        exit: u8,
    },
    Refused {
        message: String,
        /// The exit code of the client.
        exit: u8,
    },
    /// The server has begun to end the session.
    Killed,
    Explained(Vec<Explanation>),
}

#[derive(Serialize, Deserialize)]
struct Answer {
    version: u64,
    #[serde(flatten)]
    reply: Reply,
}

impl Reply {
    pub fn refused(message: impl Into<String>, exit: Exit) -> Reply {
        Reply::Refused { message: message.into(), exit: exit.code() }
    }

    pub fn no_such_session(session: u64) -> Reply {
        Reply::refused(format!("there is no session {session}; --status lists them"), Exit::NoInput)
    }

    pub fn no_such_service(name: &str) -> Reply {
        Reply::refused(format!("there is no service {name}; --status lists them"), Exit::NoInput)
    }

    pub fn to_line(self) -> Vec<u8> {
        line(&Answer { version: VERSION, reply: self })
    }

    pub fn parse(line: &[u8]) -> Result<Reply, String> {
        let stranger = |error| format!("the process at this control channel is not wininetd: {error}");
        let Versioned { version } = serde_json::from_slice(line).map_err(stranger)?;
        if version != VERSION {
            return Err(format!(
                "the server speaks version {version} of the protocol, this program version {VERSION}; use the server's own"
            ));
        }
        let answer: Answer = serde_json::from_slice(line).map_err(|error| {
            format!("the answer cannot be read: {error}; does the server have another version?")
        })?;
        Ok(answer.reply)
    }
}

/// The state of the server. `--status --json` prints it in this form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub uptime_seconds: f64,
    /// Killed processes and process trees that have not gone.
    #[serde(default)]
    pub stuck_processes: u64,
    pub services: Vec<ServiceStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub state: ServiceState,
    /// Why the service does not accept clients at all of its addresses.
    pub reason: Option<String>,
    pub listen: Vec<String>,
    pub live: u64,
    /// Warm programs that wait for clients, if the service has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<u64>,
    /// Sessions since the start, by outcome.
    pub served: u64,
    pub refused: u64,
    pub failed: u64,
    pub sessions: Vec<SessionStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    Listening,
    /// The service failed by itself. Its clients wait.
    Paused,
    /// No address is bound. The server tries again.
    Retrying,
    /// The configuration disables the service, or no longer contains it.
    Disabled,
}

impl ServiceState {
    pub fn name(self) -> &'static str {
        match self {
            ServiceState::Listening => "listening",
            ServiceState::Paused => "paused",
            ServiceState::Retrying => "retrying",
            ServiceState::Disabled => "disabled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The session's number, which `--kill` takes.
    pub id: u64,
    pub client: String,
    pub pid: Option<u32>,
    pub seconds: f64,
    /// `None` if neither the server nor the system counts bytes.
    #[serde(default)]
    pub bytes_in: Option<u64>,
    #[serde(default)]
    pub bytes_out: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub service: String,
    pub verdict: Verdict,
    pub because: String,
}

/// JSON escapes newlines inside strings, so a newline ends the line.
fn line(value: &impl Serialize) -> Vec<u8> {
    // Serialization cannot fail: map keys are strings and the floats are finite.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requests() -> Vec<(&'static str, Request)> {
        let address = "2001:db8::1".parse().unwrap();
        vec![
            (r#"{"version":1,"request":"status"}"#, Request::Status),
            (r#"{"version":1,"request":"reload"}"#, Request::Reload),
            (r#"{"version":1,"request":"kill","session":7}"#, Request::Kill { session: 7 }),
            (
                r#"{"version":1,"request":"explain","address":"2001:db8::1"}"#,
                Request::Explain { address, service: None },
            ),
            (
                r#"{"version":1,"request":"explain","address":"2001:db8::1","service":"a\nb"}"#,
                Request::Explain { address, service: Some("a\nb".to_owned()) },
            ),
        ]
    }

    #[test]
    fn a_request_is_one_line_that_says_its_version_and_name() {
        for (written, request) in requests() {
            assert_eq!(String::from_utf8(request.to_line()).unwrap(), format!("{written}\n"));
            assert_eq!(Request::parse(written.as_bytes()), Ok(request));
        }
    }

    #[test]
    fn malformed_control_requests_are_refused() {
        for wrong in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"request":"status"}"#,
            r#"{"version":1}"#,
            r#"{"version":1,"request":"stop"}"#,
            r#"{"version":1,"request":"status","more":1}"#,
            r#"{"version":1,"request":"status","session":1}"#,
            r#"{"version":1,"request":"status","version":1}"#,
            r#"{"version":1,"request":"status"}{}"#,
            r#"{"version":1,"request":"kill"}"#,
            r#"{"version":1,"request":"kill","session":-1}"#,
            r#"{"version":1,"request":"kill","session":"1"}"#,
            r#"{"version":1,"request":"explain","address":"nobody"}"#,
        ] {
            let error = Request::parse(wrong.as_bytes()).unwrap_err();
            assert!(error.starts_with("not a valid request: "), "{wrong}: {error}");
        }
    }

    #[test]
    fn other_protocol_version_gets_an_error_naming_ours() {
        let error = Request::parse(br#"{"version":2,"request":"dance","with":["me"]}"#).unwrap_err();
        assert_eq!(error, "this server speaks version 1 of the protocol, not 2");
        let error = Reply::parse(br#"{"version":2,"answer":42}"#).unwrap_err();
        assert!(error.contains("version 2") && error.contains("version 1"), "{error}");
    }

    fn status() -> Status {
        let session = SessionStatus {
            id: 7,
            client: "192.0.2.1:5".to_owned(),
            pid: Some(42),
            seconds: 1.5,
            bytes_in: Some(3),
            bytes_out: None,
        };
        Status {
            version: "0.0.1".to_owned(),
            pid: 9,
            uptime_seconds: 60.25,
            stuck_processes: 2,
            services: vec![ServiceStatus {
                name: "a".to_owned(),
                state: ServiceState::Paused,
                reason: None,
                listen: vec!["127.0.0.1:1".to_owned()],
                live: 1,
                warm: Some(5),
                served: 2,
                refused: 3,
                failed: 4,
                sessions: vec![session],
            }],
        }
    }

    #[test]
    fn the_status_is_the_json_that_is_documented() {
        let json = concat!(
            r#"{"version":"0.0.1","pid":9,"uptime_seconds":60.25,"stuck_processes":2,"services":[{"name":"a","state":"paused","#,
            r#""reason":null,"listen":["127.0.0.1:1"],"live":1,"warm":5,"served":2,"refused":3,"failed":4,"#,
            r#""sessions":[{"id":7,"client":"192.0.2.1:5","pid":42,"seconds":1.5,"bytes_in":3,"bytes_out":null}]}]}"#
        );
        assert_eq!(serde_json::to_string(&status()).unwrap(), json);
        let line = String::from_utf8(Reply::Status(status()).to_line()).unwrap();
        assert_eq!(line, format!("{{\"version\":1,\"reply\":\"status\",\"body\":{json}}}\n"));
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let explanation =
            Explanation { service: "a".to_owned(), verdict: Verdict::Wait, because: "it is full".to_owned() };
        for reply in [
            Reply::Status(status()),
            Reply::Reloaded { message: "2 services\nunchanged".to_owned(), exit: 0 },
            Reply::no_such_session(3),
            Reply::Killed,
            Reply::Explained(vec![explanation]),
            Reply::Explained(vec![]),
        ] {
            let line = reply.clone().to_line();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(Reply::parse(&line), Ok(reply));
        }
    }

    #[test]
    fn unknown_reply_fields_are_ignored() {
        let more = br#"{"version":1,"when":0,"reply":"refused","body":{"message":"m","exit":78,"why":[]}}"#;
        assert_eq!(Reply::parse(more), Ok(Reply::Refused { message: "m".to_owned(), exit: 78 }));
        assert_eq!(Reply::parse(br#"{"new":{},"version":1,"reply":"killed"}"#), Ok(Reply::Killed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&bytes);
            let _ = Reply::parse(&bytes);
        }

        #[test]
        fn a_request_with_something_wrong_in_it_is_read_or_refused(
            index in 0..5usize, at in 0..80usize, byte in any::<u8>()
        ) {
            let mut line = requests()[index].1.to_line();
            let at = at % line.len();
            line[at] = byte;
            if let Ok(request) = Request::parse(&line) {
                prop_assert_eq!(Request::parse(&request.to_line()), Ok(request));
            }
        }

        #[test]
        fn every_request_comes_back(session in any::<u64>(), ip in any::<u128>(), service in any::<Option<String>>()) {
            let address = std::net::Ipv6Addr::from(ip).into();
            for request in [Request::Kill { session }, Request::Explain { address, service }] {
                prop_assert_eq!(Request::parse(&request.to_line()), Ok(request));
            }
        }
    }
}
