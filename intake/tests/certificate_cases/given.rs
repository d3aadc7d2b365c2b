//! The cases that are given, by their names.

use crate::case::Case;

pub(crate) const ROWS: &[Case] = &[
    // Keys in every spelling.
    Case::new("K01", "").up("ec.key", "ec.crt").gives(1, &["self-signed", "ca-as-server"]),
    Case::new("K02-pkcs1", "openssl rsa -in leaf.key -traditional -out K02.key").up("K02.key", "chain.crt"),
    Case::new("K02-pkcs8", "").up("leaf.key", "chain.crt"),
    Case::new("K02-sec1", "openssl ec -in ec.key -out K02-sec1.key")
        .up("K02-sec1.key", "ec.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("K02-ecpkcs8", "openssl pkcs8 -topk8 -nocrypt -in ec.key -out K02-ec8.key")
        .up("K02-ec8.key", "ec.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    // What editors and exports do to files.
    Case::new(
        "K04",
        r"for f in key crt; do s=leaf.key; [ $f = crt ] && s=chain.crt; (printf '\357\273\277'; sed 's/$/\r/' $s) > K04.$f; done",
    )
    .up("K04.key", "K04.crt"),
    Case::new(
        "K10",
        r"for f in key crt; do s=leaf.key; [ $f = crt ] && s=chain.crt; (printf '\n\n'; sed 's/$/ \t/' $s) | perl -pe 'chomp if eof' > K10.$f; done",
    )
    .up("K10.key", "K10.crt"),
    Case::new(
        "K06",
        "openssl pkcs12 -export -inkey leaf.key -in chain.crt -passout pass:x -out t.p12
         openssl pkcs12 -in t.p12 -passin pass:x -nokeys -out K06.crt
         openssl pkcs12 -in t.p12 -passin pass:x -nocerts -nodes -out K06.key
         grep -q 'Bag Attributes' K06.key",
    )
    .up("K06.key", "K06.crt"),
    Case::new("K08", r#"printf '%s' "$(cat leaf.crt)" > K08.crt; cat int.crt >> K08.crt"#)
        .up("leaf.key", "K08.crt"),
    // Passwords.
    Case::new("K11", "openssl pkcs8 -topk8 -in leaf.key -v2 aes-256-cbc -passout pass:secret -out K11.key")
        .up("K11.key", "chain.crt")
        .refused("passphrase-needed", &["keyfile", "encrypted", "password", "passphrase", "openssl pkey"]),
    Case::new("K11-passphrase", "").up("K11.key", "chain.crt").passphrase("secret"),
    Case::new("K11-wrong", "")
        .up("K11.key", "chain.crt")
        .passphrase("wrong")
        .refused("wrong-passphrase", &["wrong passphrase"]),
    // Pairs that are none.
    Case::new("K13", "openssl genrsa -out K13.key 2048")
        .up("K13.key", "chain.crt")
        .refused("key-mismatch", &["do not match each other"]),
    Case::new("K14", "openssl ecparam -name prime256v1 -genkey -noout -out K14.key")
        .up("K14.key", "chain.crt")
        .refused("key-mismatch", &["do not match each other", "EC P-256", "RSA 2048"]),
    Case::new("K15a", "")
        .up("chain.crt", "leaf.key")
        .refused("swapped", &["swapped", "keyfile", "certfile"]),
    Case::new("K15b", "")
        .up("chain.crt", "chain.crt")
        .refused("wrong-content", &["keyfile holds a certificate", "no private key"]),
    Case::new("K15c", "openssl req -new -key leaf.key -subj /CN=x -out csr.pem")
        .up("leaf.key", "csr.pem")
        .refused("wrong-content", &["certfile", "certificate request"]),
    Case::new("K15d", "openssl pkey -in leaf.key -pubout -out pub.pem")
        .up("pub.pem", "chain.crt")
        .refused("wrong-content", &["keyfile", "public key"]),
    Case::new("K17", "cat leaf.key leaf.crt int.crt > K17.pem").up("K17.pem", "K17.pem"),
    Case::new("K17-certfile", "").only_cert("K17.pem"),
    Case::new("K17-keyfile", "").only_key("K17.pem"),
    // Chains.
    Case::new("K18", "cat root.crt int.crt leaf.crt > K18.crt")
        .up("leaf.key", "K18.crt")
        .gives(2, &["reordered", "root-dropped"]),
    Case::new("K20", "cat leaf.crt int.crt root.crt > K20.crt")
        .up("leaf.key", "K20.crt")
        .gives(2, &["root-dropped"]),
    Case::new("K21", "").up("leaf.key", "leaf.crt").gives(1, &["missing-issuer"]),
    // Binary files.
    Case::new(
        "K22a",
        "openssl x509 -in leaf.crt -outform DER -out d.crt; openssl pkey -in leaf.key -outform DER -out d.key
         openssl pkcs12 -export -inkey leaf.key -in chain.crt -passout pass:secret -out b.pfx",
    )
    .up("leaf.key", "d.crt")
    .gives(1, &["missing-issuer"]),
    Case::new("K22b", "").up("d.key", "chain.crt"),
    Case::new("K22c", "").up("leaf.key", "b.pfx").refused("key-sources-disagree", &["disagree", "PKCS#12"]),
    Case::new("K22c-passphrase", "")
        .up("leaf.key", "b.pfx")
        .passphrase("secret")
        .refused("key-sources-disagree", &["disagree"]),
    Case::new("K22d", "").up("b.pfx", "b.pfx").refused("passphrase-needed", &["PKCS#12", "passphrase"]),
    Case::new("K22d-alone", "").only_cert("b.pfx").refused("passphrase-needed", &["PKCS#12", "passphrase"]),
    Case::new("K22d-passphrase", "").up("b.pfx", "b.pfx").passphrase("secret"),
    Case::new("K22d-alone-passphrase", "").only_cert("b.pfx").passphrase("secret"),
    Case::new("K22d-wrong", "")
        .only_cert("b.pfx")
        .passphrase("wrong")
        .refused("wrong-passphrase", &["wrong passphrase", "PKCS#12"]),
    // Certificates.
    Case::new(
        "K25",
        "openssl req -new -key leaf.key -subj /CN=appliance.example.test -out t.csr
         openssl x509 -req -in t.csr -signkey leaf.key -days 900 -out K25.crt
         openssl x509 -in K25.crt -noout -text | grep -q 'Version: 1 '",
    )
    .up("leaf.key", "K25.crt")
    .refused("old-version", &["X.509 version 1", "version 3", "subjectAltName"]),
    Case::new(
        "K26",
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout K26.key -subj /CN=appliance.example.test -addext basicConstraints=critical,CA:TRUE -addext subjectAltName=DNS:appliance.example.test -days 900 -out K26.crt",
    )
    .up("K26.key", "K26.crt")
    .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("K29", "dated K29.crt 20190101000000Z 20200101000000Z; cat int.crt >> K29.crt")
        .up("leaf.key", "K29.crt")
        .refused("expired", &["expired", "2020-01-01T00:00:00Z", "clock says 20"]),
    Case::new("K29-force", "").up("leaf.key", "K29.crt").forced().gives(2, &["expired"]),
    Case::new("K30", "dated K30.crt 20980101000000Z 20990101000000Z; cat int.crt >> K30.crt")
        .up("leaf.key", "K30.crt")
        .gives(2, &["not-yet-valid"]),
    // Keys that TLS cannot use.
    Case::new(
        "K31",
        "openssl req -x509 -newkey rsa:1024 -nodes -keyout K31.key -subj /CN=appliance.example.test -days 900 -out K31.crt",
    )
    .up("K31.key", "K31.crt")
    .refused("rsa-size", &["RSA", "1024 bits", "at least 2048"]),
    Case::new(
        "K33a",
        "openssl ecparam -name secp256k1 -genkey -noout -out a.key; openssl req -x509 -key a.key -subj /CN=x -days 900 -out a.crt",
    )
    .up("a.key", "a.crt")
    .refused("unsupported-curve", &["secp256k1 is not supported", "P-256", "P-384", "P-521"]),
    Case::new(
        "K33b",
        "openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out b.key; openssl req -x509 -key b.key -subj /CN=x -days 900 -out b.crt",
    )
    .up("b.key", "b.crt")
    .refused("explicit-curve", &["explicit curve parameters"]),
    Case::new(
        "K34",
        "openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out p.key; openssl req -x509 -key p.key -subj /CN=x -days 900 -out p.crt",
    )
    .up("p.key", "p.crt")
    .refused("rsa-pss", &["RSASSA-PSS", "plain RSA"]),
    // Uncommon keys that work.
    Case::new("K35-rsa4096", "openssl genrsa -out r4.key 4096; self r4.key r4.crt")
        .up("r4.key", "r4.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("K35-p384", "openssl ecparam -name secp384r1 -genkey -noout -out e3.key; self e3.key e3.crt")
        .up("e3.key", "e3.crt")
        .gives(1, &["self-signed", "ca-as-server"]),
    Case::new("K35-p521", "openssl ecparam -name secp521r1 -genkey -noout -out e5.key; self e5.key e5.crt")
        .up("e5.key", "e5.crt")
        .gives(1, &["self-signed", "ca-as-server", "uncommon-key"]),
    Case::new("K35-ed25519", "openssl genpkey -algorithm ED25519 -out ed.key; self ed.key ed.crt")
        .up("ed.key", "ed.crt")
        .gives(1, &["self-signed", "ca-as-server", "uncommon-key"]),
    Case::new("K38a", "openssl req -x509 -key leaf.key -subj /CN=appliance.example.test -days 900 -out K38a.crt")
        .up("leaf.key", "K38a.crt")
        .gives(1, &["self-signed", "ca-as-server", "no-subject-alt-name"]),
    Case::new(
        "K38b",
        "openssl req -x509 -key leaf.key -subj /CN=192.0.2.10 -addext subjectAltName=IP:192.0.2.10,IP:2001:db8::10 -days 900 -out K38b.crt",
    )
    .up("leaf.key", "K38b.crt")
    .gives(1, &["self-signed", "ca-as-server"]),
    // The form, as far as it reaches the intake.
    Case::new("F01-no-certfile", "").only_key("leaf.key").refused("missing", &["certfile missing", "keyfile"]),
    Case::new("F01-no-keyfile", "").only_cert("chain.crt").refused("missing", &["keyfile missing", "certfile"]),
    Case::new("F01-empty", ": > empty")
        .up("empty", "chain.crt")
        .refused("empty", &["keyfile is empty", "certfile"]),
    Case::new("F01-blank", r"printf ' \r\n\t\n' > blank")
        .up("leaf.key", "blank")
        .refused("blank", &["certfile is empty", "keyfile"]),
];
