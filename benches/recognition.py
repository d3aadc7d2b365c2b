#!/usr/bin/env python3
"""Measures how many words a recogniser gets wrong, how fast it is, how large, and how late.

Reads recognition.tsv: files of the Debian package pocketsphinx-testdata, and what is said in them.
Runs the example `transcribe` on one thread and prints a table; then the example `stream`: all files
in one live session, with pauses, as fast as they were spoken, at several delays; and more and more
sessions at once, until their finals are late. Fails above the limits of wrong words, never for
being slow. Takes about six minutes; `--batch` leaves the streaming out.

`--model base` measures another model than tiny.en, and `--languages` what it makes of the languages
in languages.tsv: prompts of telephone exchanges, words of a German children's game, and a few
sentences of synthetic Japanese and Chinese, where characters are counted.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path("/usr/share/pocketsphinx/test/data")
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
    return [SAME.get(word, word) for word in plain.split()]


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


def main():
    references = sentences()
    path = [ROOT / "scripts/model.sh", "--path", OPTIONS.model]
    model = subprocess.check_output(path, text=True).strip()
    with tempfile.TemporaryDirectory() as folder:
        files = {str(wave(name, folder)): name for name in references}
        lines, memory = transcribe(model, files)
        failed = report(lines, files, references)
        size = Path(model).stat().st_size
        print(f"{Path(model).name}: {size / 1e6:.0f} MB on the disk, {memory / 1e6:.0f} MB in memory at most")
        if OPTIONS.languages:
            languages(model, folder)
        if not OPTIONS.batch:
            failed |= streaming(model, files, references)
    sys.exit(failed)


def transcribe(model, files, language="en"):
    """Name, seconds, seconds of work and text of each file; the most memory in use, in bytes."""
    command = [example("transcribe"), "--language", language, model, *files]
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
        for path, length, taken, text in transcribe(model, said, language)[0]:
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


def report(lines, files, references):
    """Prints the table of whole files; whether too many words are wrong."""
    total_errors = total_words = 0
    audio = work = 0.0
    print(f"{'file':58} {'errors':>6} {'words':>6} {'s':>6}  heard")
    for path, length, taken, text in lines:
        said, heard = words(references[files[path]]), words(text)
        wrong = errors(said, heard)
        total_errors, total_words = total_errors + wrong, total_words + len(said)
        audio, work = audio + float(length), work + float(taken)
        print(f"{files[path]:58} {wrong:6} {len(said):6} {float(length):6.2f}  {text}")
    rate = total_errors / total_words
    print(f"word error rate {rate:.1%} ({total_errors} of {total_words}), real-time factor "
          f"{work / audio:.3f} on one thread ({audio:.1f} s of audio)")
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


def streaming(model, files, references):
    said = words(" ".join(references.values()))
    heard, figures = stream(model, files)
    wrong = sum(errors(words(references[files[line[0]]]), words(line[4])) for line in heard)
    work, audio = sum(float(line[2]) for line in heard), sum(float(line[1]) for line in heard)
    rate = wrong / len(said)
    print(f"\nstreaming, each file poured in at once: word error rate {rate:.1%}, real-time factor "
          f"{work / audio:.3f}")
    failed = above(rate, STREAMING_LIMIT)
    print(f"{'max_delay':>9} {'errors':>6} {'rate':>6} {'p50':>6} {'p95':>6} {'longest':>7} {'CPU':>5}"
          "  delay of finals and cores in use, one paced session with partials")
    for delay in (1, 2, 4):
        heard, figures = stream(model, files, "--paced", "--joined", "--max-delay", str(delay))
        _, p50, p95, longest, _, load, _ = figures
        wrong = errors(said, words(heard[0][4]))
        rate = wrong / len(said)
        print(f"{delay:9} {wrong:6} {rate:6.1%} {p50:6.2f} {p95:6.2f} {longest:7.2f} {load:5.2f}")
    # The last one is the protocol's default.
    failed |= above(rate, STREAMING_LIMIT)
    print(f"{'sessions':>9} {'errors':>6} {'rate':>6} {'p50':>6} {'p95':>6} {'lag':>7} {'CPU':>5}"
          "  paced, with partials, max_delay 4")
    kept = 0
    spoken = [name for name in files if "librivox" in name]
    said = words(" ".join(references[files[name]] for name in spoken))
    for count in SESSIONS:
        options = ("--paced", "--joined", "--max-delay", "4", "--sessions", str(count))
        heard, figures = stream(model, spoken, *options)
        _, p50, p95, _, lag, load, _ = figures
        wrong = sum(errors(said, words(line[4])) for line in heard)
        rate = wrong / len(said) / count
        print(f"{count:9} {wrong:6} {rate:6.1%} {p50:6.2f} {p95:6.2f} {lag:7.2f} {load:5.2f}")
        if p95 <= 4 + LATE:
            kept = count
    print(f"{kept} sessions keep real time on this machine (p95 of the finals within max_delay)")
    return failed


if __name__ == "__main__":
    OPTIONS = options()
    main()
