//! Every event, one entry each: its number, its name, how much it matters, its sentence in Event
//! Viewer, and its fields in their order. The entry makes the variant of [`LogEvent`], its lines in
//! every format and its message in the Windows message file; a test compares the tables of
//! `docs/log.md` and `docs/events.md`. Numbers and names are an interface: never reuse a number.

events! {
    1 "starting" Info "The server starts."
    Starting { version: &'static str, pid: u32, config: PathBuf }

    2 "ready" Info "The server is ready: clients are served at these addresses."
    Ready { services: usize, listen: Vec<String> }

    3 "stopping" Info "The server stops. Sessions that still run have this long to end."
    Stopping { reason: &'static str, sessions: usize, grace_seconds: Duration }

    4 "stopped" Info "The server has stopped."
    Stopped

    5 "start_failed" Error "The service could not start. The service serves nothing until this is corrected and the service is started again."
    StartFailed { message: String, exit: u8 }

    6 "reloading" Info "The server reads the configuration again."
    Reloading { reason: &'static str }

    7 "reloaded" Info "The new configuration is in use. Running sessions continue."
    Reloaded { services: usize, added: Vec<String>, removed: Vec<String>, changed: Vec<String> }

    8 "reload_failed" Error "The new configuration has errors. The previous configuration stays in use."
    ReloadFailed { message: String }

    // The level is the finding's own.
    10 "configuration" Warning "Something about the configuration, an account or a program needs a look."
    Configuration { level: Level, message: String, hint: Option<String> }

    20 "family_missing" Info "This computer lacks an address family that the configuration would use."
    FamilyMissing { address: Address }

    21 "listen_failed" Error "An address cannot be bound. The server tries again."
    ListenFailed { service: String, address: Address, cause: String, hint: Option<String>, retry_seconds: Duration }

    22 "listen_recovered" Info "An address that could not be bound is bound now."
    ListenRecovered { service: String, address: Address }

    23 "accept_paused" Warning "Out of handles or memory: new clients wait until some are free."
    AcceptPaused { cause: String }

    24 "accept_resumed" Info "Clients are accepted again."
    AcceptResumed

    30 "session" Info "A connection was served."
    Served { record: Box<Record> }

    31 "session" Info "A connection was refused."
    Refused { record: Box<Record> }

    // Where the client left before its program started, as health checks do, the level is info.
    32 "session" Warning "A connection could not be served: its program did not start."
    Failed { record: Box<Record> }

    33 "refusals" Info "Connections were refused without an entry of their own."
    Refusals { service: String, reason: &'static str, count: u64 }

    34 "service_paused" Warning "A service keeps failing. It is paused, and the server tries it again."
    ServicePaused { service: String, cause: String, pause_seconds: Duration }

    35 "service_resumed" Info "A service that was paused works again."
    ServiceResumed { service: String }

    // A program that was started ahead has no session before it has a client.
    36 "stderr" Info "A program wrote to its standard error."
    Stderr { service: String, session: Option<SessionId>, line: String }

    37 "stderr_lost" Warning "A program wrote more to its standard error than the log takes."
    StderrLost { service: String, session: Option<SessionId>, lines: u64, last: String }

    40 "log_lost" Warning "Lines of the log could not be written."
    LogLost { lines: u64 }

    41 "fault" Error "Something happened that should not."
    Fault { message: String }
}
