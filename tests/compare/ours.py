"""What is expected of ours, and why it differs where it does."""

EXPECTED = {
    "half_close": "answered, then end",
    "unread": "whole answer, then end",
    "left_behind": "its end is the client's",
    "standard_error": "the server's log",
    "descriptors": "none",
    "state": "022",
    "environment": "CLIENT_*, REMOTE_*, TCP* (UCSPI)",
    "limit": "waits, then is served",
    "denied": "closed at once",
    "reload": "new service served, nobody refused, session goes on",
    "stop": "ends after its grace, session ended",
    "burst": "all answered, no zombies",
    "missing": "closed, log says it",
    "crash": "a start, then clients are closed",
}

# Wanted, each of them. What is not wanted is a fault and gets mended.
REASONS = {
    "unread": "wininetd keeps the connection, ends the stream and reads what the client still sends, so the last bytes of a"
    " program arrive. Closing over unread input resets the connection and destroys data in flight. The others leave that to"
    " their programs.",
    "left_behind": "A session ends with its program, and wininetd terminates the rest of the process tree. So limits count"
    " live sessions, and no client waits for a forgotten process. A process that calls `setsid` goes on where"
    " the server cannot make cgroups (other systems than Linux, and Linux without rights). With `leftovers = \"leave\"` all of it goes on, as under inetd.",
    "descriptors": "A program has its three streams only. A descriptor that leaks keeps a port bound, or keeps end of file from a"
    " client. Half of the others pass on what they inherited, and one its listener.",
    "state": "Each program starts in the same state: umask 022, no signal ignored or blocked. With umask 000, programs made"
    " files that everyone could write (CVE-2001-1322). With SIGPIPE ignored, a filter runs on without a reader.",
    "environment": "Programs were written for several dialects. wininetd sets all of them but those of socat and ncat, which"
    " carry the names of these programs.",
    "reload": "wininetd refuses no client during a reload, because an unchanged listener keeps its socket. Half of the servers"
    " that can reload close their sockets and bind them again. Whether a client meets that moment is chance, also here.",
    "stop": "A stop of the server ends its programs. Sessions get a grace period (10 seconds by default), then wininetd"
    " terminates their trees. With `on_stop = \"leave\"` they go on, as under inetd.",
    "crash": "wininetd pauses a service whose program fails by itself, for a second, doubling to ten minutes. The port stays"
    " bound, so that no other program takes it, and clients are closed at once instead of waiting. What a client sent or ended"
    " never pauses a service. A program that crashes on that starts for each client, within rates and limits.",
}
