#!/usr/bin/env python3
"""Measures how many words the default recogniser gets wrong, and how fast it is.

Reads recognition.tsv: files of the Debian package pocketsphinx-testdata, and what is said in them.
Runs the example `transcribe` on one thread, prints a table, and fails above the limit.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path("/usr/share/pocketsphinx/test/data")
HERE = Path(__file__).resolve().parent
TRANSCRIBE = HERE.parent / "target/release/examples/transcribe"
LIMIT = 0.08
DIGITS = "zero one two three four five six seven eight nine ten".split()
SAME = {"mr": "mister", "metres": "meters"} | {str(n): word for n, word in enumerate(DIGITS)}


def words(text):
    """Words as they sound: no case, no marks, digits spelled out."""
    plain = re.sub(r"[^a-z0-9' ]", " ", text.lower())
    return [SAME.get(word, word) for word in plain.split()]


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


def main():
    lines = (HERE / "recognition.tsv").read_text().splitlines()
    references = dict(line.split("\t") for line in lines)
    model = subprocess.check_output([HERE.parent / "scripts/model.sh", "--path"], text=True).strip()
    with tempfile.TemporaryDirectory() as folder:
        files = {str(wave(name, folder)): name for name in references}
        table = subprocess.check_output([TRANSCRIBE, model, *files], text=True)
    total_errors = total_words = 0
    audio = work = 0.0
    print(f"{'file':58} {'errors':>6} {'words':>6} {'s':>6}  heard")
    for line in table.splitlines():
        path, length, taken, text = line.split("\t")
        said, heard = words(references[files[path]]), words(text)
        wrong = errors(said, heard)
        total_errors, total_words = total_errors + wrong, total_words + len(said)
        audio, work = audio + float(length), work + float(taken)
        print(f"{files[path]:58} {wrong:6} {len(said):6} {float(length):6.2f}  {text}")
    rate = total_errors / total_words
    print(f"word error rate {rate:.1%} ({total_errors} of {total_words}), real-time factor "
          f"{work / audio:.3f} on one thread ({audio:.1f} s of audio)")
    if rate > LIMIT:
        sys.exit(f"the word error rate is above {LIMIT:.0%}")


if __name__ == "__main__":
    main()
