#!/usr/bin/env python3
"""Measures the release build of examples/echo.rs over loopback and prints one Markdown table.

    make bench
    python3 benches/bench.py --quick
    python3 benches/bench.py --only latency,flood

Ends with 1 if something was wrong (a stale certificate, a failed connection, a cut WebSocket, a
wrong digest), never because something was slow. Takes about seven minutes.
"""

import argparse
import os
import sys
import time

sys.dont_write_bytecode = True  # so that a run leaves nothing in the repository

import engine
import neighbours
import replacement
import sessions
import throughput
from report import Neighbours, Report
from server import BINARY

MEASURES = {
    "latency": replacement.latency,
    "switch": replacement.switch,
    "failures": replacement.failures,
    "listeners": engine.listeners,
    "drains": engine.drains,
    "memory": engine.memory,
    "balance": engine.balance,
    "start": engine.start,
    "handshakes": throughput.new_handshakes,
    "requests": throughput.keep_alive,
    "instruments": throughput.instruments,
    "uploads": throughput.uploads,
    "flood": neighbours.flood,
    "idle": neighbours.idle,
    "sessions": sessions.sessions,
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument(
        "--only", metavar="NAMES", default=",".join(MEASURES),
        help="of " + ", ".join(MEASURES) + "; separated by commas",
    )
    parsed = parser.parse_args()
    parsed.names = parsed.only.split(",")
    unknown = [name for name in parsed.names if name not in MEASURES]
    if unknown:
        parser.error(f"there is no measure {unknown[0]}; there are {', '.join(MEASURES)}")
    return parsed


def main():
    chosen = arguments()
    if not BINARY.exists():
        sys.exit(f"{BINARY} is missing: cargo build --release --examples")
    report, others, load = Report(), Neighbours(), os.getloadavg()[0]
    begun = time.monotonic()
    for name in chosen.names:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            MEASURES[name](report, chosen.quick)
        except (OSError, RuntimeError, KeyError, IndexError, ValueError) as err:
            report.wrong.append(f"{name} could not be measured: {err!r}")
    report.conclude(
        f"load {load:.1f} before; {others.share():.0%} of the CPU time went to other programs; "
        f"{time.monotonic() - begun:.0f} s in all"
    )


if __name__ == "__main__":
    main()
