#!/usr/bin/env python3
"""Lets every attack run at once beside ordinary people, and tells whether these noticed.

    make soak                       # ten minutes
    python3 benches/soak.py 60      # a minute
    python3 benches/soak.py 60 --only no_http,stalled_streams

Ends with 1 if somebody's request failed, an upload, a WebSocket or a change was cut, the process
did not live on or kept its memory, or an entry of the audit record is missing.
"""

import argparse
import collections
import json
import os
import sys
import time

sys.dont_write_bytecode = True  # so that a run leaves nothing in the repository

import attacks
from bystanders import Bystanders
from clients import Clients
from report import Neighbours, Report, quantile
from server import BINARY, Server, until

SETTLE = 90
MEMORY_FACTOR = 1.3

CONFIGURATION = """
data_dir = "{data}"
outbound.allow = ["127.0.0.0/8"]
[speech]
model = "{model}"
[[listener]]
name = "http"
address = "127.0.0.1:0"
services = ["security", "management", "monitoring", "batch", "realtime", "echo"]
redirect_to = "https"
[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["security", "management", "monitoring", "batch", "realtime", "echo"]
"""


class Target(Server):
    """The appliance with every service; strangers may have it fetch from loopback."""

    def __init__(self):
        super().__init__()
        cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
        model = os.path.join(cache, "portcullis", "ggml-tiny.en-q8_0.bin")
        text = CONFIGURATION.format(data=self.folder / "data", model=model)
        (self.folder / "portcullis.toml").write_text(text)


def attacker(attack, server):
    """The attack in the form in which `Clients` run it; an attack that ends by itself rests."""

    def client(_port, stopping, _number):
        yield from attack(server, stopping)

    return client


def watch(server, seconds, peaks):
    """Looks at the process each second until the time is over; False once it has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.process.poll() is not None:
            return False
        for name, value in server.footprint().items():
            peaks[name] = max(peaks.get(name, 0), value)
        time.sleep(1)
    return True


def whole_audit(server, changes):
    """How many of the administrator's changes the audit record lacks."""
    entries = server.call("GET", f"/v2/security/audit?limit={changes + 500}")["entries"]
    done = [each for each in entries
            if each["action"] == "POST /v2/security/sslcertificate" and each["outcome"] == "done"]
    return changes - len(done), entries


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", nargs="?", type=int, default=600)
    parser.add_argument("--only", metavar="NAMES", help="attacks, separated by commas")
    chosen = parser.parse_args()
    wanted = attacks.ALL
    if chosen.only:
        wanted = [each for each in attacks.ALL if each.__name__ in chosen.only.split(",")]
    if not BINARY.exists():
        sys.exit(f"{BINARY} is missing: cargo build --release --examples")
    report, others, load = Report(), Neighbours(), os.getloadavg()[0]
    outcomes = {}
    with Target() as server:
        # What people alone make of it, before anybody attacks.
        with Bystanders(server) as quiet:
            time.sleep(min(30, max(10, chosen.seconds / 10)))
        alone = quiet.judge(report, "alone")
        changes = len(quiet.parts["certificates"].seen)
        before, peaks = server.footprint(), {}
        with Bystanders(server, workshop=quiet.workshop) as people:
            running = [(each.__name__, Clients(attacker(each, server), 0)) for each in wanted]
            for _, attack in running:
                attack.__enter__()
            alive = watch(server, chosen.seconds, peaks)
            for name, attack in running:
                try:
                    attack.__exit__()
                except RuntimeError as err:
                    report.wrong.append(f"attack {name}: {err}")
                outcomes[name] = collections.Counter(getattr(attack, "seen", []))
        waits = people.judge(report, "attacked")
        report.must("the process is alive", alive, str(alive))
        report.must("ordinary p99 below 300 ms while attacked", quantile(waits, 0.99) < 0.3,
                    f"{quantile(waits, 0.99) * 1e3:.0f} ms (alone {quantile(alone, 0.99) * 1e3:.0f})")
        changes += len(people.parts["certificates"].seen)
        leaked = sum(count for words in outcomes.values() for word, count in words.items()
                     if "LEAKED" in word)
        report.must_be_zero("inner answers handed out", leaked)
        bound = before["rss_kb"] * MEMORY_FACTOR
        until(lambda: server.footprint()["rss_kb"] <= bound, SETTLE, 1)
        after = server.footprint()
        for name in ("rss_kb", "descriptors", "threads"):
            report.add(f"{name} before / peak / after",
                       f"{before[name]:,} / {peaks.get(name, 0):,} / {after[name]:,}")
        report.must(f"memory comes back to {MEMORY_FACTOR} times", after["rss_kb"] <= bound,
                    f"{after['rss_kb'] / before['rss_kb']:.2f} times")
        missing, _ = whole_audit(server, changes)
        report.must_be_zero(f"changes that the audit record lacks, of {changes}", max(0, missing))
    lines = ["| Attack | What came of its tries |", "|---|---|"]
    for name, words in outcomes.items():
        shown = ", ".join(f"{word} {count:,}" for word, count in words.most_common(8))
        lines.append(f"| {name} | {shown} |")
    report.conclude(
        f"{chosen.seconds} s; load {load:.1f} before; "
        f"{others.share():.0%} of the CPU time went to other programs",
        "\n".join(lines),
    )


if __name__ == "__main__":
    main()
