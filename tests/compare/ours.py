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
    "unread": "The last bytes of a program arrive, whatever it left unread: the server keeps the connection, ends the stream"
    " and reads what the client still sends. Closing over unread input resets the connection and destroys what is under way,"
    " which the others leave to their programs.",
    "left_behind": "A session ends with its program, and what is left of its process tree is ended, so that limits count what is"
    " there and no client waits for a process that has forgotten it. A process that makes a session of its own (`setsid`) goes on, unless the service has a limit of `processes` (Linux). As under inetd all of it goes on with `leftovers = \"leave\"`.",
    "descriptors": "Nothing but the three streams is a program's: a descriptor that leaks is a port that stays taken or a client"
    " that never sees its end. Half of the others pass on what they were started with, one its listener.",
    "state": "A program finds the same whoever started the server: umask 022, no signal ignored or blocked. A umask of 000 made"
    " files that everybody could write (CVE-2001-1322); an ignored SIGPIPE lets filters run on that nobody reads.",
    "environment": "There are several dialects, and programs were written for each; all but those of socat and ncat, which bear"
    " their names, are there.",
    "reload": "Nobody is refused while the file is read again, since a listener that does not change keeps its socket. Half of those"
    " that can reload close their sockets and bind them again; whether a client meets that moment is chance, also here.",
    "stop": "Who stops a server wants its programs gone: sessions get a grace (10 seconds by default), then their trees are ended."
    " As under inetd they go on with `on_stop = \"leave\"`.",
    "crash": "A program that fails by itself is not started for every client that knocks: its service is paused for a second,"
    " doubling to ten minutes, and comes back by itself. Its port stays bound, so nobody else takes it, and clients are closed"
    " at once instead of waiting. What a client sent or ended never pauses a service, so a program that crashes on that is"
    " started for each, as rates and limits let them.",
}
