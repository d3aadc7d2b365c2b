"""Handshakes, requests and uploads: how many, how fast, at what cost to the server."""

import hashlib
import statistics
import time

from certificates import Workshop
from load import h2load, handshakes, upload, wrk
from replacement import Replacer
from report import median_of, number
from server import Server, call

SETTING = "/v2/security/insecureports"


def new_handshakes(report, quick):
    """New TLS 1.3 connections a second, each with one request, full and resumed.

    The clients take more than half of the machine, so the server's CPU time of one connection
    (µs) says more than the rate.
    """
    seconds = 1 if quick else 3
    with Server() as server:
        shop = Workshop(server.folder / "certificates")
        for kind, bundle in (("P-256", shop.p256[0]), ("RSA-2048", shop.rsa[0])):
            Replacer(server).replace(bundle)
            for resumed in (False, True):
                run, share = handshakes(server, seconds, resumed)
                how = f"resumed ({share:.0%})" if resumed else "full"
                report.add(
                    f"TLS handshakes a second, {kind}, {how}",
                    f"{number(run.per_second)}, server CPU {number(run.microseconds)} µs each",
                )
                if resumed:
                    report.must(f"sessions resumed, {kind}", share > 0.9, f"{share:.0%}")


def keep_alive(report, quick):
    """Requests a second over 32 kept TLS connections, HTTP/1.1 by wrk and HTTP/2 by h2load.

    `GET /v2/security/insecureports` is asked for with an administrator's password and with
    authentication switched off, in turns within one run, so that the ratio is a fair one;
    `GET /healthz` shows the least that a request costs.
    """
    seconds, rounds = (1, 1) if quick else (3, 3)
    with Server() as server:
        for name, tool in (("HTTP/1.1", wrk), ("HTTP/2", h2load)):
            with_password, without, failed = [], [], 0
            for turn in range(rounds):
                order = [True, False] if turn % 2 == 0 else [False, True]
                for authenticated in order:
                    switch_authentication(server, authenticated)
                    run = tool(server, SETTING, seconds, authenticated)
                    failed += run.failed
                    (with_password if authenticated else without).append(run)
            health = tool(server, "/healthz", seconds)
            what = f"requests a second, {name},"
            report.add(f"{what} with admin authentication", rates(with_password))
            report.add(f"{what} the same with authentication off", rates(without))
            report.add(f"{what} ratio of the two", ratio(with_password, without), "above 0.9")
            report.add(f"{what} `/healthz`", rates([health]))
            report.must_be_zero(f"failed requests, {name}", failed + health.failed)


def instruments(report, quick):
    """What counting costs: two servers, one of which counts nothing, asked in turns for the same.

    The rounds are short and many, and what is told is the median of the rounds, because a
    neighbour disturbs one server of a round and not the other.
    """
    rounds = 4 if quick else 30
    with Server() as counting, Server(counting=False) as uncounted:
        for name, tool in (("HTTP/1.1", wrk), ("HTTP/2", h2load)):
            runs = {counting: [], uncounted: []}
            for server in runs:
                tool(server, "/healthz", 1)
            for turn in range(rounds):
                order = [counting, uncounted] if turn % 2 == 0 else [uncounted, counting]
                for server in order:
                    runs[server].append(tool(server, "/healthz", 1))
            what = f"requests a second, {name}, `/healthz`,"
            report.add(f"{what} with all instruments", rates(runs[counting]))
            report.add(f"{what} without", rates(runs[uncounted]))
            report.add(
                f"what the instruments take, {name}, median of {rounds} rounds (quartiles)",
                taken(runs[counting], runs[uncounted]),
                "below 3%",
            )
            failed = sum(run.failed for each in runs.values() for run in each)
            report.must_be_zero(f"failed requests, {name}, both", failed)


def taken(counting, uncounted):
    """The share of the rate that is lost and of the CPU time of a request that is added."""
    pairs = list(zip(counting, uncounted, strict=True))
    rate = [1 - one.per_second / other.per_second for one, other in pairs]
    cpu = [one.microseconds / other.microseconds - 1 for one, other in pairs]
    return f"{shares(rate)} of the rate, {shares(cpu)} more server CPU"


def shares(values):
    """`median (first to third quartile)`."""
    first, median, third = statistics.quantiles(values, n=4)
    return f"{median:.1%} ({first:.1%} to {third:.1%})"


def switch_authentication(server, on):
    """Switches authentication on, with the password `admin`, or off."""
    path = "/v2/security/adminpassword"
    connection = server.connect()
    if on:
        call(connection, "POST", path, '{"password": "admin"}')
    else:
        call(connection, "DELETE", path)
    connection.close()


def rates(runs):
    """Requests a second and the server's CPU time of one."""
    cpu = statistics.median(run.microseconds for run in runs)
    shown = median_of([run.per_second for run in runs]) if len(runs) > 1 else number(
        runs[0].per_second
    )
    return f"{shown}, server CPU {number(cpu)} µs each"


def ratio(with_password, without):
    """The median of the ratios of neighbouring runs, of rates and of CPU times."""
    pairs = list(zip(with_password, without, strict=True))
    rate = statistics.median(one.per_second / other.per_second for one, other in pairs)
    cpu = statistics.median(other.microseconds / one.microseconds for one, other in pairs)
    return f"{rate:.2f} by rate, {cpu:.2f} by server CPU"


def uploads(report, quick):
    """One upload of 2 GB to the echo service, which hashes it: MB/s and CPU seconds per GB.

    Where curl's CPU time per GB is the inverse of the rate, the rate is curl's.
    """
    size = 200_000_000 if quick else 2_000_000_000
    digest, cpu = digest_of_zeros(size)
    report.add("SHA-256 alone on this machine (Python's hashlib)", f"{number(cpu)} s per GB")
    with Server() as server:
        file = server.folder / "upload"
        file.touch()
        with open(file, "r+b") as sparse:
            sparse.truncate(size)
            # Once through, so that curl reads it from memory.
            while sparse.read(1_000_000):
                pass
        for name, version in (("HTTP/1.1", "http1.1"), ("HTTP/2", "http2")):
            sent = upload(server, file, version)
            speed = number(sent.bytes_per_second / 1e6)
            cost = number(sent.server_cpu / size * 1e9)
            curl = number(sent.client_cpu / size * 1e9)
            report.add(
                f"one upload of {size / 1e9:g} GB, {name}",
                f"{speed} MB/s, server CPU {cost} s per GB (curl's {curl})",
                "0.6 s per GB beside the digest",
            )
            right = sent.answer == {"length": size, "sha256": digest}
            shown = "right" if right else f"wrong: {sent.answer}"
            report.must(f"its length and SHA-256, {name}", right, shown)


def digest_of_zeros(size):
    """The SHA-256 of so many zeros, and the CPU seconds that it takes per GB."""
    digest, block, cpu = hashlib.sha256(), bytes(1_000_000), time.process_time()
    for _ in range(size // len(block)):
        digest.update(block)
    return digest.hexdigest(), (time.process_time() - cpu) / size * 1e9
