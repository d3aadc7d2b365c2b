"""Certificate replacement: how long it takes, whether anybody notices, what it leaves behind."""

import os
import ssl
import time
from http.client import HTTPException

from certificates import MEDIA_TYPE, Workshop
from clients import Clients, certificate_probe, echoes, new_connections, open_websocket
from report import number, quantile, spread
from server import Server, call, until


class Replacer:
    """Uploads bundles over a kept connection; a new one is opened, untimed, when it has closed."""

    def __init__(self, server):
        self.server = server
        self.connection = None
        self.again = 0

    def replace(self, bundle):
        """One upload: when it began and when its answer had come, in monotonic seconds."""
        if self.connection is None or self._has_closed():
            self.connection = self.server.connect()
        begun = time.monotonic()
        try:
            self._post(bundle)
        except (ConnectionError, ssl.SSLError, HTTPException):
            # The server closed it as idle at this very moment (RFC 9112, section 9.5).
            self.again += 1
            self.connection = self.server.connect()
            begun = time.monotonic()
            self._post(bundle)
        return begun, time.monotonic()

    def _post(self, bundle):
        path = "/v2/security/sslcertificate"
        call(self.connection, "POST", path, bundle.upload, MEDIA_TYPE)

    def _has_closed(self):
        stream = self.connection.sock
        if stream is None:
            return True
        stream.setblocking(False)
        try:
            return stream.recv(1) == b""
        except OSError:
            # Nothing to read yet, or nothing but TLS records without content.
            return False
        finally:
            stream.settimeout(30)


def latency(report, quick):
    """From the POST of a bundle to its answer, in ms, and what 400 replacements leave behind.

    Two bundles take turns, first with P-256 keys, then with RSA-2048 keys, 25 ms apart. A
    WebSocket stays open all the time and must echo in the end.
    """
    count = 40 if quick else 200
    with Server() as server:
        shop = Workshop(server.folder / "certificates")
        report.add("write and fsync of one small file on this disk, p50 / p99 / max",
                   spread(fsyncs(server.folder)))
        websocket = open_websocket(server.https)
        replacer = Replacer(server)
        for bundle in shop.p256:
            replacer.replace(bundle)
        settle(server)
        before, peak, cpu = server.footprint(), {}, server.cpu()
        for kind, bundles in (("P-256", shop.p256), ("RSA-2048", shop.rsa)):
            times = take_turns(replacer, bundles, count, peak)
            aim = "5 ms / 15 ms" if kind == "P-256" else ""
            what = f"certificate replacement, {kind}: POST to answer, p50 / p99 / max of {count}"
            report.add(what, spread(times), aim)
        cpu = (server.cpu() - cpu) / (2 * count)
        left = settle(server)
        after = server.footprint()
        report.add("server CPU of one replacement", f"{number(cpu * 1e3)} ms")
        report.add("uploads sent again, for the idle connection closed that instant",
                   str(replacer.again))
        footprint(report, count * 2, before, peak, after)
        report.must_be_zero("generations left over 15 s after them", left)
        report.must_be_zero("WebSockets cut by them", int(not echoes(websocket)))
        websocket.close()


def take_turns(replacer, bundles, count, peak):
    """Seconds from POST to answer of each replacement; `peak` keeps the largest footprint."""
    times = []
    for turn in range(count):
        begun, answered = replacer.replace(bundles[turn % 2])
        times.append(answered - begun)
        for key, value in replacer.server.footprint().items():
            peak[key] = max(value, peak.get(key, 0))
        time.sleep(0.025)
    return times


def fsyncs(folder):
    """Seconds for 100 small files to be created, written and synced: the yardstick of the disk."""
    times = []
    for turn in range(100):
        begun = time.monotonic()
        file = os.open(folder / f"sync-{turn}", os.O_CREAT | os.O_WRONLY)
        os.write(file, b"x" * 1000)
        os.fsync(file)
        os.close(file)
        times.append(time.monotonic() - begun)
    return times


def settle(server):
    """Waits until drained generations have gone. The one with the WebSocket stays.

    Gives how many are too many.
    """
    expected = 3
    until(lambda: server.generations() <= expected, 15, 0.2)
    return max(0, server.generations() - expected)


def footprint(report, count, before, peak, after):
    """Threads, descriptors and memory of the server before, during and after replacements."""
    for key, name in (("threads", "threads"), ("descriptors", "descriptors"), ("rss_kb", "memory")):
        values = before[key], peak[key], after[key]
        if key == "rss_kb":
            shown = " / ".join(number(value / 1024) for value in values) + " MB"
            report.add(f"{name} before / most during / after {count} replacements", shown,
                       "1 MB more at most")
            continue
        what = f"{name} before / most during / after {count} replacements"
        # Blocking threads come and go by themselves.
        allowed = before[key] + (8 if key == "threads" else 4)
        report.must(what, after[key] <= allowed, " / ".join(map(str, values)))


def switch(report, quick):
    """When new handshakes show the new certificate, in ms since the POST, and stale ones.

    Three clients make TLS handshakes all the time. A handshake that began after the answer and
    shows another certificate than the new one is stale.
    """
    count = 10 if quick else 40
    with Server() as server:
        shop = Workshop(server.folder / "certificates")
        replacer, changes = Replacer(server), []
        replacer.replace(shop.p256[1])
        with Clients(certificate_probe, server.https, processes=3) as probes:
            for turn in range(count):
                bundle = shop.p256[turn % 2]
                changes.append((*replacer.replace(bundle), bundle.fingerprint))
                time.sleep(0.1)
        first, stale = judge(changes, probes.seen)
        errors = [error for *_, error in probes.seen if error]
        what = f"new certificate seen by a new connection, p50 / p99 / max of {count}"
        report.add(what, spread(first), "4.8 ms, as HAProxy")
        report.must_be_zero(f"stale handshakes after the answer (of {len(probes.seen):,})", stale)
        report.must_be_zero("failed handshakes beside them", len(errors), str(errors[:3]))


def judge(changes, seen):
    """Seconds from each POST to the first handshake with the new certificate; stale handshakes."""
    first, stale = [], 0
    ends = [begun for begun, *_ in changes[1:]] + [float("inf")]
    for (begun, answered, fingerprint), end in zip(changes, ends, strict=True):
        during = [each for each in seen if begun <= each[1] and each[0] < end and each[2]]
        new = [done for _, done, shown, _ in during if shown == fingerprint]
        first.append(min(new, default=float("inf")) - begun)
        # One that ends after the next POST may rightly show the next certificate.
        settled = [each for each in during if each[0] > answered and each[1] < end]
        stale += sum(shown != fingerprint for _, _, shown, _ in settled)
    return first, stale


def failures(report, quick):
    """Failed connections while 8 clients open new ones and the certificate is replaced 50 times."""
    count, gap = (15, 0.2) if quick else (50, 0.2)
    with Server() as server:
        shop = Workshop(server.folder / "certificates")
        replacer, times = Replacer(server), []
        replacer.replace(shop.p256[1])
        with Clients(new_connections, server.https, processes=2, threads=4) as clients:
            for turn in range(count):
                begun, answered = replacer.replace(shop.p256[turn % 2])
                times.append(answered - begun)
                time.sleep(max(0, begun + gap - time.monotonic()))
        errors = [error for *_, error in clients.seen if error]
        took = [end - begun for begun, end, error in clients.seen if not error]
        what = f"failed connections over {count} replacements, 8 clients (of {len(took):,})"
        report.must_be_zero(what, len(errors), str(errors[:3]))
        report.add("a new connection with one request meanwhile, p50 / p99 / max", spread(took))
        p50, p99 = (number(quantile(times, share) * 1e3) for share in (0.5, 0.99))
        report.add("POST to answer meanwhile, p50 / p99", f"{p50} / {p99} ms")
