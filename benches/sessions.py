"""Realtime sessions in number: what an idle one and a silent one costs, and how soon pings are answered."""

import asyncio
import json
import struct
import time

from report import number, spread
from server import HOST, Server, until

REALTIME = """
[realtime]
max_sessions = 4000
max_sessions_per_address = 4000
[[listener]]
name = "realtime"
address = "127.0.0.1:0"
services = ["realtime"]
"""
START = json.dumps({
    "message": "StartRecognition",
    "audio_format": {"type": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
    "transcription_config": {"language": "en", "enable_partials": True},
})
# A fifth of a second.
SILENCE = bytes(6400)
PERIOD = 0.2
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Socket:
    """One WebSocket client (RFC 6455), as little of it as counting needs."""

    @classmethod
    async def open(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection(HOST, port)
        self.writer.write(
            b"GET /v2/en HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"the WebSocket was refused: {head[:80]!r}")
        self.acknowledged, self.pongs, self.ended, self.pinged = 0, [], None, 0.0
        self.started = asyncio.Event()
        self.listening = asyncio.create_task(self.listen())
        return self

    def send(self, opcode, payload):
        # A mask of zeros is one: the payload stays as it is.
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack(">H", length)
        self.writer.write(bytes([0x80 | opcode]) + size + bytes(4) + payload)

    def ping(self):
        self.pinged = time.monotonic()
        self.send(PING, b"")

    async def listen(self):
        try:
            while True:
                first, second = await self.reader.readexactly(2)
                length = second & 0x7F
                if length == 126:
                    length = struct.unpack(">H", await self.reader.readexactly(2))[0]
                elif length == 127:
                    length = struct.unpack(">Q", await self.reader.readexactly(8))[0]
                self.hear(first & 0xF, await self.reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError) as err:
            self.ended = self.ended or repr(err)

    def hear(self, opcode, payload):
        if opcode == PONG:
            self.pongs.append(time.monotonic() - self.pinged)
        elif opcode == PING:
            self.send(PONG, payload)
        elif opcode == CLOSE:
            self.ended = repr(payload)
        elif opcode == TEXT:
            message = json.loads(payload)
            if message["message"] == "AudioAdded":
                self.acknowledged = message["seq_no"]
            elif message["message"] == "RecognitionStarted":
                self.started.set()
            elif message["message"] == "Error":
                self.ended = payload.decode()

    def close(self):
        self.listening.cancel()
        self.writer.close()


def sessions(report, quick):
    """2,000 WebSockets that say nothing; then 500 sessions that send silence at its own pace."""
    seconds = 5 if quick else 20
    with Server(REALTIME) as server:
        asyncio.run(measure(report, server, 500 if quick else 2000, seconds, False))
    with Server(REALTIME) as server:
        asyncio.run(measure(report, server, 100 if quick else 500, seconds, True))


async def measure(report, server, count, seconds, speaking):
    ready(server)
    port = server.ports["realtime"]
    warm = await opened(port, 5, speaking)
    for socket in warm:
        socket.close()
    until(lambda: False, 1)
    before = server.footprint()
    sockets = await opened(port, count, speaking)
    cpu, begun = server.cpu(), time.monotonic()
    sent = await hold(sockets, seconds, speaking)
    cpu, took = server.cpu() - cpu, time.monotonic() - begun
    after = server.footprint()
    what = f"{count} sessions that send silence" if speaking else f"{count} idle WebSockets"
    each = (after["rss_kb"] - before["rss_kb"]) / count
    report.add(f"{what}: memory of each", f"{number(each)} kB")
    report.add(f"{what}: threads, all in all", str(after["threads"]))
    report.add(f"{what}: CPU of the appliance", f"{cpu / took:.0%} of one core")
    pongs = [pong for socket in sockets for pong in socket.pongs]
    report.add(f"{what}: pings answered, p50 / p99 / max", spread(pongs), "p99 below 100 ms")
    ended = [socket.ended for socket in sockets if socket.ended]
    report.must_be_zero(f"{what}: ended by the appliance", len(ended), str(ended[:1]))
    if speaking:
        lost = sum(sent - socket.acknowledged for socket in sockets)
        report.must_be_zero(f"{what}: messages of {sent * count:,} not acknowledged", lost)
    for socket in sockets:
        socket.close()


def ready(server):
    """Waits until the model has been read."""
    def healthy():
        found = server.call("GET", "/v2/management/health")
        return "being read" not in json.dumps(found)

    until(healthy, 20)


async def opened(port, count, speaking):
    sockets = []
    for at in range(0, count, 50):
        some = range(at, min(at + 50, count))
        sockets += await asyncio.gather(*(Socket.open(port) for _ in some))
    if speaking:
        for socket in sockets:
            socket.send(TEXT, START.encode())
        for socket in sockets:
            await asyncio.wait_for(socket.started.wait(), 30)
    return sockets


async def hold(sockets, seconds, speaking):
    """Sends what is due each period, spread over it, and 20 pings a second; gives the messages sent
    by each."""
    periods = int(seconds / PERIOD)
    share, pings = 20, 0
    due = time.monotonic()
    for _ in range(periods):
        for part in range(share):
            due += PERIOD / share
            await asyncio.sleep(max(0, due - time.monotonic()))
            if speaking:
                for socket in sockets[part::share]:
                    socket.send(BINARY, SILENCE)
            if part % 5 == 0:
                sockets[pings * 7919 % len(sockets)].ping()
                pings += 1
    for _ in range(100):
        await asyncio.sleep(0.1)
        if all(socket.acknowledged == periods or not speaking for socket in sockets):
            break
    return periods
