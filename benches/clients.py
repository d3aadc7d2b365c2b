"""Clients that run beside a measurement, each in a process of its own.

Every client notes what it saw as tuples of monotonic seconds, which all processes share.
"""

import hashlib
import multiprocessing
import socket
import ssl
import threading
import time
from http.client import HTTPException, HTTPSConnection

from server import HOST, basic, client_tls

FORK = multiprocessing.get_context("fork")


class Clients:
    """`processes` × `threads` clients that run `client(port, stopping, number)` until stopped.

    `client` is a generator; what it yields is collected.
    """

    def __init__(self, client, port, processes=1, threads=1):
        self.stopping = FORK.Event()
        self.results = FORK.Queue()
        self.processes = [
            FORK.Process(
                target=self._run, args=(client, port, range(n * threads, (n + 1) * threads))
            )
            for n in range(processes)
        ]

    def _run(self, client, port, numbers):
        seen, problems = [], []

        def work(number):
            try:
                seen.extend(client(port, self.stopping, number))
            except (OSError, HTTPException) as err:
                problems.append(repr(err))

        threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.results.put((seen, problems))

    def __enter__(self):
        for process in self.processes:
            process.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_exception):
        self.stopping.set()
        results = [self.results.get(timeout=30) for _ in self.processes]
        for process in self.processes:
            process.join(10)
        self.seen = [each for seen, _ in results for each in seen]
        problems = [each for _, problems in results for each in problems]
        if problems:
            raise RuntimeError(f"{len(problems)} clients gave up: {problems[:3]}")


def certificate_probe(port, stopping, _number):
    """A TLS handshake every 2 ms: (begin, end, fingerprint, error)."""
    context = client_tls()
    while not stopping.is_set():
        begun = time.monotonic()
        shown = error = None
        try:
            with socket.create_connection((HOST, port), 5) as plain:
                with context.wrap_socket(plain) as tls:
                    shown = hashlib.sha256(tls.getpeercert(True)).hexdigest()
        except OSError as err:
            error = repr(err)
        yield begun, time.monotonic(), shown, error
        time.sleep(0.002)


def new_connections(port, stopping, _number):
    """`GET /healthz`, a new connection each: (begin, end, error)."""
    context = client_tls()
    while not stopping.is_set():
        begun, error = time.monotonic(), None
        connection = HTTPSConnection(HOST, port, context=context, timeout=10)
        try:
            connection.request("GET", "/healthz", headers={"Connection": "close"})
            response = connection.getresponse()
            if (response.status, response.read()) != (200, b"ok\n"):
                error = f"status {response.status}"
        except (OSError, HTTPException) as err:
            error = repr(err)
        finally:
            connection.close()
        yield begun, time.monotonic(), error
        if error:
            time.sleep(0.005)


def steady_requests(port, stopping, _number):
    """`GET /healthz` over one connection, due every 5 ms: the time from when each was due.

    One that is late because the one before it was late counts its waiting too.
    """
    connection = HTTPSConnection(HOST, port, context=client_tls(), timeout=30)
    connection.connect()
    due = time.monotonic()
    while not stopping.is_set():
        due += 0.005
        time.sleep(max(0, due - time.monotonic()))
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        yield time.monotonic() - due


def timer(_port, stopping, _number):
    """Nothing but a sleep to the next 5 ms: how late this machine lets a client wake up."""
    due = time.monotonic()
    while not stopping.is_set():
        due += 0.005
        time.sleep(max(0, due - time.monotonic()))
        yield time.monotonic() - due


def wrong_passwords_from_one_address(port, stopping, number):
    """Wrong passwords over keep-alive, each a new one, as fast as they are answered: statuses."""
    connection = HTTPSConnection(HOST, port, context=client_tls(), timeout=60)
    yield from wrong_passwords(connection, stopping, f"{number}")
    connection.close()


def wrong_passwords_from_many_addresses(port, stopping, number):
    """The same, changing its address every 4 attempts, so that nearly every one is hashed."""
    for turn in range(1, 1_000_000):
        if stopping.is_set():
            return
        source = f"127.{10 + number}.{turn // 250 % 250}.{turn % 250 + 1}"
        options = {"timeout": 60, "source_address": (source, 0)}
        connection = HTTPSConnection(HOST, port, context=client_tls(), **options)
        yield from wrong_passwords(connection, stopping, f"{number}-{turn}", 4)
        connection.close()


def wrong_passwords(connection, stopping, name, limit=1_000_000):
    """Up to `limit` wrong passwords over `connection`: the statuses."""
    for attempt in range(limit):
        if stopping.is_set():
            return
        headers = {"Authorization": basic(f"wrong-{name}-{attempt}")}
        connection.request("GET", "/v2/security/insecureports", headers=headers)
        response = connection.getresponse()
        response.read()
        yield response.status


def open_websocket(port):
    """An open WebSocket over TLS to the echo service."""
    plain = socket.create_connection((HOST, port), 10)
    stream = client_tls().wrap_socket(plain)
    request = "GET /echo/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    request += "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    stream.sendall((request + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n").encode())
    if not read_head(stream).startswith(b"HTTP/1.1 101"):
        raise ssl.SSLError("the WebSocket was refused")
    return stream


def open_keep_alive(port):
    """A TLS connection over which one request was answered, kept open."""
    stream = client_tls().wrap_socket(socket.create_connection((HOST, port), 10))
    stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    read_head(stream)
    return stream


def read_head(stream):
    """Reads to the end of an answer's head (and what came with it)."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += stream.recv(4096) or b"\r\n\r\n"
    return head


def echoes(stream, text=b"still there"):
    """Whether a text sent over a WebSocket comes back; pings before it are passed over."""
    frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
    received = b""
    try:
        stream.sendall(frame)
        while not received.endswith(bytes([0x81, len(text)]) + text):
            more = stream.recv(4096)
            if not more:
                return False
            received += more
    except OSError:
        return False
    return True
