//! Files of the same kinds as the given cases, in other spellings.

use crate::case::Case;

/// Key files: encodings, encryption, damage.
pub(crate) const KEYS: &[Case] = &[
    Case::new("pkcs1 der", "openssl rsa -in leaf.key -traditional -outform DER -out k.der").up("k.der", "chain.crt"),
    Case::new("sec1 der", "openssl ec -in ec.key -outform DER -out ec.der")
        .up("ec.der", "ec.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("sec1 without public point", "openssl ec -in ec.key -no_public -out np.key")
        .up("np.key", "ec.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("compressed point in the key", "openssl ec -in ec.key -conv_form compressed -out cp.key")
        .up("cp.key", "ec.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new(
        "compressed point in key and certificate",
        "openssl ec -in ec.key -conv_form compressed -out cc.key; openssl ec -in ec.key -pubout -conv_form compressed -out cc.pub
         openssl req -new -key ec.key -subj /CN=x -out r.csr; openssl x509 -req -in r.csr -CA int.crt -CAkey int.key -set_serial 77 -force_pubkey cc.pub -extfile x.cnf -extensions leaf -days 90 -out cc.crt; cat int.crt >> cc.crt",
    )
    .up("cc.key", "cc.crt")
    .gives(2, &["uncommon-key"]),
    Case::new("label says PKCS#1, content is PKCS#8", "sed 's/ PRIVATE/ RSA PRIVATE/' leaf.key > lie.key")
        .up("lie.key", "chain.crt"),
    Case::new("label says PKCS#8, content is PKCS#1", "openssl rsa -in leaf.key -traditional | sed 's/RSA //' > lie.key")
        .up("lie.key", "chain.crt"),
    Case::new("key twice", "cat leaf.key leaf.key > twice.key").up("twice.key", "chain.crt"),
    Case::new("foreign key beside the right one", "cat ec.key leaf.key > two.key").up("two.key", "chain.crt"),
    Case::new("two keys and both certificates", "cat ec.crt chain.crt > both.crt")
        .up("two.key", "both.crt")
        .refused("several-keys", &["keyfile holds 2 private keys"]),
    Case::new("comments and a key", "(echo '# the key of the appliance'; cat leaf.key; echo '# end') > c.key").up("c.key", "chain.crt"),
    Case::new("key after DH PARAMETERS", "(openssl dhparam -dsaparam 1024; cat leaf.key) > dh.key").up("dh.key", "chain.crt"),
    Case::new("rsa 3072", "openssl genrsa -out r3.key 3072; self r3.key r3.crt")
        .up("r3.key", "r3.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("rsa with exponent 3", "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3 -out e3.key; self e3.key e3.crt")
        .up("e3.key", "e3.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("rsa 2047", "openssl genrsa -out r2047.key 2047; self r2047.key r2047.crt")
        .up("r2047.key", "r2047.crt")
        .refused("rsa-size", &["2047 bits"]),
    Case::new("rsa with three primes", "openssl genrsa -primes 3 -out r3p.key 2048; self r3p.key r3p.crt")
        .up("r3p.key", "r3p.crt")
        .refused("unsupported-key-type", &["more than two primes"]),
    Case::new("secp224r1", "openssl ecparam -name secp224r1 -genkey -out k.key; self k.key k.crt")
        .up("k.key", "k.crt")
        .refused("unsupported-curve", &["secp224r1"]),
    Case::new("brainpool", "openssl ecparam -name brainpoolP256r1 -genkey -out k.key; self k.key k.crt")
        .up("k.key", "k.crt")
        .refused("unsupported-curve", &["brainpoolP256r1"]),
    Case::new("explicit parameters in PKCS#8", "openssl pkcs8 -topk8 -nocrypt -in b.key -out b8.key 2>/dev/null || { openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out b.key; openssl req -x509 -key b.key -subj /CN=x -out b.crt; openssl pkcs8 -topk8 -nocrypt -in b.key -out b8.key; }")
        .up("b8.key", "b.crt")
        .refused("explicit-curve", &["explicit"]),
    Case::new("explicit parameters in the certificate only", "openssl ec -in b.key -param_enc named_curve -out bn.key")
        .up("bn.key", "b.crt")
        .refused("explicit-curve", &["certfile", "explicit"]),
    Case::new("ed448", "openssl genpkey -algorithm ED448 -out k.key; self k.key k.crt")
        .up("k.key", "k.crt")
        .refused("unsupported-key-type", &["Ed448"]),
    Case::new("x25519", "openssl genpkey -algorithm X25519 -out k.key")
        .up("k.key", "chain.crt")
        .refused("unsupported-key-type", &["X25519"]),
    Case::new("dsa", "openssl dsaparam -genkey -noout -out k.key 1024")
        .up("k.key", "chain.crt")
        .refused("unsupported-key-type", &["DSA"]),
    Case::new("openssh key", "rm -f ssh ssh.pub; ssh-keygen -q -t ed25519 -N '' -f ssh")
        .up("ssh", "chain.crt")
        .refused("wrong-content", &["OpenSSH private key", "ssh-keygen"]),
    Case::new("ssh public key", "").up("ssh.pub", "chain.crt").refused("wrong-content", &["SSH public key"]),
    Case::new("rsa public key", "openssl rsa -in leaf.key -RSAPublicKey_out -out rp.pem")
        .up("rp.pem", "chain.crt")
        .refused("wrong-content", &["RSA public key"]),
    Case::new("public key as DER", "openssl pkey -in leaf.key -pubout -outform DER -out pub.der")
        .up("pub.der", "chain.crt")
        .refused("wrong-content", &["keyfile holds a public key"]),
    Case::new("parameters only", "openssl ecparam -name prime256v1 -out only.pem")
        .up("only.pem", "ec.crt")
        .refused("wrong-content", &["EC parameters"]),
    Case::new("key cut in the middle", "head -c 900 leaf.key > cut.key")
        .up("cut.key", "chain.crt")
        .refused("unfinished-block", &["keyfile", "PRIVATE KEY", "line 1", "cut short"]),
    Case::new("key without its tenth line", "sed 10d leaf.key > gap.key")
        .up("gap.key", "chain.crt")
        .refused("damaged-item", &["cut short", "announces"]),
    Case::new("key with a stray character", "sed '5s/./*/' leaf.key > star.key")
        .up("star.key", "chain.crt")
        .refused("damaged-text", &["line 5", "no base64"]),
    Case::new("key with other numbers", "openssl rsa -in leaf.key -traditional -outform DER | perl -0777 -pe 'substr($_,900,1)^=\"\\x01\"' > bad.der")
        .up("bad.der", "chain.crt")
        .refused("unusable-key", &["numbers"]),
    Case::new("plus signs lost in a form", "tr + ' ' < leaf.key > plus.key")
        .up("plus.key", "chain.crt")
        .refused("damaged-text", &["keyfile"]),
];

/// Passwords and containers.
pub(crate) const PASSWORDS: &[Case] = &[
    Case::new("legacy aes-256", "openssl rsa -in leaf.key -traditional -aes256 -passout pass:secret -out l.key")
        .up("l.key", "chain.crt")
        .passphrase("secret"),
    Case::new("legacy without passphrase", "")
        .up("l.key", "chain.crt")
        .refused("passphrase-needed", &["encrypted", "passphrase", "openssl pkey"]),
    Case::new("legacy with wrong passphrase", "").up("l.key", "chain.crt").passphrase("nope").refused("wrong-passphrase", &[]),
    Case::new("legacy aes-128", "openssl rsa -in leaf.key -traditional -aes128 -passout pass:secret -out l1.key")
        .up("l1.key", "chain.crt")
        .passphrase("secret"),
    Case::new("legacy aes-192", "openssl rsa -in leaf.key -traditional -aes192 -passout pass:secret -out l2.key")
        .up("l2.key", "chain.crt")
        .passphrase("secret"),
    Case::new("legacy 3des, CRLF", r"openssl rsa -in leaf.key -traditional -des3 -passout pass:secret | sed 's/$/\r/' > l3.key")
        .up("l3.key", "chain.crt")
        .passphrase("secret"),
    Case::new("legacy des", "openssl rsa -provider legacy -provider default -in leaf.key -traditional -des -passout pass:secret -out l4.key")
        .up("l4.key", "chain.crt")
        .passphrase("secret"),
    Case::new("legacy ec after parameters", "(openssl ecparam -name prime256v1; openssl ec -in ec.key -aes256 -passout pass:secret) > l5.key; grep -q Proc-Type l5.key")
        .up("l5.key", "ec.crt")
        .passphrase("secret")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("legacy camellia", "openssl rsa -in leaf.key -traditional -camellia256 -passout pass:secret -out l6.key")
        .up("l6.key", "chain.crt")
        .passphrase("secret")
        .refused("unsupported-encryption", &["CAMELLIA-256-CBC"]),
    Case::new("passphrase with the line end of its file", "").up("l.key", "chain.crt").passphrase("secret\r\n"),
    Case::new("pkcs8 as DER", "openssl pkcs8 -topk8 -in leaf.key -outform DER -passout pass:secret -out e.der")
        .up("e.der", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 as DER without passphrase", "")
        .up("e.der", "chain.crt")
        .refused("passphrase-needed", &["encrypted"]),
    Case::new("pkcs8 scrypt", "openssl pkcs8 -topk8 -in leaf.key -scrypt -passout pass:secret -out e1.key")
        .up("e1.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 3des, sha1", "openssl pkcs8 -topk8 -in leaf.key -v2 des3 -v2prf hmacWithSHA1 -passout pass:secret -out e2.key")
        .up("e2.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 sha512, 600000 rounds", "openssl pkcs8 -topk8 -in leaf.key -v2 aes-128-cbc -v2prf hmacWithSHA512 -iter 600000 -passout pass:secret -out e3.key")
        .up("e3.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 with too many rounds", "openssl pkcs8 -topk8 -in leaf.key -iter 3000000 -passout pass:secret -out e4.key")
        .up("e4.key", "chain.crt")
        .passphrase("secret")
        .refused("too-much-work", &["3000000 rounds", "2000000"]),
    Case::new("pkcs8 with PBE-MD5-DES", "openssl pkcs8 -provider legacy -provider default -topk8 -in leaf.key -v1 PBE-MD5-DES -passout pass:secret -out e5.key")
        .up("e5.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 with PBE-SHA1-DES", "openssl pkcs8 -provider legacy -provider default -topk8 -in leaf.key -v1 PBE-SHA1-DES -passout pass:secret -out e6.key")
        .up("e6.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 with PBE-SHA1-3DES", "openssl pkcs8 -topk8 -in leaf.key -v1 PBE-SHA1-3DES -passout pass:secret -out e7.key")
        .up("e7.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 with PBE-SHA1-2DES", "openssl pkcs8 -topk8 -in leaf.key -v1 PBE-SHA1-2DES -passout pass:secret -out e8.key")
        .up("e8.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 with PBE-SHA1-RC2-128", "openssl pkcs8 -provider legacy -provider default -topk8 -in leaf.key -v1 PBE-SHA1-RC2-128 -passout pass:secret -out e9.key")
        .up("e9.key", "chain.crt")
        .passphrase("secret"),
    Case::new("pkcs8 with RC4", "openssl pkcs8 -provider legacy -provider default -topk8 -in leaf.key -v1 PBE-SHA1-RC4-128 -passout pass:secret -out e10.key")
        .up("e10.key", "chain.crt")
        .passphrase("secret")
        .refused("unsupported-encryption", &["RC4"]),
    Case::new("ed25519 encrypted", "openssl genpkey -algorithm ED25519 -out ed.key; self ed.key ed.crt; openssl pkcs8 -topk8 -in ed.key -passout pass:secret -out ede.key")
        .up("ede.key", "ed.crt")
        .passphrase("secret")
        .gives(1, &["self-signed", "ca-as-server", "uncommon-key"]),
    Case::new("passphrase with umlauts", "openssl pkcs8 -topk8 -in leaf.key -passout pass:grüße -out u.key")
        .up("u.key", "chain.crt")
        .passphrase("grüße"),
    Case::new("passphrase for a plain key", "")
        .up("leaf.key", "chain.crt")
        .passphrase("secret")
        .gives(2, &["passphrase-unused"]),
    Case::new("empty passphrase field", "").up("leaf.key", "chain.crt").passphrase(""),
    Case::new("pfx legacy rc2 and 3des", "openssl pkcs12 -export -legacy -inkey leaf.key -in chain.crt -passout pass:secret -out old.pfx")
        .only_cert("old.pfx")
        .passphrase("secret"),
    Case::new("pfx all 3des, umlauts", "openssl pkcs12 -export -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg SHA1 -inkey leaf.key -in chain.crt -passout pass:grüße -out 3des.pfx")
        .only_cert("3des.pfx")
        .passphrase("grüße"),
    Case::new("pfx as keyfile alone", "openssl pkcs12 -export -inkey leaf.key -in chain.crt -passout pass:secret -out n.pfx")
        .only_key("n.pfx")
        .passphrase("secret"),
    Case::new("pfx as keyfile, chain as certfile", "").up("n.pfx", "chain.crt").passphrase("secret"),
    Case::new("pfx as keyfile, other certificate", "")
        .up("n.pfx", "ec.crt")
        .passphrase("secret")
        .refused("key-mismatch", &[]),
    Case::new("two pfx that differ", "")
        .up("n.pfx", "old.pfx")
        .passphrase("secret")
        .refused("key-sources-disagree", &["differ"]),
    Case::new("pfx with an empty keyfile", ": > none").up("none", "n.pfx").passphrase("secret"),
    Case::new("pfx in base64 without marks", "base64 n.pfx > n.b64").only_cert("n.b64").passphrase("secret"),
    Case::new("pfx with PEM marks", "(echo -----BEGIN PKCS12-----; base64 n.pfx; echo -----END PKCS12-----) > n.pem")
        .only_cert("n.pem")
        .passphrase("secret"),
    Case::new("pfx without encryption", "openssl pkcs12 -export -keypbe NONE -certpbe NONE -inkey leaf.key -in chain.crt -passout pass: -out plain.pfx")
        .only_cert("plain.pfx"),
    Case::new("pfx with empty password", "openssl pkcs12 -export -inkey leaf.key -in chain.crt -passout pass: -out ep.pfx").only_cert("ep.pfx"),
    Case::new("pfx without code", "openssl pkcs12 -export -nomac -inkey leaf.key -in chain.crt -passout pass:secret -out nomac.pfx")
        .only_cert("nomac.pfx")
        .passphrase("secret"),
    Case::new("pfx without code, wrong passphrase", "")
        .only_cert("nomac.pfx")
        .passphrase("nope")
        .refused("wrong-passphrase", &["PKCS#12"]),
    Case::new("pfx without key", "openssl pkcs12 -export -nokeys -in chain.crt -passout pass:secret -out nk.pfx")
        .only_cert("nk.pfx")
        .passphrase("secret")
        .refused("store-without-key", &["no private key"]),
    Case::new("key beside a pfx without key", "").up("leaf.key", "nk.pfx").passphrase("secret"),
    Case::new("pfx without certificate", "openssl pkcs12 -export -nocerts -inkey leaf.key -passout pass:secret -out nc.pfx")
        .only_cert("nc.pfx")
        .passphrase("secret")
        .refused("wrong-content", &["certfile holds a private key", "no certificate"]),
    Case::new("pfx with the root, leaf only by key", "cat leaf.crt int.crt root.crt > full.crt; openssl pkcs12 -export -inkey leaf.key -in full.crt -passout pass:secret -out f.pfx")
        .only_cert("f.pfx")
        .passphrase("secret")
        .gives(2, &["root-dropped"]),
    Case::new("pfx with sha512 code", "openssl pkcs12 -export -macalg SHA512 -inkey leaf.key -in chain.crt -passout pass:secret -out s5.pfx")
        .only_cert("s5.pfx")
        .passphrase("secret"),
    Case::new("pfx with a PBMAC1 code", PBMAC1).only_cert("pbmac1.pfx").passphrase("secret"),
    Case::new("pfx with a PBMAC1 code, wrong passphrase", "")
        .only_cert("pbmac1.pfx")
        .passphrase("nope")
        .refused("wrong-passphrase", &["PKCS#12"]),
    Case::new("pfx cut short", "head -c 1500 n.pfx > cut.pfx")
        .only_cert("cut.pfx")
        .passphrase("secret")
        .refused("damaged-item", &["cut short"]),
    Case::new("pfx with too many rounds", "openssl pkcs12 -export -iter 5000000 -nomac -inkey leaf.key -in chain.crt -passout pass:secret -out it.pfx")
        .only_cert("it.pfx")
        .passphrase("secret")
        .refused("too-much-work", &["5000000 rounds"]),
    Case::new("java pkcs12", "rm -f j.p12 && keytool -importkeystore -srckeystore n.pfx -srcstoretype PKCS12 -srcstorepass secret -destkeystore j.p12 -deststoretype PKCS12 -deststorepass secret1")
        .only_cert("j.p12")
        .passphrase("secret1"),
    Case::new("java keystore", "rm -f j.jks && keytool -importkeystore -srckeystore n.pfx -srcstoretype PKCS12 -srcstorepass secret -destkeystore j.jks -deststoretype JKS -deststorepass secret1")
        .only_cert("j.jks")
        .passphrase("secret1")
        .refused("wrong-content", &["Java keystore", "keytool"]),
];

/// Puts the newest kind of code on a file without one: openssl before 3.4 cannot write it.
const PBMAC1: &str = r#"python3 - <<'X'
import hashlib, hmac
def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    length = bytes([n]) if n < 128 else bytes([0x82, n >> 8, n & 255])
    return bytes([tag]) + length + body
def content(node):
    skip = 2 if node[1] < 128 else 2 + (node[1] & 127)
    return node[skip:]
def oid(text):
    return tlv(6, bytes.fromhex(text))
pfx = open("nomac.pfx", "rb").read()
inner = content(pfx)
info = inner[3:]
data = content(content(content(info)[11:]))
salt = b"saltsalt"
key = hashlib.pbkdf2_hmac("sha256", b"secret", salt, 2048, 32)
sha256 = tlv(48, oid("2a864886f70d0209"), tlv(5))
kdf = tlv(48, oid("2a864886f70d01050c"), tlv(48, tlv(4, salt), tlv(2, bytes([8, 0])), tlv(2, bytes([32])), sha256))
algorithm = tlv(48, oid("2a864886f70d01050e"), tlv(48, kdf, sha256))
mac = tlv(48, tlv(48, algorithm, tlv(4, hmac.digest(key, data, "sha256"))), tlv(4, b"none"), tlv(2, bytes([1])))
open("pbmac1.pfx", "wb").write(tlv(48, inner, mac))
X"#;
