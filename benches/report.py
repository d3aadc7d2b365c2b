"""What was measured, as one Markdown table under a description of the machine."""

import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from server import BINARY, ROOT


@dataclass
class Report:
    """The rows of the table and whatever turned out to be wrong; `binary` is what was measured."""

    binary: Path = BINARY
    rows: list = field(default_factory=list)
    wrong: list = field(default_factory=list)

    def add(self, what, value, aim=""):
        """A row; `aim` says what is wished for, which never fails a run."""
        self.rows.append((what, value, aim))

    def must_be_zero(self, what, count, detail=""):
        """A row about correctness: anything but 0 fails the run."""
        self.add(what, str(count), "0")
        if count:
            self.wrong.append(f"{what}: {count} {detail}".strip())

    def must(self, what, holds, shown):
        """A row about correctness that fails the run if it does not hold."""
        self.add(what, shown, "must hold")
        if not holds:
            self.wrong.append(f"{what}: {shown}")

    def table(self):
        lines = ["| Measured | Result | Aim |", "|---|---|---|"]
        lines += [f"| {what} | {value} | {aim} |" for what, value, aim in self.rows]
        return "\n".join(lines)

    def conclude(self, remark, more=""):
        """Prints all of it, `more` below the table, and ends the program: with 1 if something was
        wrong."""
        print("\n".join(f"- {line}" for line in [*machine(self.binary), remark]))
        print(f"\n{self.table()}")
        if more:
            print(f"\n{more}")
        for wrong in self.wrong:
            print(f"\nWRONG: {wrong}")
        sys.exit(1 if self.wrong else 0)


def quantile(values, share):
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def spread(values, unit="ms"):
    """`p50 / p99 / max` of seconds, shown in milliseconds."""
    shown = [quantile(values, 0.5), quantile(values, 0.99), max(values, default=float("nan"))]
    return " / ".join(number(value * 1e3) for value in shown) + f" {unit}"


def number(value):
    """Three significant digits, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def median_of(values):
    """`median (smallest to largest)`."""
    median = number(statistics.median(values))
    return f"{median} ({number(min(values))} to {number(max(values))})"


class Neighbours:
    """How much of the machine's CPU time others took: the figures suffer from that."""

    def __init__(self):
        self.begun = self._busy(), self._own()

    @staticmethod
    def _busy():
        """Seconds since boot: busy, all."""
        fields = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        ticks = os.sysconf("SC_CLK_TCK")
        return (sum(fields) - fields[3] - fields[4]) / ticks, sum(fields) / ticks

    @staticmethod
    def _own():
        """CPU seconds of this program and of the children that have ended."""
        return sum(os.times()[:4])

    def share(self):
        """The share of all CPU time since the start that was neither ours nor idle."""
        (busy, whole), own = self._busy(), self._own()
        (busy_then, whole_then), own_then = self.begun
        return max(0.0, busy - busy_then - own + own_then) / max(0.01, whole - whole_then)


def machine(binary):
    """Processor, cores, memory, kernel, date and commit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    git = ["git", "--no-optional-locks", "-C", ROOT]
    run = lambda *rest: subprocess.run([*git, *rest], capture_output=True, text=True).stdout.strip()
    sources = ["--", "src", "actors", "speech", "web", "examples", "Cargo.toml", "Cargo.lock"]
    changed = " with uncommitted changes" if run("status", "--porcelain", *sources) else ""
    moment = binary.stat().st_mtime
    built = time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))
    committed = int(run("log", "-1", "--format=%ct") or 0)
    older = ", which is older than that commit" if moment < committed else ""
    return [
        f"{os.cpu_count()} × {models[0] if models else platform.machine()}, {memory:.0f} GB, "
        f"Linux {platform.release()}; clients and server share it over loopback",
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, "
        f"commit {run('rev-parse', '--short', 'HEAD')}{changed}, "
        f"release build of {built} UTC{older}",
    ]
