"""The clients: each opens connections to a port on loopback and says what it found."""

import json
import os
import socket
import ssl
import subprocess
import time

from common import OUT, Failure
from server import START_LIMIT_S

BULK = OUT / "bulk"
NO_CHECK = ssl._create_unverified_context()


def ping(port):
    """One whole exchange; gives what was wrong with it, or nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=START_LIMIT_S) as connection:
            connection.sendall(b"ping\n")
            reply = b""
            while more := connection.recv(64):
                reply += more
    except OSError as error:
        return f"port {port}: {error}"
    return "" if reply == b"ping\n" else f"port {port}: sent b'ping\\n', got {reply!r}"


def load(server, clients, connections, seconds=60):
    command = [OUT / "load", str(server.ports[0]), str(clients), str(connections), str(seconds)]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    try:
        result = json.loads(answer.stdout)
    except ValueError:
        raise Failure(f"load gave no result: {answer.stderr.strip()}") from None
    result["first_error"] = answer.stderr.strip()
    return result


def settle():
    time.sleep(0.1)


def bulk_seconds(mode, port, size):
    done = subprocess.run([BULK, mode, str(port), str(size)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"bulk {mode}: {done.stderr.strip()}")
    return float(done.stdout)


def tls_file(folder):
    file = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", *map(str, file)],
        capture_output=True,
    )
    if done.returncode != 0:
        raise Failure("openssl cannot make a certificate")
    return f'tls = {{ certificate = "{folder}/cert.pem", key = "{folder}/key.pem" }}'


def s_client(port, size):
    """MiB/s to openssl's own client, which is itself the slower side."""
    began = time.monotonic()
    client = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}"]
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(client, **nowhere)
    return size / (time.monotonic() - began) / (1 << 20)


def handshakes(port, seconds=4):
    """Full handshakes a second, each with a program."""
    done = subprocess.run(
        ["openssl", "s_time", "-new", "-time", str(seconds), "-connect", f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
    )
    for line in done.stdout.splitlines():
        if "connections in" in line and "real seconds" in line:
            return int(line.split()[0]) / int(line.split(" connections in ")[1].split()[0])
    raise Failure(f"openssl s_time: {done.stdout} {done.stderr}")


def undecrypted(port, count, seconds):
    """Bytes a second that so many clients together take without looking at them."""
    clients = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port), timeout=START_LIMIT_S)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = NO_CHECK.wrap_bio(incoming, outgoing)
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                received = client.recv(65536)
                if not received:
                    raise Failure("the server ended within the handshake") from None
                incoming.write(received)
        client.sendall(outgoing.read())
        # Woken for half a MiB, not for every segment, and without a poll before each call.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 512 << 10)
        client.settimeout(None)
        clients.append(client)
    pids = []
    began = time.monotonic()
    totals = []
    for client in clients:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            # The kernel drops them: no copy, no key, so that the server has the cores.
            taken = 0
            room = bytearray(1 << 20)
            while time.monotonic() < began + seconds:
                taken += client.recv_into(room, len(room), socket.MSG_TRUNC)
            os.write(writer, str(taken).encode())
            os._exit(0)
        os.close(writer)
        pids.append(pid)
        totals.append(reader)
    taken = sum(int(os.read(reader, 64)) for reader in totals)
    for pid in pids:
        os.waitpid(pid, 0)
    for reader in totals:
        os.close(reader)
    for client in clients:
        client.close()
    return taken / seconds / (1 << 20)


def burst(port, count, seconds):
    answer = subprocess.run([OUT / "burst", str(port), str(count), str(seconds)], capture_output=True, text=True)
    if answer.returncode != 0:
        raise Failure(f"burst: {answer.stderr.strip()}")
    return {**json.loads(answer.stdout), "first_error": answer.stderr.strip()}


def first_byte(port, pause=0.25):
    """Milliseconds to the first byte of an answer."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=START_LIMIT_S) as client:
        client.sendall(b"\n")
        if not client.recv(100):
            raise Failure("no answer")
        took = (time.monotonic() - began) * 1000
        client.shutdown(socket.SHUT_WR)
        while client.recv(100):
            pass
    # The next one is to be warm by then.
    time.sleep(pause)
    return took
