#!/usr/bin/env python3
"""Measures how many words a recogniser gets wrong, how fast it is, how large, and how late.

Two sets of recorded speech: recognition.tsv names files of the Debian package pocketsphinx-testdata;
the other are prompts of telephone exchanges from Debian's asterisk-core-sounds-en, half of them with
8,000 samples a second. Prints tables: whole files; lists of expected words that are of use and of
none; one live session at several delays, on a clock that goes on by CPU time alone, so that others on
the machine do not change its figures; and more and more sessions at once on the machine's own clock,
until their finals are late. Fails above the limits of wrong words, never for being slow. Takes about
twenty minutes; `--batch` leaves the live sessions out.

`--model base` measures another model than tiny.en, and `--languages` what it makes of the languages
in languages.tsv: prompts of telephone exchanges, words of a German children's game, and a few
sentences of synthetic Japanese and Chinese, where characters are counted.
"""

import argparse
import gzip
import os
import random
import re
import subprocess
import sys
import tempfile
import zoneinfo
from pathlib import Path

DATA = Path("/usr/share/pocketsphinx/test/data")
PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
PROMPT_TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LIMIT = 0.08
STREAMING_LIMIT = 0.10
SESSIONS = (2, 4, 6, 8, 12)
# A final may be this much later than wanted, in seconds, before it counts as late.
LATE = 0.2
DIGITS = "zero one two three four five six seven eight nine ten".split()
SAME = {"mr": "mister", "metres": "meters"} | {str(n): word for n, word in enumerate(DIGITS)}
WITHOUT_BLANKS = ("ja", "zh")
# One way to write what is written in several ways.
WRITTEN = {
    "you're": "you are", "i'm": "i am", "that's": "that is", "it's": "it is", "log in": "login",
    "log on": "logon", "log off": "logoff", "touch tone": "touchtone", "can not": "cannot",
    "file name": "filename", "mail box": "mailbox", "voice mail": "voicemail", "black list": "blacklist",
    "re record": "rerecord", "pre pend": "prepend", "un mute": "unmute", "umute": "unmute", "thru": "through",
}
# Prompts whose text is not what is said in them.
ELSEWISE = {"spy-iax2", "dictate/both_help", "dictate/enter_filename", "vm-intro", "unidentified-no-callback",
            "invalid", "pbx-invalid", "pbx-invalidpark", "demo-enterkeywords"}
FEWEST_WORDS = 7
# Lists of words and delays are tried with each third of the prompts.
PART = 3
# Words that the prompts have and the model may not know.
OF_USE = ("Asterisk", "Digium", "IAX", "PBX", "Waldo", "touch tone", "caller", "callers", "weasels", "extension",
          "star", "pound", "prepend", "unmute", "blacklist", "speed dial", "torture menus", "undelete", "echo test",
          "kilobit")


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", action="store_true", help="whole files alone, no live sessions")
    parser.add_argument("--model", default="tiny.en", help="as scripts/model.sh knows it")
    parser.add_argument("--languages", action="store_true", help="other languages than English too")
    parser.add_argument("--dev", action="store_true", help="the development build")
    return parser.parse_args()


def example(name):
    """The path of a built example."""
    return ROOT / "target" / ("debug" if OPTIONS.dev else "release") / "examples" / name


def words(text):
    """Words as they sound: no case, no marks, digits spelled out."""
    plain = re.sub(r"[^a-z0-9' ]", " ", text.lower())
    plain = " ".join(SAME.get(word, word) for word in plain.split())
    for one, other in WRITTEN.items():
        plain = re.sub(rf"\b{one}", other, plain)
    return plain.split()


def foreign_words(text, language):
    """The same of any language; characters where there are no blanks."""
    plain = re.sub(r"[\W_]", " ", text.lower()).replace("ё", "е")
    return list("".join(plain.split())) if language in WITHOUT_BLANKS else plain.split()


def errors(said, heard):
    """Substitutions, insertions and deletions: the edit distance."""
    row = list(range(len(heard) + 1))
    for i, expected in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(heard, 1):
            best = min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != found))
            diagonal, row[j] = row[j], best
    return row[-1]


def wave(name, folder):
    """The file itself, or raw samples with a header."""
    if not name.endswith(".raw"):
        return DATA / name
    target = Path(folder) / (Path(name).stem + ".wav")
    raw = ["-t", "raw", "-r", "16000", "-e", "signed", "-b", "16", "-c", "1", str(DATA / name)]
    subprocess.run(["sox", *raw, str(target)], check=True)
    return target


def sentences():
    """The files, and what is said in them."""
    lines = (HERE / "recognition.tsv").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


def prompts(folder):
    """Files of prompts and what is said in them; every other one has 8,000 samples a second."""
    found = {}
    for line in gzip.open(PROMPT_TEXTS, "rt"):
        name, _, text = line.strip().partition(": ")
        if name.startswith(";") or "[" in text or name in ELSEWISE or len(words(text)) < FEWEST_WORDS:
            continue
        source = PROMPTS / f"{name}.{'g722' if len(found) % 2 else 'wav'}"
        if not source.exists():
            continue
        target = Path(folder) / (name.replace("/", "-") + ".wav")
        kind = ["-f", "g722"] if source.suffix == ".g722" else []
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *kind, "-i", source, target], check=True)
        found[str(target)] = text
    return found


def expected(folder):
    """Lists of words: five, fifty and more that nobody says, and those that are said."""
    zones = [zone.split("/")[-1].replace("_", " ") for zone in sorted(zoneinfo.available_timezones()) if "/" in zone]
    others = list(dict.fromkeys(zones + sorted(sys.stdlib_module_names)))[:1000]
    random.Random(1).shuffle(others)
    lists = {"5 of no use": others[:5], "50 of no use": others[:50], f"{len(others)} of no use": others,
             "20 of use": OF_USE, "20 of use, 1000 of no use": [*OF_USE, *others][:1000]}
    for name, terms in lists.items():
        path = Path(folder) / f"{name}.txt"
        path.write_text("\n".join(terms))
        yield name, path


def main():
    path = [ROOT / "scripts/model.sh", "--path", OPTIONS.model]
    model = subprocess.check_output(path, text=True).strip()
    with tempfile.TemporaryDirectory() as folder:
        files = {str(wave(name, folder)): text for name, text in sentences().items()}
        table, memory = transcribe(model, files)
        failed = report("sentences", table, files, show=True)
        size = Path(model).stat().st_size
        print(f"{Path(model).name}: {size / 1e6:.0f} MB on the disk, {memory / 1e6:.0f} MB in memory at most")
        spoken = prompts(folder)
        failed |= report("prompts", transcribe(model, spoken)[0], spoken)
        spoken = dict(list(spoken.items())[::PART])
        print(f"and of these prompts each {PART}rd:")
        failed |= report("no list", transcribe(model, spoken)[0], spoken)
        for name, terms in expected(folder):
            failed |= report(name, transcribe(model, spoken, "--vocabulary", terms)[0], spoken)
        if OPTIONS.languages:
            languages(model, folder)
        if not OPTIONS.batch:
            failed |= streaming(model, files, spoken, folder)
    sys.exit(failed)


def transcribe(model, files, *options):
    """Name, seconds, seconds of work and text of each file; the most memory in use, in bytes."""
    command = [example("transcribe"), *options, model, *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [line.rstrip("\n").split("\t") for line in process.stdout]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"transcribe failed with {process.returncode}")
    return lines, usage.ru_maxrss * 1024


def languages(model, folder):
    """Prints a line for each language."""
    rows = [line.split("\t") for line in (HERE / "languages.tsv").read_text().splitlines()]
    print(f"\n{'language':8} {'errors':>6} {'of':>5} {'rate':>6} {'factor':>6}")
    for language in dict.fromkeys(row[0] for row in rows):
        wrong = count = 0
        audio = work = 0.0
        said = {joined(paths, folder): text for own, paths, text in rows if own == language}
        for path, length, taken, text in transcribe(model, said, "--language", language)[0]:
            expected = foreign_words(said[path], language)
            wrong += errors(expected, foreign_words(text, language))
            count += len(expected)
            audio, work = audio + float(length), work + float(taken)
        print(f"{language:8} {wrong:6} {count:5} {wrong / count:6.1%} {work / audio:6.3f}")


def joined(paths, folder):
    """The recordings one after the other as one file."""
    paths = [str(ROOT / path) for path in paths.split(" ")]
    if len(paths) == 1:
        return paths[0]
    target = Path(folder) / (Path(paths[0]).stem + "-and-more.wav")
    subprocess.run(["sox", *paths, "-r", "16000", "-c", "1", str(target)], check=True)
    return str(target)


def report(name, table, files, show=False):
    """Prints what came of whole files; whether too many words are wrong."""
    total_errors = total_words = 0
    audio = work = 0.0
    for path, length, taken, text in table:
        said, heard = words(files[path]), words(text)
        wrong = errors(said, heard)
        total_errors, total_words = total_errors + wrong, total_words + len(said)
        audio, work = audio + float(length), work + float(taken)
        if show:
            print(f"{Path(path).name:46} {wrong:3} of {len(said):3} words wrong, {float(length):6.2f} s  {text}")
    rate = total_errors / total_words
    print(f"{name}: word error rate {rate:.1%} ({total_errors} of {total_words}), real-time factor "
          f"{work / audio:.3f} on one thread ({audio:.1f} s of audio)", flush=True)
    return above(rate, LIMIT)


def above(rate, limit):
    if rate > limit:
        print(f"the word error rate is above {limit:.0%}", file=sys.stderr)
    return rate > limit


def stream(model, files, *options):
    """Runs live sessions; gives what each heard, and the figures of the last line."""
    lines = subprocess.check_output([example("stream"), model, *options, *files], text=True).splitlines()
    heard = [line.split("\t") for line in lines[:-1]]
    return heard, [float(field) for field in lines[-1].split("\t")[1:]]


def streaming(model, files, spoken, folder):
    said = words(" ".join(spoken.values()))
    of_use = Path(folder) / "20 of use.txt"
    print(f"{'max_delay':>9} {'list':>5} {'errors':>6} {'rate':>6} {'p50':>6} {'p95':>6} {'longest':>7}"
          "  delay of finals, one paced session with partials, simulated clock")
    for delay in (1, 2, 4):
        for options in ((), ("--vocabulary", of_use)):
            options = ("--simulated", "--joined", "--max-delay", str(delay), *options)
            heard, (_, p50, p95, longest, *_) = stream(model, spoken, *options)
            wrong = errors(said, words(heard[0][4]))
            rate = wrong / len(said)
            listed = "yes" if "--vocabulary" in options else "no"
            print(f"{delay:9} {listed:>5} {wrong:6} {rate:6.1%} {p50:6.2f} {p95:6.2f} {longest:7.2f}", flush=True)
    # The last one is the protocol's default.
    failed = above(rate, STREAMING_LIMIT)
    print(f"{'sessions':>9} {'errors':>6} {'rate':>6} {'p50':>6} {'p95':>6} {'lag':>7} {'CPU':>5}"
          "  paced, with partials, max_delay 4, the machine's clock")
    kept = 0
    read = {path: text for path, text in files.items() if "librivox" in path}
    said = words(" ".join(read.values()))
    for count in SESSIONS:
        options = ("--paced", "--joined", "--max-delay", "4", "--sessions", str(count))
        heard, (_, p50, p95, _, lag, load, _) = stream(model, read, *options)
        wrong = sum(errors(said, words(line[4])) for line in heard)
        rate = wrong / len(said) / count
        print(f"{count:9} {wrong:6} {rate:6.1%} {p50:6.2f} {p95:6.2f} {lag:7.2f} {load:5.2f}", flush=True)
        if p95 <= 4 + LATE:
            kept = count
    print(f"{kept} sessions keep real time on this machine (p95 of the finals within max_delay)")
    return failed


if __name__ == "__main__":
    OPTIONS = options()
    main()
