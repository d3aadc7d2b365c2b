"""What a change costs, however many listeners, generations and connections there are."""

import os
import shutil
import statistics
import time
from http.client import HTTPConnection
from pathlib import Path

from certificates import Workshop
from clients import open_websocket
from replacement import Replacer
from report import number, quantile, spread
from server import ADMIN, HOST, Server, call, until

LISTENER = """
[[listener]]
name = "more-{number}"
address = "127.0.0.1:0"
tls = true
services = ["echo"]
"""
MONITORING = """
[[listener]]
name = "monitoring"
address = "127.0.0.1:0"
services = ["monitoring"]
"""
# A file system in memory: what is left of a change without a disk.
MEMORY = Path("/dev/shm")


def with_listeners(count, **options):
    """An appliance with so many listeners; two are there in any case."""
    return Server("".join(LISTENER.format(number=n) for n in range(count - 2)), **options)


def listeners(report, quick):
    """Replacement with 2, 10 and 50 listeners, on disk and in memory, and the threads at rest."""
    count = 20 if quick else 100
    medians = {}
    for place, where in ((None, "on disk"), (MEMORY, "in memory")):
        for number_of in (2, 10, 50):
            with with_listeners(number_of, place=place) as server:
                shop = Workshop(server.folder / "certificates")
                replacer = Replacer(server)
                for bundle in shop.p256:
                    replacer.replace(bundle)
                threads, times, rounds = server.footprint()["threads"], [], []
                for turn in range(count):
                    begun, answered = replacer.replace(shop.p256[turn % 2])
                    times.append(answered - begun)
                    rounds.append(bare_round(server.folder))
                    time.sleep(0.01)
                medians[where, number_of] = quantile(times, 0.5)
                aim = "1.5 ms / 5 ms" if place else ""
                what = f"replacement {where}, {number_of} listeners, {threads} threads at rest"
                report.add(f"{what}, p50 / p99 / max of {count}", spread(times), aim)
                if not place:
                    ratio = quantile(times, 0.5) / quantile(rounds, 0.5)
                    shown = f"{number(ratio)} ({spread(rounds)})"
                    report.add(f"over a bare round of writing, {number_of} listeners", shown, "1.5")
        ratio = medians[where, 50] / medians[where, 2]
        report.add(f"p50 with 50 listeners over p50 with 2, {where}", number(ratio), "1.2")
    switches(report, count)


def bare_round(folder):
    """Seconds that it takes to write the files of the state anew, synced, and to rename them."""
    source, target = folder / "data/state/current", folder / "bare"
    files = [path for path in source.rglob("*") if path.is_file()]
    begun = time.monotonic()
    target.mkdir()
    for index, path in enumerate(files):
        file = os.open(target / str(index), os.O_CREAT | os.O_WRONLY)
        os.write(file, path.read_bytes())
        os.fsync(file)
        os.close(file)
    sync(target)
    target.rename(folder / "bare-renamed")
    sync(folder)
    took = time.monotonic() - begun
    shutil.rmtree(folder / "bare-renamed")
    return took


def sync(folder):
    opened = os.open(folder, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


def switches(report, count):
    """Plain HTTP off and on again, from POST to answer, with the state in memory."""
    with Server(place=MEMORY) as server:
        times, cpu = [], server.cpu()
        for turn in range(count):
            body = '{"enable_insecure_ports": %s}' % ("true" if turn % 2 else "false")
            connection = server.connect()
            begun = time.monotonic()
            call(connection, "POST", "/v2/security/insecureports", body)
            times.append(time.monotonic() - begun)
            connection.close()
        what = f"plain HTTP switched in memory, p50 / p99 / max of {count}"
        report.add(what, spread(times), "1.5 ms")
        cpu = (server.cpu() - cpu) / count
        what = "server CPU of one switch and the connection it comes on"
        report.add(what, f"{number(cpu * 1e3)} ms")


def drains(report, quick):
    """Threads and memory while 50 listeners have 8 or 32 draining generations each."""
    generations = 8 if quick else 32
    with with_listeners(50) as server:
        shop = Workshop(server.folder / "certificates")
        replacer, sockets = Replacer(server), []
        ports = [port for name, port in server.ports.items() if name != "http"]
        for turn in range(generations):
            sockets += [open_websocket(port) for port in ports]
            replacer.replace(shop.p256[turn % 2])
        open_now, footprint = server.generations(), server.footprint()
        what = f"threads with {open_now} generations on 50 listeners, {len(sockets)} WebSockets"
        report.add(what, str(footprint["threads"]), "24")
        for socket in sockets:
            socket.close()


def memory(report, quick):
    """What 1,000 replacements leave behind."""
    count = 100 if quick else 1000
    with Server() as server:
        shop = Workshop(server.folder / "certificates")
        replacer = Replacer(server)
        for turn in range(20):
            replacer.replace(shop.p256[turn % 2])
        until(lambda: server.generations() <= 2, 15, 0.2)
        before, cpu = server.footprint(), server.cpu()
        for turn in range(count):
            replacer.replace(shop.p256[turn % 2])
        cpu = (server.cpu() - cpu) / count
        until(lambda: server.generations() <= 2, 15, 0.2)
        after = server.footprint()
        more = (after["rss_kb"] - before["rss_kb"]) / 1024
        report.add(f"memory more after {count} replacements", f"{number(more)} MB", "1 MB")
        report.add("server CPU of one replacement, one after the other", f"{number(cpu * 1e3)} ms")


def balance(report, quick):
    """Which share of 1,000 connections that stay the busiest worker has."""
    count = 200 if quick else 1000
    with Server(MONITORING) as server:
        sockets = [open_websocket(server.https) for _ in range(count)]
        until(lambda: sum(by_worker(server)) >= count, 5, 0.2)
        loads = by_worker(server)
        share = max(loads) / statistics.mean(loads)
        what = f"busiest worker over the mean, {count} WebSockets ({loads})"
        report.add(what, number(share), "1.2")
        for socket in sockets:
            socket.close()


def by_worker(server):
    """The connections of each worker."""
    connection = HTTPConnection(HOST, server.ports["monitoring"], timeout=30)
    connection.request("GET", "/metrics", headers=ADMIN)
    text = connection.getresponse().read().decode()
    connection.close()
    lines = (line for line in text.splitlines() if line.startswith("appliance_worker_connections{"))
    return [int(float(line.rsplit(" ", 1)[1])) for line in lines]


def start(report, quick):
    """From exec to every port accepting, with a state that is there already, without speech."""
    times = []
    with Server() as server:
        for _ in range(5 if quick else 20):
            server.stop()
            begun = time.monotonic()
            server.start(pause=0.001)
            times.append(time.monotonic() - begun)
    what = f"start: exec to every port accepting, p50 / p99 / max of {len(times)}"
    report.add(what, spread(times), "50 ms")
