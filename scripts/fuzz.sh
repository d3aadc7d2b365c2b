#!/bin/sh
# Fuzzes everything that reads an administrator's files, and the realtime protocol.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     600 seconds for each target
#
# cargo-fuzz asks the compiler for instrumentation that only nightly offers by itself;
# RUSTC_BOOTSTRAP=1 lets the stable one do the same. The seeds are made here, with openssl.
# FUZZ_SANITIZER=none is about twice as fast and sees panics and failed checks alone.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-600}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- certificate_bundle htpasswd configuration realtime
cargo=${CARGO:-cargo}
sanitizer=${FUZZ_SANITIZER:-address}
memory_mb=2048
slowest_s=30

root=$PWD
seeds=$root/fuzz/seeds
triple=$(rustc -vV | sed -n 's/^host: //p')

cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz

# --- seeds ---------------------------------------------------------------------------------

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# seed NAME FLAGS(octal) KEYFILE CERTFILE [PASSPHRASE]: the form that certificate_bundle reads.
seed() {
    {
        # shellcheck disable=SC2059 # the flags are an escape
        printf "\\$2"
        cat "$3"
        printf '\377|\377'
        cat "$4"
        printf '\377|\377%s' "${5:-}"
    } >"$seeds/certificate_bundle/$1"
}

leaf() { # leaf NAME KEY: a certificate of the test CA
    openssl req -new -key "$2" -subj "/CN=$1.example.test/O=Example" -out leaf.csr
    openssl x509 -req -in leaf.csr -days 3650 -CA int.crt -CAkey int.key -CAcreateserial \
        -extfile x.cnf -extensions leaf -out "$1.crt" 2>/dev/null
    cat "$1.crt" int.crt >"$1.chain"
}

certificate_seeds() {
    mkdir -p "$seeds/certificate_bundle"
    cd "$work"
    : >none
    cat >x.cnf <<'CNF'
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
[leaf]
basicConstraints=critical,CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName=DNS:appliance.example.test,DNS:localhost,IP:127.0.0.1,IP:::1
CNF
    openssl ecparam -name prime256v1 -genkey -noout -out root.key
    openssl req -new -x509 -key root.key -subj /CN=Root -days 3650 -out root.crt \
        -config /dev/null -addext basicConstraints=critical,CA:TRUE 2>/dev/null ||
        openssl req -new -x509 -key root.key -subj /CN=Root -days 3650 -out root.crt
    openssl ecparam -name prime256v1 -genkey -noout -out int.key
    openssl req -new -key int.key -subj /CN=Issuing -out int.csr
    openssl x509 -req -in int.csr -days 3650 -CA root.crt -CAkey root.key -CAcreateserial \
        -extfile x.cnf -extensions ca -out int.crt 2>/dev/null

    openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null ||
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
    openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss.key 2>/dev/null
    for curve in prime256v1 secp384r1 secp521r1 secp256k1; do
        openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$curve" -out "$curve.key"
    done
    for kind in ed25519 ed448; do openssl genpkey -algorithm "$kind" -out "$kind.key"; done

    for kind in rsa pss prime256v1 secp384r1 secp521r1 secp256k1 ed25519 ed448; do
        leaf "$kind" "$kind.key"
        seed "plain-$kind" 004 "$kind.key" "$kind.chain"
    done
    cert=prime256v1.chain key=prime256v1.key

    # Spellings of keys.
    openssl rsa -in rsa.key -traditional -out rsa.pkcs1 2>/dev/null
    openssl ec -in $key -out ec.sec1 2>/dev/null
    { openssl ecparam -name prime256v1 && cat ec.sec1; } >ec.parameters
    openssl ec -in $key -no_public -out ec.nopublic 2>/dev/null
    openssl ec -in $key -conv_form compressed -out ec.compressed 2>/dev/null
    openssl ec -in $key -param_enc explicit -out ec.explicit 2>/dev/null
    openssl pkey -in $key -outform DER -out ec.der
    openssl rsa -in rsa.key -traditional -outform DER -out rsa.der 2>/dev/null
    seed key-pkcs1 004 rsa.pkcs1 rsa.chain
    seed key-der-rsa 004 rsa.der rsa.chain
    for form in sec1 parameters nopublic compressed explicit der; do
        seed "key-$form" 004 "ec.$form" $cert
    done

    # Under a passphrase; few rounds, so that an execution stays short.
    for cipher in aes-128-cbc aes-256-cbc des3; do
        openssl pkcs8 -topk8 -in $key -v2 $cipher -iter 16 -passout pass:secret -out enc.key
        seed "encrypted-$cipher" 000 enc.key $cert secret
    done
    openssl pkcs8 -topk8 -in $key -v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 16 \
        -passout pass:secret -out enc.key && seed encrypted-sha512 000 enc.key $cert secret
    openssl pkcs8 -topk8 -in $key -scrypt -scrypt_N 16 -scrypt_r 1 -scrypt_p 1 \
        -passout pass:secret -out enc.key && seed encrypted-scrypt 000 enc.key $cert secret
    for cipher in PBE-SHA1-3DES PBE-MD5-DES PBE-SHA1-RC2-40; do
        openssl pkcs8 -topk8 -in $key -v1 $cipher -iter 16 -provider legacy -provider default \
            -passout pass:secret -out enc.key 2>/dev/null &&
            seed "encrypted-$cipher" 000 enc.key $cert secret
    done
    for cipher in -aes128 -aes256 -des3; do
        openssl ec -in $key $cipher -passout pass:secret -out enc.key 2>/dev/null
        seed "legacy$cipher" 000 enc.key $cert secret
    done
    seed encrypted-without-passphrase 004 enc.key $cert

    # Containers and the other encodings of certificates.
    openssl x509 -in prime256v1.crt -outform DER -out cert.der
    openssl x509 -in prime256v1.crt -trustout -addtrust serverAuth -out cert.trusted
    openssl crl2pkcs7 -nocrl -certfile $cert -out cert.p7b
    openssl crl2pkcs7 -nocrl -certfile $cert -outform DER -out cert.p7b.der
    for form in cert.der cert.trusted cert.p7b cert.p7b.der; do seed "$form" 004 $key $form; done
    for options in "-iter 16 -maciter" "-iter 16 -nomaciter" \
        "-iter 16 -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1" \
        "-iter 16 -legacy" "-iter 16 -keypbe NONE -certpbe NONE" "-iter 16 -nokeys"; do
        name=$(printf %s "$options" | tr -cd 'a-zA-Z0-9')
        # shellcheck disable=SC2086 # options are words
        openssl pkcs12 -export -inkey $key -in $cert -passout pass:secret $options \
            -out store.p12 2>/dev/null || continue
        seed "p12-$name" 001 none store.p12 secret
        seed "p12-$name-keyfile" 002 store.p12 none secret
    done

    # What people do to text files.
    cat $key $cert >together
    cat int.crt prime256v1.crt root.crt prime256v1.crt >shuffled
    { printf '\357\273\277' && sed 's/$/\r/' $cert; } >windows
    { printf '\377\376' && iconv -f UTF-8 -t UTF-16LE $cert; } >utf16
    tr -d '\n' <$cert >oneline
    { echo "Bag Attributes: x" && sed 's/^/  /' $cert && echo "the end"; } >indented
    grep -v -e ----- prime256v1.crt >bare
    head -c 700 prime256v1.crt >cut
    for form in together shuffled windows utf16 oneline indented bare cut; do
        seed "text-$form" 004 $key "$form"
    done
    seed alone-together 005 none together
    seed alone-keyfile 006 together none

    # Mix-ups.
    openssl pkey -in $key -pubout -out public.key
    openssl req -new -key $key -subj /CN=x -out request.csr
    seed mix-swapped 004 $cert $key
    seed mix-mismatch 004 rsa.key $cert
    seed mix-public 004 public.key $cert
    seed mix-csr 004 $key request.csr
    seed mix-empty 004 none none
    seed mix-self-signed 004 root.key root.crt
    printf 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n' >putty
    printf '%s\n' '-----BEGIN OPENSSH PRIVATE KEY-----' 'b3BlbnNzaC1rZXktdjEA' \
        '-----END OPENSSH PRIVATE KEY-----' >openssh
    printf '{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}' >jwk
    printf '<!DOCTYPE html><html><body>404</body></html>' >page
    for foreign in putty openssh jwk page; do seed "foreign-$foreign" 004 $foreign $cert; done

    # A certificate that arrives alone, for a key that waits.
    openssl pkcs8 -topk8 -nocrypt -in $key -outform DER -out waiting.der
    {
        printf '\025'
        printf '\377|\377'
        cat $cert
        printf '\377|\377'
        cat waiting.der
    } >"$seeds/certificate_bundle/waiting"
    cd "$root"
}

htpasswd_seeds() {
    dir=$seeds/htpasswd
    mkdir -p "$dir"
    hash='Q1xPUPRrDoz/40XFn7OZTumWWsjYTyia8z5eI/XzGEHRRx4utr3e2'
    count=0
    for line in "admin:\$2y\$05\$$hash" "admin:\$2a\$04\$$hash" "admin:\$2b\$15\$$hash" \
        "admin:\$2x\$10\$$hash" "admin:\$2y\$31\$$hash" "root:\$2y\$05\$$hash" \
        'admin:$apr1$abcdefgh$0123456789abcdefghijkl' 'admin:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=' \
        'admin:secret' 'admin:$argon2id$v=19$m=65536' 'admin:$y$j9T$x' 'admin' ''; do
        count=$((count + 1))
        printf '\000%s\n' "$line" >"$dir/line-$count"
        { printf '\001' && printf '%s\n' "$line" | openssl base64; } >"$dir/users-$count"
    done
    printf '\000# a remark\r\n\r\nadmin:$2y$04$%s\r\n' "$hash" >"$dir/remark"
    printf '\000admin:$2y$04$%s\nadmin:$2y$04$%s\n' "$hash" "$hash" >"$dir/two"
}

configuration_seeds() {
    dir=$seeds/configuration
    mkdir -p "$dir"
    : >"$dir/empty"
    cat >"$dir/documented" <<'TOML'
data_dir = "/srv/portcullis"
drain_timeout = "1h 30m"
max_draining = 3
shutdown_timeout = "5s"
[[listener]]
name = "http"
address = "[::]:80"
services = ["security", "management"]
redirect_to = "https"
workers = 4
[[listener]]
name = "https"
address = "0.0.0.0:443"
tls = true
services = ["security", "management", "echo"]
[[listener]]
name = "monitoring"
address = "127.0.0.1:9001"
tls = "auto"
services = ["monitoring"]
TOML
    printf 'max_drainig = 0x1F\ndrain_timeout = "soon"\n' >"$dir/misspelt"
    printf '[[listener]]\nname = "a"\naddress = "localhost"\ntls = "maybe"\n' >"$dir/wrong"
    printf 'listener = [{ name = "a", address = "[::1]:0", services = [] }]\n' >"$dir/inline"
    printf 'max_draining = "x"\nmax_draining = 3\n\n[listener]\n' >"$dir/twice"
}

realtime_seeds() {
    dir=$seeds/realtime
    mkdir -p "$dir"
    raw='{"message":"StartRecognition","audio_format":{"type":"raw","encoding":"pcm_s16le","sample_rate":16000}'
    english='"transcription_config":{"language":"en","enable_partials":true,"max_delay":2}}'
    {
        printf '%s,%s\no\nb3200\nc3200\npHe was\nfHe was not.\nu3\nb3200\n' "$raw" "$english"
        printf '{"message":"ForceEndOfUtterance"}\nF\nU4\n'
        printf '{"message":"SetRecognitionConfig","transcription_config":{"language":"en","max_delay":1}}\n'
        printf '{"message":"EndOfStream","last_seq_no":0}\nb1\nc6400\nfThe end.\ne\n.11\n'
    } >"$dir/session"
    {
        printf '@%s,"transcription_config":{"language":"en","diarization":"channel","channel_diarization_labels":["a","b"]}}\no\n' "$raw"
        for channel in a b; do
            printf '{"message":"AddChannelAudio","channel":"%s","data":"AAAA"}\n' "$channel"
            printf '{"message":"EndOfChannel","channel":"%s","last_seq_no":1}\n' "$channel"
        done
        printf 'c4\ne4\ne5\n'
    } >"$dir/channels"
    printf '%s,%s\nx\n' "$raw" "$english" >"$dir/refused"
    printf '%s,%s\no\n.2701\n.1000\nr5\n.6\n' "$raw" "$english" >"$dir/idle"
    printf '{"message":"StartRecognition","audio_format":{"type":"file"},%s\no\nb9\nj\n' "$english" >"$dir/failed"
}

rm -rf "$seeds"
certificate_seeds
htpasswd_seeds
configuration_seeds
realtime_seeds

# --- runs ----------------------------------------------------------------------------------

if [ "$seconds" = 0 ]; then
    echo "seeds are in fuzz/seeds"
    exit 0
fi

RUSTC_BOOTSTRAP=1 "$cargo" fuzz build --sanitizer "$sanitizer"

status=0
for target in "$@"; do
    corpus=fuzz/corpus/$target
    artifacts=fuzz/artifacts/$target
    log=fuzz/artifacts/$target.log
    mkdir -p "$corpus" "$artifacts"
    dictionary=""
    [ ! -f "fuzz/dictionaries/$target.dict" ] || dictionary=-dict=fuzz/dictionaries/$target.dict
    # shellcheck disable=SC2086 # no dictionary is no argument
    nice "fuzz/target/$triple/release/$target" "$corpus" "$seeds/$target" $dictionary \
        -max_total_time="$seconds" -rss_limit_mb=$memory_mb -timeout=$slowest_s -max_len=16384 \
        -artifact_prefix="$artifacts/" -print_final_stats=1 >"$log" 2>&1 || status=1
    figure() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
    echo "$target: $(figure number_of_executed_units) executions," \
        "$(figure average_exec_per_sec) a second," \
        "corpus of $(find "$corpus" -type f | wc -l) inputs from" \
        "$(find "$seeds/$target" -type f | wc -l) seeds," \
        "$(find "$artifacts" -type f | wc -l) findings, $(date -u +%F)"
done
exit $status
