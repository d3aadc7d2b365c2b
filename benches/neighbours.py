"""What others feel: beside a flood of wrong passwords, and what idle connections cost."""

import collections
import time

from clients import (
    Clients,
    open_keep_alive,
    open_websocket,
    steady_requests,
    timer,
    wrong_passwords_from_many_addresses,
    wrong_passwords_from_one_address,
)
from report import number, spread
from server import Server, until


def flood(report, quick):
    """`GET /healthz` every 5 ms over TLS while 8 clients send wrong passwords, in ms.

    From one address most attempts are refused unheard; from ever new addresses nearly each one
    is hashed. The time counts from when a request was due; a timer that asks nobody anything runs
    beside it and shows how much of it is the machine.
    """
    seconds = 2 if quick else 5
    with Server() as server:
        beside(report, server, "nobody else", None, seconds)
        beside(report, server, "8 clients of one address, cost 10",
               wrong_passwords_from_one_address, seconds)
        many = wrong_passwords_from_many_addresses
        beside(report, server, "8 clients of many addresses, cost 10", many, seconds)
        server.use_costly_password()
        beside(report, server, "8 clients of many addresses, cost 12", many, seconds)


def beside(report, server, what, attack, seconds):
    """The times of `/healthz` during `attack`, and how its attempts were answered."""
    with Clients(steady_requests, server.https) as steady, Clients(timer, 0) as sleeper:
        if attack is None:
            time.sleep(seconds)
            answers = ""
        else:
            with Clients(attack, server.https, processes=2, threads=4) as attackers:
                time.sleep(seconds)
            counts = collections.Counter(attackers.seen)
            answers = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
            let_in = sum(count for status, count in counts.items() if status not in (401, 429))
            report.must_be_zero(f"wrong passwords let in, {what}", let_in, answers)
    aim = "p99 below 20 ms" if attack else ""
    answers = f" ({answers})" if answers else ""
    shown = f"{spread(steady.seen)}; a mere timer {spread(sleeper.seen)}"
    report.add(f"`/healthz` beside {what}{answers}, p50 / p99 / max", shown, aim)


def idle(report, quick):
    """Resident memory of one idle connection, in kB: WebSocket over TLS, TLS kept alive."""
    count = 100 if quick else 500
    kinds = (("WebSocket over TLS", open_websocket, 20), ("TLS keep-alive", open_keep_alive, 16))
    for name, opener, aim in kinds:
        with Server() as server:
            for stream in [opener(server.https) for _ in range(20)]:
                stream.close()
            time.sleep(0.5)
            before = server.footprint()["rss_kb"]
            streams = [opener(server.https) for _ in range(count)]
            until(lambda: False, 1)
            each = (server.footprint()["rss_kb"] - before) / count
            report.add(
                f"memory of one idle connection, {name} ({count} of them)",
                f"{number(each)} kB",
                f"{aim} kB",
            )
            report.must_be_zero(f"idle connections that were closed, {name}", closed(streams))
            for stream in streams:
                stream.close()


def closed(streams):
    """How many of the connections the server has ended."""
    ended = 0
    for stream in streams:
        stream.setblocking(False)
        try:
            ended += stream.recv(1) == b""
        except OSError:
            pass
    return ended
