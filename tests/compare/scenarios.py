"""What is compared: each scenario starts a server, does one thing, and says in a few
words what came of it.

The words must be the same in every run, so no time is in them that is not rounded far.
"""

import contextlib
import re
import signal
import socket
import threading
import time

from servers import SPARE, until

MOMENT = 0.6  # what has not come by then does not come by itself


def read(connection, limit=5):
    """What comes until the end, and how that came."""
    connection.settimeout(limit)
    text = b""
    try:
        while more := connection.recv(65536):
            text += more
    except TimeoutError:
        return text, "open"
    except OSError:
        return text, "reset"
    return text, "end"


def held(running):
    """A session whose program is there."""
    connection = running.connect()
    connection.settimeout(5)
    assert connection.recv(3) == b"in\n"
    return connection


def lives(connection):
    """Whether nothing has come and nobody has ended it."""
    connection.settimeout(MOMENT)
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


def half_close(start):
    """A client ends its direction and waits for the answer"""
    with start("count") as running, running.connect() as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        text, end = read(client)
        return f"answered, then {end}" if text == b"5\n" else f"no answer, {end}"


def unread(start):
    """A program ends without reading what its client has sent"""
    with start("unread") as running, running.connect() as client:
        client.sendall(b"x" * 60_000)
        # The answer of 1 MiB is under way when its program ends.
        time.sleep(MOMENT)
        text, end = read(client)
        return f"{'whole' if len(text) == 1 << 20 else 'cut'} answer, then {end}"


def left_behind(start):
    """A program ends, and a process that it has started keeps the connection"""
    with start("leave") as running, running.connect() as client:
        text, end = read(client, 1.5)
        assert text == b"out\n", text
        return "the client waits for that process" if end == "open" else "its end is the client's"


def standard_error(start):
    """A program writes to its standard error"""
    with start("words") as running, running.connect() as client:
        text, _ = read(client)
        if b"complaint" in text:
            return "to the client"
        with contextlib.suppress(Exception):
            until(lambda: "complaint" in running.log(), 1, "")
        return "the server's log" if "complaint" in running.log() else "nowhere"


def descriptors(start):
    """Descriptors that a program has besides its three"""
    with start("descriptors") as running, running.connect() as client:
        text, _ = read(client)
    lines = [line.split(" ", 1) for line in text.decode().splitlines()]
    # The one by which the program looks is not there any more.
    others = [(int(number), what) for number, what in lines if int(number) > 2 and "/proc/" not in what]
    words = []
    if any(what == "listener" for _, what in others):
        words.append("the listener")
    if any(number == SPARE for number, _ in others):
        words.append("what the server was started with")
    if any(what != "listener" and number != SPARE for number, what in others):
        words.append("others of the server")
    return ", ".join(words) or "none"


def state(start):
    """The umask of a program whose server has 000, and signals that it ignores"""
    with start("state") as running, running.connect() as client:
        text = read(client)[0].decode()
    odd = re.findall(r"(?:ignored|blocked) \w+", text)
    return ", ".join([re.search(r"umask (\d+)", text)[1], *odd])


def environment(start):
    """What a program is told of its client"""
    # SOCAT_… and NCAT_… are whole families.
    with start("environment") as running, running.connect() as client:
        text = read(client)[0].decode()
    names = {line.partition("=")[0] for line in text.splitlines()}
    families = {"CLIENT_IP": "CLIENT_*", "TCPREMOTEIP": "TCP* (UCSPI)", "REMOTE_ADDR": "REMOTE_*",
                "REMOTE_HOST": "REMOTE_*", "SOCAT_PEERADDR": "SOCAT_*", "NCAT_REMOTE_ADDR": "NCAT_*"}
    return ", ".join(sorted({family for name, family in families.items() if name in names})) or "nothing"


def limit(start):
    """Two connections may be, and a third client comes"""
    with start("hold", most=2) as running, contextlib.ExitStack() as stack:
        first, _second = (stack.enter_context(held(running)) for _ in range(2))
        third = stack.enter_context(running.connect())
        third.settimeout(MOMENT)
        try:
            return "served" if third.recv(3) else "closed: end"
        except ConnectionResetError:
            return "closed: reset"
        except TimeoutError:
            first.close()
            third.settimeout(5)
            with contextlib.suppress(TimeoutError):
                return "waits, then is served" if third.recv(3) == b"in\n" else "waits, then is closed"
            return "waits for ever"


def denied(start):
    """A client that a rule keeps out"""
    with start("hold", denies=True) as running, running.connect() as client:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            client.sendall(b"hello")
        text, end = read(client, 3)
        when = "at once" if time.monotonic() - began < 1 else "late"
        if text:
            return "served" if text == b"in\n" else "a word, then " + end
        return "left alone" if end == "open" else f"closed {when}"


def reload(start):
    """SIGHUP with a new service in the file, while a session lives and clients come"""
    with start("hold") as running, held(running) as session:
        refused, stop = [], threading.Event()

        def knock():
            while not stop.is_set():
                try:
                    running.connect().close()
                except ConnectionRefusedError:
                    refused.append(1)
                except OSError:
                    pass
                time.sleep(0.002)

        thread = threading.Thread(target=knock)
        thread.start()
        try:
            new = running.add_port()
            for _ in range(5):
                running.signal(signal.SIGHUP)
                time.sleep(0.2)
        finally:
            stop.set()
            thread.join()
        if running.process.poll() is not None:
            return "it ends"
        words = ["new service served" if running.is_listening(new) else "new service not served"]
        words.append("port refused meanwhile" if refused else "nobody refused")
        words.append("session goes on" if lives(session) else "session ended")
        return ", ".join(words)


def stop(start):
    """SIGTERM while a session lives"""
    with start("hold") as running, held(running) as session:
        running.signal(signal.SIGTERM)
        began = time.monotonic()
        with contextlib.suppress(Exception):
            running.process.wait(5)
        took = time.monotonic() - began
        alive = lives(session)
        if took >= 5:
            return "it goes on as long as the session" if alive else "it goes on"
        when = "at once" if took < 0.5 else "after its grace"
        return f"ends {when}, session {'goes on' if alive else 'ended'}"


def burst(start):
    """Afterwards, 200 clients by 20 at a time"""
    answered = []

    def clients():
        for _ in range(10):
            with contextlib.suppress(OSError), running.connect() as client:
                client.sendall(b"ping\n")
                if read(client)[0] == b"ping\n":
                    answered.append(1)

    with start("line") as running:
        threads = [threading.Thread(target=clients) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(MOMENT)
        zombies = running.children().count("Z")
        served = "all answered" if len(answered) == 200 else "not all answered"
        return f"{served}, {'zombies' if zombies else 'no zombies'}"


def missing(start):
    """The program is not there"""
    with start("missing", program="/nonexistent/program", ready=False) as running:
        with contextlib.suppress(Exception):
            until(running.is_listening, 2, "")
        if not running.is_listening():
            return "nothing is served"
        with running.connect() as client:
            text, end = read(client, 3)
        with contextlib.suppress(Exception):
            until(lambda: "/nonexistent" in running.log() or "xecut" in running.log(), 1, "")
        said = "log says it" if re.search("nonexistent|xecut", running.log()) else "log is silent"
        return f"{'server speaks to the client' if text else 'closed'}, {said}"


def crash(start):
    """A program that crashes at once, and 400 clients as fast as they can"""
    with start("crash") as running:
        running.count.write_bytes(b"")
        then = ""
        for _ in range(400):
            try:
                with running.connect() as client:
                    if read(client, 2)[1] == "open":
                        then = "then clients wait in vain"
                        break
            except ConnectionRefusedError:
                then = "then the port is closed"
                break
        starts = len(running.count.read_bytes())
        if not then and starts == 400:
            return "a start for each"
        # Exactly how many is a matter of time in some.
        many = "a start" if starts < 10 else "many starts"
        return f"{many}, {then or 'then clients are closed'}"


ALL = [half_close, unread, left_behind, standard_error, descriptors, state, environment, limit, denied, reload, stop, burst,
       missing, crash]
