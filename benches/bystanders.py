"""Ordinary people who use the appliance while something bad goes on, and who notice everything.

Eight clients with a request each 50 ms (every tenth on a new connection), five uploads that take
their time, twenty WebSockets, and an administrator who replaces the certificate each five seconds.
"""

import hashlib
import os
import socket
import ssl
import time
from http.client import HTTPException, HTTPSConnection

from certificates import MEDIA_TYPE, Workshop
from clients import Clients, echoes, open_websocket
from report import number, quantile
from server import ADMIN, HOST, client_tls

CLIENTS = 8
UPLOADS = 5
WEBSOCKETS = 20
REQUEST_EVERY = 0.05
REPLACE_EVERY = 5
UPLOAD_BYTES = 24 << 20
UPLOAD_SECONDS = 12
PIECE = 256 << 10

# HTTPException is what http.client says of a connection that was cut in the middle of an answer.
CUT = (OSError, HTTPException)


def requests(port, stopping, number_):
    """(monotonic time, seconds from when the request was due, what went wrong or None)."""
    context, connection, turn = client_tls(), None, 0
    due = time.monotonic() + REQUEST_EVERY * number_ / CLIENTS
    while not stopping.is_set():
        due = max(due + REQUEST_EVERY, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))
        turn += 1
        fresh = connection is None or turn % 10 == 0
        error = None
        try:
            if fresh:
                if connection is not None:
                    connection.close()
                connection = HTTPSConnection(HOST, port, context=context, timeout=30)
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            body = response.read()
            if (response.status, body) != (200, b"ok\n"):
                error = f"status {response.status}: {body[:80]!r}"
            if response.will_close:
                connection.close()
                connection = None
        except CUT as err:
            if connection is not None:
                connection.close()
            connection = None
            # A kept connection may be closed as idle, or drained, at the very moment of a request;
            # a client sends it again (RFC 9112, section 9.5). A new connection must do.
            if not fresh:
                continue
            error = repr(err)
        yield time.monotonic(), time.monotonic() - due, error


def uploads(port, stopping, number_):
    """Paced uploads, one after the other: (monotonic time, what went wrong or None)."""
    context = client_tls()
    piece = os.urandom(PIECE)
    pieces = UPLOAD_BYTES // PIECE
    digest = hashlib.sha256(piece * pieces).hexdigest()
    while not stopping.is_set():
        error = None
        connection = HTTPSConnection(HOST, port, context=context, timeout=120)
        try:
            connection.putrequest("POST", "/echo/upload")
            connection.putheader("Content-Length", str(UPLOAD_BYTES))
            connection.endheaders()
            for _ in range(pieces):
                connection.send(piece)
                time.sleep(UPLOAD_SECONDS / pieces)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200 or digest.encode() not in answer:
                error = f"upload {number_}: {response.status} {answer[:120]!r}"
        except CUT as err:
            error = f"upload {number_}: {err!r}"
        finally:
            connection.close()
        yield time.monotonic(), error


def websockets(port, stopping, _number):
    """Echoes over twenty WebSockets each second: (monotonic time, what went wrong or None)."""
    streams = [open_websocket(port) for _ in range(WEBSOCKETS)]
    while not stopping.is_set():
        for number_, stream in enumerate(streams):
            error = None if echoes(stream) else f"WebSocket {number_} was cut"
            yield time.monotonic(), error
            if error:
                return
        time.sleep(1)
    for stream in streams:
        stream.close()


def administrator(workshop, password_of):
    """A client that replaces the certificate and sees that the new one is shown at once."""

    def client(port, stopping, _number):
        turn = 0
        while not stopping.is_set():
            bundle = workshop.p256[turn % len(workshop.p256)]
            turn += 1
            begun, error = time.monotonic(), None
            try:
                error = replace(port, bundle, password_of)
            except CUT as err:
                error = f"certificate: {err!r}"
            yield time.monotonic(), time.monotonic() - begun, error
            while time.monotonic() - begun < REPLACE_EVERY and not stopping.is_set():
                time.sleep(0.05)

    return client


def replace(port, bundle, headers):
    """Uploads `bundle`; what went wrong, or None."""
    connection = HTTPSConnection(HOST, port, context=client_tls(), timeout=60)
    try:
        media = {"Content-Type": MEDIA_TYPE}
        connection.request(
            "POST", "/v2/security/sslcertificate", bundle.upload, {**headers, **media}
        )
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            return f"certificate: {response.status} {answer[:160]!r}"
    finally:
        connection.close()
    shown = hashlib.sha256(peer_certificate(port)).hexdigest()
    return None if shown == bundle.fingerprint else "the old certificate was shown after the answer"


def peer_certificate(port):
    with socket.create_connection((HOST, port), 10) as plain:
        with client_tls().wrap_socket(plain) as tls:
            return tls.getpeercert(True)


class Bystanders:
    """All of them together; use it as a context manager and then `judge`."""

    def __init__(self, server, workshop=None):
        """`workshop` makes the certificates; a new one is opened where none is given."""
        self.workshop = workshop or Workshop(server.folder / "certificates")
        self.parts = {
            "requests": Clients(requests, server.https, processes=2, threads=CLIENTS // 2),
            "uploads": Clients(uploads, server.https, threads=UPLOADS),
            "WebSockets": Clients(websockets, server.https),
            "certificates": Clients(administrator(self.workshop, ADMIN), server.https),
        }

    def __enter__(self):
        for part in self.parts.values():
            part.__enter__()
        return self

    def __exit__(self, *exception):
        self.gave_up = []
        for name, part in self.parts.items():
            try:
                part.__exit__(*exception)
            except RuntimeError as err:
                part.seen = getattr(part, "seen", [])
                self.gave_up.append(f"{name}: {err}")

    def judge(self, report, during, allowed=()):
        """Adds what they saw to the report. `allowed` names parts whose failures are expected."""
        for name, part in self.parts.items():
            problems = [each[-1] for each in part.seen if each[-1]]
            what = f"{during}: {name} that failed or were cut, of {len(part.seen):,}"
            if name in allowed:
                report.add(what, str(len(problems)), "told, not cut")
            else:
                report.must_be_zero(what, len(problems), f"{problems[:3]}")
            report.must(f"{during}: {name} were tried", bool(part.seen), str(len(part.seen)))
        report.must_be_zero(f"{during}: clients that gave up", len(self.gave_up), str(self.gave_up))
        waits = [seconds for _, seconds, _ in self.parts["requests"].seen]
        shown = " / ".join(number(quantile(waits, q) * 1e3) for q in (0.5, 0.99, 1.0)) + " ms"
        report.add(f"{during}: ordinary requests from when they were due, p50 / p99 / max", shown,
                   "p99 < 300 ms")
        return waits
