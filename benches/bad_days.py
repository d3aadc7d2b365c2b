#!/usr/bin/env python3
"""Lets the machine go wrong beside ordinary people, and tells whether these noticed.

    make bad-days
    python3 benches/bad_days.py --only clock,stderr

Standard error that nobody reads, a clock that jumps by ten years, a disk that is read-only, fails
or has no inodes left, log and audit files that are removed, no further thread. Changes may be
refused meanwhile, with the reason; no request, upload or WebSocket may be cut, and afterwards
everything works. Ends with 1 where that does not hold. Needs root for `threads` and `inodes`.
"""

import argparse
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # so that a run leaves nothing in the repository

from bystanders import Bystanders
from report import Neighbours, Report
from server import BINARY, ROOT, Server, until

SHIM = ROOT / "tests/integration/support/shim.c"
BAD = 20
AFTERWARDS = 10
YEARS = 365 * 24 * 3600
# Whoever this is, nobody else on the machine has it, so that the limit counts our threads alone.
UID = 54321


class Shimmed(Server):
    """An appliance whose clock and disk can be made to go wrong."""

    def __init__(self):
        super().__init__()
        library = self.folder / "shim.so"
        build = ["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"]
        subprocess.run(build, check=True)
        self.clock, self.broken = self.folder / "clock", self.folder / "broken"
        self.environment = {
            "LD_PRELOAD": str(library), "SHIM_CLOCK": str(self.clock),
            "SHIM_BROKEN": str(self.broken), "SHIM_DIR": str(self.folder / "data"),
        }

    def put(self, path, text):
        """Whole from its first instant."""
        fresh = self.folder / "fresh"
        fresh.write_text(str(text))
        fresh.rename(path)


def health(server):
    """The components of `health` that are not well."""
    answer = server.call("GET", "/v2/management/health")
    return {name: part for name, part in answer.items()
            if isinstance(part, dict) and part.get("status") == "unhealthy"}


def switch_works(server):
    """Whether a change is made, and made back."""
    try:
        for enabled in ("false", "true"):
            body = '{"enable_insecure_ports": %s}' % enabled
            server.call("POST", "/v2/security/insecureports", body)
        return True
    except RuntimeError:
        return False


def under_load(report, name, server, bad, allowed=()):
    """Runs `bad(server)` beside the bystanders, then looks whether everything is right."""
    with Bystanders(server) as people:
        time.sleep(3)
        bad()
        time.sleep(AFTERWARDS)
    people.judge(report, name, allowed)
    report.must(f"{name}: alive", server.process.poll() is None, "the process")
    report.must(f"{name}: a change works afterwards", until(lambda: switch_works(server), 20, 1),
                "plain HTTP switched off and on")
    unwell = {}

    def well():
        unwell.clear()
        unwell.update(health(server))
        return not unwell

    report.must(f"{name}: health afterwards", until(well, 30, 1), str(unwell) or "healthy")


def stderr(report):
    """A pipe of 4 KiB that nobody reads, and a line for each request."""
    import fcntl

    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    server = Server()
    server.environment["RUST_LOG"] = "info,portcullis::access=debug"
    server.stderr = writer
    with server:
        under_load(report, "stalled standard error", server, lambda: time.sleep(BAD))
        begun = time.monotonic()
        server.process.terminate()
        ended = until(lambda: server.process.poll() is not None, 20)
        report.must("stalled standard error: SIGTERM ends it", ended,
                    f"{time.monotonic() - begun:.1f} s")
    os.close(reader)
    os.close(writer)


def clock(report):
    """Ten years back and forth, and what lies between."""
    with Shimmed() as server:
        def jump():
            for years in (1, -1, 10, -10, 0.1, -0.1):
                server.put(server.clock, int(years * YEARS))
                time.sleep(3)
            server.put(server.clock, 0)

        # A certificate that is not valid yet, or no more, may be refused while the clock is wrong.
        under_load(report, "clock from -10 to +10 years", server, jump, allowed=("certificates",))


def disk(report):
    """Every change below the data directory fails, in each way there is."""
    for number in (errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE):
        name = f"disk: {errno.errorcode[number]}"
        with Shimmed() as server:
            seen = {}

            def fail():
                server.put(server.broken, number)
                time.sleep(BAD / 2)
                seen.update(health(server))
                server.broken.unlink()

            under_load(report, name, server, fail, allowed=("certificates",))
            report.must(f"{name}: health told", "storage" in seen, ", ".join(sorted(seen)))


def inodes(report):
    """A file system of its own without an inode left."""
    server = Server()
    data = server.folder / "data"
    data.mkdir()
    mount = f"mount -t tmpfs -o size=400m,nr_inodes=4000 tmpfs {data} && exec \"$@\""
    server.wrapper = ["unshare", "-m", "sh", "-c", mount, "sh"]
    with server:
        inside = Path(f"/proc/{server.process.pid}/root{data}")
        seen = {}

        def fill():
            made = []
            try:
                for number in range(10_000):
                    path = inside / f"filler-{number}"
                    path.touch()
                    made.append(path)
            except OSError:
                pass
            time.sleep(BAD / 2)
            seen.update(health(server))
            for path in made:
                path.unlink()

        under_load(report, "no inodes", server, fill, allowed=("certificates",))
        report.must("no inodes: health told", "storage" in seen, ", ".join(sorted(seen)))


def logs(report):
    """Log and audit files removed, renamed, and their folders."""
    with Server() as server:
        log, audit = server.folder / "data/log", server.folder / "data/audit"

        def remove():
            (log / "portcullis.log").unlink()
            (audit / "audit.jsonl").unlink()
            time.sleep(BAD / 2)
            (log / "portcullis.log").rename(log / "moved")
            shutil.rmtree(audit)
            time.sleep(BAD / 2)

        under_load(report, "log and audit removed", server, remove)
        there = (log / "portcullis.log").exists() and (audit / "audit.jsonl").exists()
        report.must("log and audit removed: back again", there, str(there))
        entries = server.call("GET", "/v2/security/audit?limit=5")["entries"]
        report.must("log and audit removed: recorded again", bool(entries), f"{len(entries)} entries")


def threads(report):
    """No further thread can be started for a while."""
    server = Server()
    (server.folder / "data").mkdir()
    subprocess.run(["chown", "-R", f"{UID}:{UID}", server.folder], check=True)
    server.folder.chmod(0o755)
    server.wrapper = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]

    def limit(threads):
        # As that user, for root may not be allowed to.
        pid = str(server.process.pid)
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        words = ["prlimit", "--pid", pid, f"--nproc={threads or hard}:"]
        subprocess.run([*server.wrapper, *words], check=True)

    with server:
        def starve():
            limit(server.footprint()["threads"])
            time.sleep(BAD)
            limit("")

        under_load(report, "no further thread", server, starve, allowed=("certificates",))
        panics = (server.folder / "log").read_text(errors="replace").count("panicked at")
        report.must_be_zero("no further thread: panics", panics)


DAYS = {each.__name__: each for each in (stderr, clock, disk, inodes, logs, threads)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(DAYS), help="of " + ", ".join(DAYS))
    names = parser.parse_args().only.split(",")
    if not BINARY.exists():
        sys.exit(f"{BINARY} is missing: cargo build --release --examples")
    report, others = Report(), Neighbours()
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            DAYS[name](report)
        except (OSError, RuntimeError) as err:
            report.wrong.append(f"{name}: {err!r}")
    report.conclude(f"{others.share():.0%} of the CPU time went to other programs")


if __name__ == "__main__":
    main()
