"""The load generators wrk, h2load, openssl s_time and curl: one run each, parsed."""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass

from server import ADMIN, HOST

CONNECTIONS = 32


@dataclass
class Run:
    """Operations done in a run and what they cost."""

    done: int
    per_second: float
    failed: int
    server_cpu: float

    @property
    def microseconds(self):
        """Server CPU time of one operation."""
        return self.server_cpu / max(1, self.done) * 1e6


def output(command, seconds):
    """What the command prints; it may take three times as long as meant, and a little."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=seconds * 3 + 30, check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-500:]}")
    return done.stdout


def find(pattern, text, default=None):
    """The first group of the pattern as a number."""
    match = re.search(pattern, text)
    if match is None and default is None:
        raise RuntimeError(f"no {pattern!r} in: {text[-500:]}")
    return float(match[1]) if match else default


def headers(authenticated):
    return [f"-H{name}: {value}" for name, value in ADMIN.items()] if authenticated else []


def wrk(server, path, seconds, authenticated=False):
    """HTTP/1.1 over 32 kept connections, one request at a time on each."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *headers(authenticated)]
    cpu = server.cpu()
    text = output([*command, server.url(path)], seconds)
    cpu = server.cpu() - cpu
    socket_errors = r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)"
    errors = re.search(socket_errors, text)
    failed = int(find(r"Non-2xx or 3xx responses: (\d+)", text, 0))
    failed += sum(int(count) for count in errors.groups()) if errors else 0
    done = int(find(r"(\d+) requests in", text))
    return Run(done, find(r"Requests/sec:\s+([\d.]+)", text), failed, cpu)


def h2load(server, path, seconds, authenticated=False):
    """HTTP/2 over 32 kept connections, one stream at a time on each."""
    command = ["h2load", "-t1", f"-c{CONNECTIONS}", "-m1", f"-D{seconds}", *headers(authenticated)]
    cpu = server.cpu()
    text = output([*command, server.url(path)], seconds)
    cpu = server.cpu() - cpu
    if "Application protocol: h2" not in text:
        raise RuntimeError("h2load did not get HTTP/2")
    done = int(find(r"status codes: (\d+) 2xx", text))
    counts = [int(find(rf"(\d+) {what}", text)) for what in ("failed", "errored", "timeout")]
    refused = sum(int(find(rf"(\d+) {kind}xx", text)) for kind in (3, 4, 5))
    return Run(done, done / seconds, max(counts) + refused, cpu)


def handshakes(server, seconds, resumed):
    """New connections with TLS 1.3 and one request each, by three `openssl s_time` at once.

    Gives the run and the share of sessions that were resumed.
    """
    command = ["openssl", "s_time", "-connect", f"{HOST}:{server.https}", "-tls1_3"]
    command += ["-reuse" if resumed else "-new", "-time", str(seconds), "-www", "/healthz"]
    cpu, begun = server.cpu(), time.monotonic()
    clients = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    texts = [client.communicate(timeout=seconds * 3 + 30)[0] for client in clients]
    took, cpu = time.monotonic() - begun, server.cpu() - cpu
    # The last such line counts what was measured; with -reuse it leaves out the first handshake.
    counted = r"(\d+) connections in \d+ real seconds"
    done = sum(int(re.findall(counted, text)[-1]) for text in texts)
    reused = sum(text.count("r") for each in texts for text in re.findall(r"^[r*t]+$", each, re.M))
    return Run(done, done / took, 0, cpu), reused / max(1, done)


@dataclass
class Sent:
    """One upload by curl."""

    answer: dict
    bytes_per_second: float
    server_cpu: float
    client_cpu: float


def upload(server, file, version):
    """`POST /echo/upload` of a file by curl; `version` is `http1.1` or `http2`."""
    command = ["curl", "-ksS", f"--{version}", "-X", "POST", "-T", str(file), "--max-time", "60"]
    command += ["-w", "\n%{speed_upload} %{http_version}", server.url("/echo/upload")]
    cpu, own = server.cpu(), sum(os.times()[2:4])
    answer, figures = output(command, 20).rsplit("\n", 1)
    speed, spoken = figures.split()
    if spoken != version.removeprefix("http"):
        raise RuntimeError(f"curl spoke HTTP/{spoken}, not {version}")
    cpu, own = server.cpu() - cpu, sum(os.times()[2:4]) - own
    return Sent(json.loads(answer), float(speed), cpu, own)
