//! Variables that the server sets for each session. A configuration cannot set them.

use std::ffi::OsStr;

use crate::sys::text::same_name;

/// They describe the session and its client: inherited values would be false.
const OF_SESSION: [&str; 26] = [
    "CLIENT_IP",
    "CLIENT_PORT",
    "PROTO",
    "TCPREMOTEIP",
    "TCPREMOTEPORT",
    "TCPREMOTEHOST",
    "TCPREMOTEINFO",
    "TCPLOCALIP",
    "TCPLOCALPORT",
    "TCPLOCALHOST",
    "TCPCONNNUM",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_HOST",
    "UNIXLOCALPATH",
    "UNIXREMOTEPATH",
    "UNIXREMOTEEUID",
    "UNIXREMOTEEGID",
    "UNIXREMOTEPID",
    "WININETD_SERVICE",
    "WININETD_SESSION",
    "SSL_PROTOCOL",
    "SSL_CIPHER",
    "SSL_TLS_SNI_SERVERNAME",
    "SSL_PEER_CERT_SUBJECT",
    "SSL_PEER_CERT_HASH",
];

pub fn is_of_session(name: &OsStr) -> bool {
    OF_SESSION.iter().any(|listed| same_name(listed.as_ref(), name))
}
