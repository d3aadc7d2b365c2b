#!/usr/bin/env python3
"""Lets the appliance transcribe a thousand recordings and eight people, and tells whether it rests as before.

    make long-run                                   # 1,000 jobs, 8 sessions of ten minutes
    python3 benches/long_run.py                     # the same
    python3 benches/long_run.py --jobs 60 --seconds 30
    PORTCULLIS=target/debug/portcullis python3 benches/long_run.py --jobs 60 --seconds 30

The jobs come four at a time, in every form and of many lengths: sentences, a minute, an hour that is
mostly silence, two channels at 96 kHz. The sessions come after them, at the pace of speech, while jobs
go on. Memory at rest is what the process holds once it has stopped giving back. Ends with 1 if a job
or a session was lost or has not its words, or if the process keeps more at rest than 1.3 times what it
kept after the first ten jobs.
"""

import argparse
import asyncio
import concurrent.futures
import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True  # so that a run leaves nothing in the repository

from recognition import DATA, errors, sentences, words
from report import Neighbours, Report
from server import HOST, ROOT, Server, until
from sessions import BINARY, START, TEXT, Socket, ready

PROGRAM = Path(os.environ.get("PORTCULLIS", ROOT / "target/release/portcullis"))
MEMORY_FACTOR = 1.3
# The first ten jobs; what they touch, code and the model, stays.
FIRST = 10
MILESTONES = (100, 500)
AT_ONCE = 4
SESSIONS = 8
# Everything is given back by then, with a margin.
REST = 150
# A transcript in which more than this share is wrong has not the words of its recording.
WRONG = 0.5
CONFIG = '{"type":"transcription","transcription_config":{"language":"en"}}'

CONFIGURATION = """
data_dir = "{data}"
[speech]
model = "{model}"
[realtime]
max_sessions = 16
max_sessions_per_address = 16
[[listener]]
name = "http"
address = "127.0.0.1:0"
services = ["security", "management", "batch"]
[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["security", "management", "batch"]
[[listener]]
name = "realtime"
address = "127.0.0.1:0"
services = ["realtime"]
"""

# What a recording is made into: the end of its name, and how ffmpeg makes it.
FORMS = {
    "16k.wav": "-c:a pcm_s16le",
    "8k-mulaw.wav": "-ar 8000 -c:a pcm_mulaw",
    "96k-stereo.wav": "-ar 96000 -ac 2 -c:a pcm_s24le",
    "44k-float.wav": "-ar 44100 -c:a pcm_f32le",
    "48k-stereo.flac": "-ar 48000 -ac 2",
    "64k.mp3": "-ar 44100 -b:a 64k",
    "vorbis.ogg": "-ar 44100 -c:a libvorbis",
    "voice.opus": "-c:a libopus",
    "aac.m4a": "-ar 48000 -c:a aac",
    "voice.webm": "-c:a libopus",
    "22k.aiff": "-ar 22050",
}


class Target(Server):
    """The appliance itself with the services for speech."""

    binary = PROGRAM

    def __init__(self):
        super().__init__()
        model = subprocess.check_output([ROOT / "scripts/model.sh", "--path"], text=True).strip()
        text = CONFIGURATION.format(data=self.folder / "data", model=model)
        (self.folder / "portcullis.toml").write_text(text)

    def at_rest(self):
        """Waits until the process gives nothing more back; its footprint then."""
        lowest, since = self.footprint(), time.monotonic()
        end = since + REST
        while time.monotonic() < min(end, since + REST / 3):
            time.sleep(1)
            now = self.footprint()
            if now["rss_kb"] < lowest["rss_kb"] * 0.99:
                lowest, since = now, time.monotonic()
        return self.footprint()


class Peak:
    """Looks at the process every fifth of a second."""

    def __init__(self, server):
        self.server, self.stopping, self.most = server, threading.Event(), {}
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_exception):
        self.stopping.set()
        self.thread.join()

    def _look(self):
        while not self.stopping.wait(0.2):
            for name, value in self.server.footprint().items():
                self.most[name] = max(self.most.get(name, 0), value)


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)


def recorded():
    """The sentences of one voice: what is said, by file."""
    return {name: text for name, text in sentences().items() if name.startswith("librivox")}


def recordings(folder):
    """The sentences in every form, and long ones: lists of (file, what is said in it)."""
    said = recorded()
    short, long = [], []
    for (form, how), (name, text) in itertools.product(FORMS.items(), said.items()):
        target = folder / f"{Path(name).stem[-4:]}-{form}"
        ffmpeg("-i", DATA / name, *how.split(), target)
        short.append((target, text))
    # Neighbours differ in form and in length.
    short = [short[index * 7 % len(short)] for index in range(len(short))]
    minute = folder / "minute.wav"
    subprocess.run(["sox", *(DATA / name for name in said), folder / "all.wav"], check=True)
    ffmpeg("-stream_loop", "2", "-i", folder / "all.wav", minute)
    text = " ".join(said.values())
    for form in ("64k.mp3", "96k-stereo.wav", "voice.webm"):
        target = folder / f"minute-{form}"
        ffmpeg("-i", minute, *FORMS[form].split(), target)
        long.append((target, " ".join([text] * 3)))
    hour = folder / "hour.flac"
    ffmpeg("-i", minute, "-af", "apad=whole_dur=3600", hour)
    long.append((hour, " ".join([text] * 3)))
    return short, long


class Jobs:
    """Posts recordings, waits for each and compares what was heard."""

    def __init__(self, server, short, long):
        self.server, self.long = server, itertools.cycle(long)
        self.short = itertools.cycle(short)
        self.count, self.lost, self.without, self.wrong, self.said = 0, [], [], 0, 0
        # CPU seconds of the appliance, and seconds of speech that it transcribed for them.
        self.cpu, self.speech = 0.0, 0.0
        self.local = threading.local()

    def request(self, method, path, body=None, headers=None):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection(HOST, self.server.http, timeout=300)
        connection = self.local.connection
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()

    def post(self, path):
        edge = "a-boundary-that-is-in-no-recording"
        part = f'--{edge}\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
        head = part % ("config", "") + CONFIG + "\r\n"
        head += part % ("data_file", f'; filename="{path.name}"')
        body = head.encode() + path.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        status, answer = self.request("POST", "/v2/jobs", body, headers)
        if status != 201:
            raise RuntimeError(f"{status} {answer[:200]}")
        return json.loads(answer)["id"]

    def one(self, recording):
        """A job from its upload to its transcript: (file, words said, words heard, problem)."""
        path, said = recording
        try:
            job = self.post(path)
            state = {}
            while state.get("status", "running") == "running":
                time.sleep(0.1)
                state = json.loads(self.request("GET", f"/v2/jobs/{job}")[1])["job"]
            if state["status"] != "done":
                return path, [], [], f"{path.name}: {state}"
            heard = self.request("GET", f"/v2/jobs/{job}/transcript?format=txt")[1]
            self.speech += min(60, state.get("duration", 0))
            return path, words(said), words(heard), None
        except (OSError, http.client.HTTPException, RuntimeError, KeyError, ValueError) as err:
            self.local.__dict__.clear()
            return path, [], [], f"{path.name}: {err!r}"

    def run(self, count, long=False):
        """So many jobs, four at once; where `long`, a long one in each twenty-five."""
        chosen = [
            next(self.long) if long and number % 25 == 12 else next(self.short)
            for number in range(count)
        ]
        cpu = self.server.cpu()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for path, said, heard, problem in pool.map(self.one, chosen):
                self.count += 1
                if problem:
                    self.lost.append(problem)
                    continue
                wrong = errors(said, heard)
                self.wrong, self.said = self.wrong + wrong, self.said + len(said)
                if wrong > WRONG * len(said):
                    self.without.append(f"{path.name}: {' '.join(heard)[:200]!r}")
        self.cpu += self.server.cpu() - cpu


class Speaker(Socket):
    """A live session that keeps its words."""

    def hear(self, opcode, payload):
        super().hear(opcode, payload)
        if opcode != TEXT:
            return
        message = json.loads(payload)
        if message["message"] == "AddTranscript":
            self.heard.append(message["metadata"]["transcript"])
        elif message["message"] == "EndOfTranscript":
            self.over.set()


async def speak(port, number, audio, said, seconds):
    """One session at the pace of speech: (words said, words heard, problem)."""
    socket = await Speaker.open(port)
    socket.heard, socket.over = [], asyncio.Event()
    socket.send(TEXT, START.encode())
    await asyncio.wait_for(socket.started.wait(), 60)
    # Each begins elsewhere, and ends with the recording that it is in.
    spoken, sent, due = [], 0, time.monotonic()
    begun = due
    for turn in itertools.count(number):
        if time.monotonic() - begun > seconds or socket.ended:
            break
        samples, text = audio[turn % len(audio)], said[turn % len(audio)]
        for at in range(0, len(samples), 6400):
            socket.send(BINARY, samples[at:at + 6400])
            sent += 1
            due += 0.2
            await asyncio.sleep(max(0, due - time.monotonic()))
        spoken.append(text)
    socket.send(TEXT, json.dumps({"message": "EndOfStream", "last_seq_no": sent}).encode())
    try:
        await asyncio.wait_for(socket.over.wait(), 120)
        problem = None
    except asyncio.TimeoutError:
        problem = f"no EndOfTranscript; {socket.ended}"
    socket.close()
    return words(" ".join(spoken)), words("".join(socket.heard)), problem


async def live(server, seconds):
    """Eight sessions at once."""
    said = recorded()
    # Behind each sentence a second in which nobody speaks.
    audio = [(DATA / name).read_bytes()[44:] + bytes(32000) for name in said]
    port = server.ports["realtime"]
    speakers = (speak(port, number, audio, list(said.values()), seconds) for number in range(SESSIONS))
    return await asyncio.gather(*speakers)


def megabytes(footprint):
    return footprint["rss_kb"] / 1000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1000, help="how many (1,000)")
    parser.add_argument("--seconds", type=int, default=600, help="how long the sessions last (600)")
    chosen = parser.parse_args()
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} is missing: cargo build --release --bin portcullis")
    report, others, load = Report(PROGRAM), Neighbours(), os.getloadavg()[0]
    begun = time.monotonic()
    with Target() as server, Peak(server) as peak:
        ready(server)
        jobs = Jobs(server, *recordings(server.folder))
        show = lambda what, now: report.add(
            what, f"{megabytes(now):.0f} MB, {now['threads']} threads, {now['descriptors']} descriptors"
        )
        show("at start", server.at_rest())
        jobs.run(FIRST)
        first = server.at_rest()
        bound = first["rss_kb"] * MEMORY_FACTOR

        def settled(what):
            now = server.at_rest()
            show(what, now)
            print(f"{time.monotonic() - begun:5.0f} s  {what}: {megabytes(now):.0f} MB", flush=True)
            if now["rss_kb"] > bound:
                report.wrong.append(f"{what}: {megabytes(now):.0f} MB, {bound / 1000:.0f} MB allowed")
            return now

        show(f"at rest after {FIRST} jobs", first)
        for milestone in [each for each in MILESTONES if each < chosen.jobs] + [chosen.jobs]:
            jobs.run(milestone - jobs.count, long=True)
            settled(f"at rest after {milestone:,} jobs")
        cost = f"{jobs.cpu / max(1, jobs.speech):.3f} s"
        if chosen.seconds:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                talking = pool.submit(asyncio.run, live(server, chosen.seconds))
                # One job each ten seconds beside them.
                while not talking.done():
                    jobs.run(1)
                    concurrent.futures.wait([talking], 10)
                talks = talking.result()
            after = settled(f"at rest after {SESSIONS} sessions of {chosen.seconds} s beside jobs")
            report.must_be_zero(
                "sessions without their EndOfTranscript",
                len([each for each in talks if each[2]]), str([each[2] for each in talks])
            )
            rates = [errors(said, heard) / len(said) for said, heard, _ in talks]
            report.must("word error rate of the sessions, the least and the most", max(rates) <= WRONG,
                        f"{min(rates):.1%}, {max(rates):.1%}")
        else:
            after = server.footprint()
        report.add("CPU of the appliance for a second of speech in a job", cost)
        report.add("the most, of each", f"{peak.most['rss_kb'] / 1000:.0f} MB, "
                   f"{peak.most['threads']} threads, {peak.most['descriptors']} descriptors")
        for name in ("threads", "descriptors"):
            report.must(f"{name} at rest, after the first {FIRST} jobs and at the end",
                        after[name] <= first[name] + 4, f"{first[name]}, {after[name]}")
        report.must_be_zero(f"jobs lost, of {jobs.count:,}", len(jobs.lost), str(jobs.lost[:3]))
        report.must_be_zero("jobs without their words", len(jobs.without), str(jobs.without[:3]))
        report.add("word error rate of the jobs", f"{jobs.wrong / max(1, jobs.said):.1%}")
    report.conclude(
        f"{chosen.jobs:,} jobs; {time.monotonic() - begun:.0f} s; load {load:.1f} before; "
        f"{others.share():.0%} of the CPU time went to other programs, the appliance's included"
    )


if __name__ == "__main__":
    main()
