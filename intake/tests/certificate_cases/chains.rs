//! Certificate files: what is in them, in which order, and what is wrong with them.

use crate::case::Case;

pub(crate) const CERTIFICATES: &[Case] = &[
    Case::new("utf-16 from an editor", r"for f in key crt; do s=leaf.key; [ $f = crt ] && s=chain.crt; (printf '\377\376'; sed 's/$/\r/' $s | iconv -t UTF-16LE) > u16.$f; done")
        .up("u16.key", "u16.crt"),
    Case::new("old mac line ends", r"tr '\n' '\r' < chain.crt > mac.crt").up("leaf.key", "mac.crt"),
    Case::new("all on one line", r"tr '\n' ' ' < chain.crt > one.crt; tr '\n' ' ' < leaf.key > one.key").up("one.key", "one.crt"),
    Case::new("line ends spelt out", r#"perl -pe 's/\n/\\n/' chain.crt > esc.crt; perl -pe 's/\n/\\n/' leaf.key > esc.key"#).up("esc.key", "esc.crt"),
    Case::new("indented like yaml", "sed 's/^/      /' chain.crt > ind.crt; sed 's/^/\t/' leaf.key > ind.key").up("ind.key", "ind.crt"),
    Case::new("marks between joined files", r"(printf '\357\273\277'; cat leaf.crt; printf '\357\273\277'; cat int.crt) > bom.crt").up("leaf.key", "bom.crt"),
    Case::new("print of the certificate around", "openssl x509 -in leaf.crt -text > text.crt; openssl x509 -in int.crt -text >> text.crt").up("leaf.key", "text.crt"),
    Case::new("latin-1 comment", r"(printf 'Zertifikat f\374r das Ger\344t\n'; cat chain.crt) > latin.crt").up("leaf.key", "latin.crt"),
    Case::new("print of s_client", "(echo '0 s:CN = appliance.example.test'; cat leaf.crt; echo '1 s:CN = Example'; cat int.crt) > sc.crt").up("leaf.key", "sc.crt"),
    Case::new("other labels", "sed 's/ CERT/ X509 CERT/' chain.crt > x509.crt").up("leaf.key", "x509.crt"),
    Case::new("trusted certificate", "openssl x509 -in leaf.crt -trustout -addtrust serverAuth -out tr.crt; cat int.crt >> tr.crt; grep -q TRUSTED tr.crt")
        .up("leaf.key", "tr.crt")
        .gives(2, &["trust-settings-dropped"]),
    Case::new("pkcs7 pem", "openssl crl2pkcs7 -nocrl -certfile chain.crt -out c.p7b").up("leaf.key", "c.p7b"),
    Case::new("pkcs7 der", "openssl crl2pkcs7 -nocrl -certfile chain.crt -outform DER -out d.p7b").up("leaf.key", "d.p7b"),
    Case::new("pkcs7 with indefinite lengths", "echo x > x.txt; openssl cms -sign -stream -binary -nodetach -nosmimecap -in x.txt -signer leaf.crt -inkey leaf.key -certfile int.crt -outform DER -out ber.p7b; test $(head -c 2 ber.p7b | tail -c 1 | xxd -p) = 80")
        .up("leaf.key", "ber.p7b"),
    Case::new("pkcs7 without certificate", "openssl pkcs7 -in c.p7b -out /dev/null; openssl cms -data_create -in x.cnf -nosmimecap -outform PEM -out e.p7b")
        .up("leaf.key", "e.p7b")
        .refused("wrong-content", &["PKCS#7"]),
    Case::new("der files in a row", "(openssl x509 -in leaf.crt -outform DER; openssl x509 -in int.crt -outform DER) > row.der").up("leaf.key", "row.der"),
    Case::new("der with a line end", "(openssl x509 -in leaf.crt -outform DER; echo) > nl.der").up("leaf.key", "nl.der").gives(1, &["missing-issuer"]),
    Case::new("base64 without marks", "sed '/---/d' leaf.crt > bare.crt").up("leaf.key", "bare.crt").gives(1, &["missing-issuer"]),
    Case::new("der cut short", "head -c 500 row.der > cut.der").up("leaf.key", "cut.der").refused("damaged-item", &["certfile", "cut short"]),
    Case::new("second certificate cut", "(cat leaf.crt; head -n 10 int.crt) > c2.crt")
        .up("leaf.key", "c2.crt")
        .refused("unfinished-block", &["certfile", "CERTIFICATE", "no END line"]),
    Case::new("second begin line lost", "(cat leaf.crt; sed 1d int.crt) > c3.crt").up("leaf.key", "c3.crt").refused("stray-text", &["BEGIN line"]),
    Case::new("four dashes", "(cat leaf.crt; sed 's/-----BEGIN/----BEGIN/' int.crt) > c4.crt").up("leaf.key", "c4.crt").refused("damaged-marker", &["five dashes"]),
    Case::new("typographic dashes", "(cat leaf.crt; sed 's/-----/—/g' int.crt) > c5.crt").up("leaf.key", "c5.crt").refused("damaged-marker", &["five dashes"]),
    Case::new("seam short of a dash", r#"(printf '%s' "$(cat leaf.crt)"; sed '1s/-//' int.crt) > c6.crt"#).up("leaf.key", "c6.crt").refused("damaged-marker", &["line"]),
    Case::new("second certificate damaged", "(cat leaf.crt; openssl x509 -in int.crt -outform DER | perl -0777 -pe 'substr($_,30,4)=\"\\xff\\xff\\xff\\xff\"' | (echo -----BEGIN CERTIFICATE-----; base64; echo -----END CERTIFICATE-----)) > c7.crt")
        .up("leaf.key", "c7.crt")
        .refused("damaged-item", &["certificate 2 of 2", "line"]),
    Case::new("ends differ", "sed 's/END CERTIFICATE/END PRIVATE KEY/' leaf.crt > c8.crt").up("leaf.key", "c8.crt").refused("label-mismatch", &["BEGIN CERTIFICATE", "END PRIVATE KEY"]),
    Case::new("encrypted key in the certificate field", "openssl pkcs8 -topk8 -in leaf.key -passout pass:x -out enc.key").up("chain.crt", "enc.key").refused("swapped", &["swapped"]),
    Case::new("swapped as DER", "openssl pkey -in leaf.key -outform DER -out k.der").up("row.der", "k.der").refused("swapped", &["swapped"]),
    Case::new("key in both", "").up("leaf.key", "leaf.key").refused("wrong-content", &["certfile holds a private key"]),
    Case::new("request in both", "openssl req -new -key leaf.key -subj /CN=x -out csr.pem; openssl req -in csr.pem -outform DER -out csr.der")
        .up("csr.pem", "csr.pem")
        .refused("wrong-content", &["keyfile holds a certificate request"]),
    Case::new("request as DER", "").up("leaf.key", "csr.der").refused("wrong-content", &["certificate request"]),
    Case::new("request of windows", "sed 's/ CERT/ NEW CERT/' csr.pem > ncsr.pem").up("leaf.key", "ncsr.pem").refused("wrong-content", &["certificate request"]),
    Case::new("revocation list", ": > idx; printf '[ca]\ndefault_ca=d\n[d]\ndatabase=idx\ndefault_md=sha256\ndefault_crl_days=9\n' > crl.cnf; openssl ca -config crl.cnf -gencrl -cert int.crt -keyfile int.key -out l.crl")
        .up("leaf.key", "l.crl")
        .refused("wrong-content", &["revocation list"]),
    Case::new("revocation list as DER", "openssl crl -in l.crl -outform DER -out l.der").up("leaf.key", "l.der").refused("wrong-content", &["revocation list"]),
    Case::new("dh parameters", "openssl dhparam -dsaparam -out dh.pem 1024").up("leaf.key", "dh.pem").refused("wrong-content", &["Diffie-Hellman"]),
    Case::new("pgp", "printf -- '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBF\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n' > pgp.asc").up("leaf.key", "pgp.asc").refused("wrong-content", &["PGP"]),
    Case::new("html", "echo '<!DOCTYPE html><html><body>Sign in</body></html>' > page.crt").up("leaf.key", "page.crt").refused("wrong-content", &["HTML"]),
    Case::new("json", "echo '{\"certificate\": \"x\"}' > j.crt").up("leaf.key", "j.crt").refused("wrong-content", &["JSON"]),
    Case::new("curl without its @", "printf chain.crt > name.crt").up("leaf.key", "name.crt").refused("wrong-content", &["name of a file", "@"]),
    Case::new("words", "echo hello world > w.crt").up("leaf.key", "w.crt").refused("not-understood", &["certfile", "PEM"]),
    Case::new("print without block", "openssl x509 -in leaf.crt -noout -text > p.crt").up("leaf.key", "p.crt").refused("not-understood", &["readable print"]),
    Case::new("too large", "head -c 1100000 /dev/zero | tr '\\0' x > big.crt").up("leaf.key", "big.crt").refused("too-large", &["certfile", "1048576"]),
    Case::new("sixty-five certificates", "for i in $(seq 65); do cat leaf.crt; done > many.crt").up("leaf.key", "many.crt").refused("too-many-blocks", &["64"]),
    Case::new("duplicates", "cat leaf.crt leaf.crt int.crt int.crt > dup.crt").up("leaf.key", "dup.crt").gives(2, &["duplicate-dropped", "duplicate-dropped"]),
    Case::new("foreign certificate", "cat leaf.crt ec.crt int.crt > for.crt").up("leaf.key", "for.crt").gives(2, &["unrelated-dropped"]),
    Case::new("three levels in any order", "DAYS=900; openssl genrsa -out i2.key 2048; iss i2.crt i2.key '/CN=Example Second' ca int.crt int.key; openssl genrsa -out l3.key 2048; iss l3.crt l3.key /CN=deep.example.test leaf i2.crt i2.key; cat int.crt root.crt l3.crt i2.crt > deep.crt")
        .up("l3.key", "deep.crt")
        .gives(3, &["reordered", "root-dropped"]),
    Case::new("middle of the chain missing", "cat l3.crt i2.crt root.crt > hole.crt").up("l3.key", "hole.crt").gives(2, &["unrelated-dropped", "missing-issuer"]),
    Case::new("issuer of the same name, other key", "openssl genrsa -out int2.key 2048; iss int2.crt int2.key '/CN=Example Test Issuing' ca root.crt root.key; cat leaf.crt int2.crt int.crt > same.crt")
        .up("leaf.key", "same.crt")
        .gives(2, &["unrelated-dropped"]),
    Case::new("only the wrong issuer of that name", "cat leaf.crt int2.crt > wrong.crt").up("leaf.key", "wrong.crt").gives(1, &["unrelated-dropped", "missing-issuer"]),
    Case::new("cross-signed root", "openssl genrsa -out other.key 2048; openssl req -x509 -key other.key -subj '/CN=Other Root' -days 900 -out other.crt; iss cross.crt root.key '/CN=Example Test Root' ca other.crt other.key; cat leaf.crt int.crt root.crt cross.crt > cross4.crt")
        .up("leaf.key", "cross4.crt")
        .gives(3, &["root-dropped"]),
    Case::new("old and renewed certificate of one key", "dated old.crt 20190101000000Z 20200101000000Z; cat old.crt leaf.crt int.crt > renewed.crt")
        .up("leaf.key", "renewed.crt")
        .gives(2, &["second-leaf-dropped", "reordered"]),
    Case::new("expired intermediate", "openssl req -new -key int.key -subj '/CN=Example Test Issuing' -out t.csr; printf '[ca]\nbasicConstraints=critical,CA:TRUE\n' > y.cnf; mkdir -p ca; : > ca/index; echo 01 > ca/serial; dated x 20190101000000Z 20200101000000Z; openssl ca -batch -notext -config ca.cnf -extfile x.cnf -extensions ca -in <(openssl req -new -key int.key -subj '/CN=Example Test Issuing') -cert root.crt -keyfile root.key -startdate 20190101000000Z -enddate 20200101000000Z -out oldint.crt; cat leaf.crt oldint.crt > oi.crt")
        .up("leaf.key", "oi.crt")
        .gives(2, &["issuer-expired"]),
    Case::new("expires soon", "dated soon.crt $(day '-1 day') $(day '+10 days'); cat int.crt >> soon.crt").up("leaf.key", "soon.crt").gives(2, &["expires-soon"]),
    Case::new("sha-1", "HASH=-sha1 iss s1.crt leaf.key /CN=old.example.test leaf int.crt int.key; cat int.crt >> s1.crt").up("leaf.key", "s1.crt").gives(2, &["weak-signature"]),
    Case::new("rsa-pss signature", "HASH='-sha256 -sigopt rsa_padding_mode:pss' iss pss.crt leaf.key /CN=pss.example.test leaf int.crt int.key; cat int.crt >> pss.crt").up("leaf.key", "pss.crt"),
    Case::new("client certificate", "printf '[client]\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:x\n' >> x.cnf; iss cl.crt leaf.key /CN=x client int.crt int.key; cat int.crt >> cl.crt").up("leaf.key", "cl.crt").gives(2, &["no-server-auth"]),
    Case::new("mail address only", "printf '[mail]\nsubjectAltName=email:a@example.test\n' >> x.cnf; iss ml.crt leaf.key /CN=x mail int.crt int.key; cat int.crt >> ml.crt").up("leaf.key", "ml.crt").gives(2, &["no-subject-alt-name"]),
    Case::new("issuer that is no authority", "openssl genrsa -out na.key 2048; iss na.crt na.key /CN=NotCa leaf int.crt int.key; iss u.crt leaf.key /CN=x leaf na.crt na.key; cat u.crt na.crt > nac.crt").up("leaf.key", "nac.crt").gives(2, &["issuer-not-ca"]),
    Case::new("empty subject", "iss es.crt leaf.key / leaf int.crt int.key; cat int.crt >> es.crt").up("leaf.key", "es.crt"),
];
