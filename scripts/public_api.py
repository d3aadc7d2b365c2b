#!/usr/bin/env python3
"""Compares the public interface of the package `portcullis` with docs/public-api.txt.

    scripts/public_api.py            # fails and shows the difference
    scripts/public_api.py --update   # writes the file

cargo-public-api lists one crate at a time and names what the crate re-exports without its contents.
So the items of the workspace's other crates are put where `portcullis` re-exports them, under the names
that a program of its own uses. What still bears the name of another crate there is a type that such a
program meets but cannot name.
"""

import difflib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "public-api.txt"
CRATES = ("portcullis_actors", "portcullis_web")
# Of rustdoc 1.95 and cargo-public-api 0.52 (scripts/tools.sh).
FORMAT = 57

WORDS = re.compile(r"^(?:#\[[^\]]*\] |pub |const |async |unsafe |fn |struct |enum |trait |mod |type |static )+")


def build():
    """Has rustdoc write its JSON for the crates of the workspace; gives the folder."""
    environment = os.environ | {
        "RUSTDOC": str(ROOT / "scripts" / "rustdoc_json.sh"),
        "RUSTDOCFLAGS": "-Z unstable-options --output-format json",
    }
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "doc", "--quiet", "--workspace", "--no-deps", "--lib"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "doc"


def listed(path):
    """The lines of cargo-public-api for one crate."""
    command = ["cargo", "public-api", "--rustdoc-json", str(path), "-sss", "--color", "never"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def subject(line):
    """The path of the item that a line is about, with what follows it."""
    if line.startswith("impl"):
        return line.rpartition(" for ")[2] if " for " in line else re.sub(r"^impl(?:<.*?>)? ", "", line)
    return WORDS.sub("", line)


def is_below(path, top):
    return path.startswith(top) and not re.match(r"\w", path[len(top) :])


def re_exports(document):
    """What `portcullis` re-exports: by name, the path in its `use`, and that of its definition."""
    index, paths, found = document["index"], document["paths"], {}

    def walk(module, path):
        for number in module["inner"]["module"]["items"]:
            item = index[str(number)]
            if "module" in item["inner"]:
                walk(item, f"{path}::{item['name']}")
            elif use := item["inner"].get("use"):
                defined = paths.get(str(use["id"]), {"path": [use["source"]]})["path"]
                found[f"{path}::{use['name']}"] = use["source"], "::".join(defined)

    walk(index[str(document["root"])], "portcullis")
    return found


def interface(folder):
    """The lines of the whole interface; `None` if rustdoc writes another format."""
    document = json.loads((folder / "portcullis.json").read_text())
    if document["format_version"] != FORMAT:
        return None
    sources = re_exports(document)
    own = {name: both for name, both in sources.items() if both[0].split("::")[0] in CRATES}
    lines_of = {crate: listed(folder / f"{crate}.json") for crate in CRATES}
    renames = {path: name for name, both in own.items() for path in both}
    renames = sorted(renames.items(), key=lambda pair: -len(pair[0]))

    def as_named(line):
        for source, name in renames:
            line = re.sub(rf"\b{source}\b", name, line)
        return line

    lines = []
    for line in listed(folder / "portcullis.json"):
        name = line.removeprefix("pub use ")
        if name not in own:
            lines.append(as_named(line))
            continue
        # An item may have two paths in its crate: it is listed under both, and what is below it under that of
        # its definition.
        paths = own[name]
        below = [
            item
            for item in lines_of[paths[0].split("::")[0]]
            if any(is_below(subject(item), path) for path in paths)
        ]
        if not below:
            sys.exit(f"public_api.py: {paths[0]} is not in the list of its crate")
        lines += dict.fromkeys(map(as_named, below))
    return lines


def main():
    lines = interface(build())
    if lines is None:
        print("public_api.py: not compared, since this rustdoc writes another format", file=sys.stderr)
        return
    text = "".join(f"{line}\n" for line in lines)
    if "--update" in sys.argv[1:]:
        KEPT.write_text(text)
        return
    kept = KEPT.read_text()
    if text == kept:
        return
    difference = difflib.unified_diff(
        kept.splitlines(), text.splitlines(), str(KEPT.relative_to(ROOT)), "the code", lineterm="", n=0
    )
    print("\n".join(difference))
    sys.exit("the public interface has changed; if that is meant: scripts/public_api.py --update")


if __name__ == "__main__":
    main()
