"""The appliance under test: the release build of `examples/echo.rs` in a temporary folder."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from http.client import HTTPSConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("PORTCULLIS_ECHO", ROOT / "target/release/examples/echo"))
HOST = "127.0.0.1"
TICKS = os.sysconf("SC_CLK_TCK")

# `admin` with the password `admin`, hashed with bcrypt cost 12, as the `users` file holds it.
COST_12_USERS = (
    "YWRtaW46JDJ5JDEyJDV3M2tZaXJ0a09KMEovWVdYT2NKdGVELnE1bWsxc1BIR04yeUtHenc3WlJVai9Ma1IybWppCg=="
)

CONFIGURATION = """
data_dir = "{data}"
[[listener]]
name = "http"
address = "127.0.0.1:0"
services = ["security", "management", "echo"]
redirect_to = "https"
[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["security", "management", "echo"]
"""


def client_tls():
    """A client's TLS settings; any certificate will do, the benchmarks compare it themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def basic(password):
    """The value of an Authorization header for the user `admin`."""
    return "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()


ADMIN = {"Authorization": basic("admin")}


class Server:
    """One running appliance; use it as a context manager."""

    binary = BINARY

    def __init__(self, more="", counting=True, place=None):
        """`more` is added to the configuration; `counting=False` leaves requests and connections
        uncounted; the data directory is made in `place`."""
        self.environment = {} if counting else {"ECHO_UNCOUNTED": "1"}
        # A command that is put in front of the binary, and where its standard error goes.
        self.wrapper, self.stderr = [], None
        self.folder = Path(tempfile.mkdtemp(prefix="portcullis-bench-", dir=place))
        self.process = None
        (self.folder / "portcullis.toml").write_text(
            CONFIGURATION.format(data=self.folder / "data") + more
        )

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, pause=0.02):
        """Starts the process and waits until every port accepts; looks every `pause` seconds."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [*self.wrapper, self.binary, "run", "--config", self.folder / "portcullis.toml"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--ready-file", ready], stdout=log, stderr=self.stderr or log,
                env={**os.environ, **self.environment},
            )
        until(lambda: ready.exists() or self.process.poll() is not None, 20, pause)
        if not ready.exists():
            raise RuntimeError("the appliance did not start: " + self.log())
        listeners = json.loads(ready.read_text())["listeners"]
        ports = {each["name"]: int(each["address"].rsplit(":", 1)[1]) for each in listeners}
        self.ports, self.http, self.https = ports, ports["http"], ports["https"]

    def stop(self):
        """Ends the process that `start` started, and no other."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        """The end of what the process has logged."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def use_costly_password(self):
        """Restarts with `admin` hashed at bcrypt cost 12, edited into the state by hand."""
        self.stop()
        users = self.folder / "data/state/current/management-auth-secret/users"
        users.write_text(COST_12_USERS)
        self.start()

    def url(self, path):
        return f"https://{HOST}:{self.https}{path}"

    def connect(self, **options):
        """An open HTTPS connection over which one request was answered already."""
        connection = HTTPSConnection(HOST, self.https, context=client_tls(), timeout=30, **options)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        return connection

    def call(self, method, path, body=None, media_type="application/json"):
        """One administrator's request on a connection of its own; gives the decoded answer."""
        connection = self.connect()
        try:
            return call(connection, method, path, body, media_type)
        finally:
            connection.close()

    def generations(self):
        """How many generations all listeners have together."""
        listeners = self.call("GET", "/v2/management/listeners")["listeners"]
        return sum(len(listener["generations"]) for listener in listeners)

    def cpu(self):
        """CPU seconds of the process so far, user and system, in steps of 10 ms."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text[text.rindex(")") + 2 :].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def footprint(self):
        """Threads, descriptors and resident memory (kB) of the process now."""
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        return {
            "threads": int(status["Threads"]),
            "descriptors": len(os.listdir(proc / "fd")),
            "rss_kb": int(status["VmRSS"].split()[0]),
        }


def call(connection, method, path, body=None, media_type="application/json"):
    """One administrator's request; anything but 200 is an error."""
    headers = dict(ADMIN)
    if body is not None:
        headers["Content-Type"] = media_type
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
    return json.loads(answer)


def until(condition, seconds, pause=0.02):
    """Waits for `condition`, at most so long; tells whether it came true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
