//! PEM and other files inside base64, as secrets of Kubernetes and variables of CI systems hold
//! them; and what clients take of a chain.

use crate::case::Case;

pub(crate) const WRAPPED: &[Case] = &[
    Case::new("base64 of pem", "base64 -w0 leaf.key > b.key; base64 -w0 chain.crt > b.crt").up("b.key", "b.crt"),
    Case::new("base64 of pem in lines", "base64 leaf.key > b.key; base64 chain.crt | sed 's/$/\\r/' > b.crt").up("b.key", "b.crt"),
    Case::new("one of them", "base64 -w64 chain.crt > b.crt").up("leaf.key", "b.crt"),
    Case::new("base64url without padding", "base64 -w0 leaf.key | tr '+/' '-_' | tr -d = > b.key; base64 -w0 chain.crt | tr '+/' '-_' | tr -d = > b.crt").up("b.key", "b.crt"),
    Case::new("base64 of base64", "base64 -w0 leaf.key | base64 -w0 > b.key; base64 chain.crt | base64 > b.crt").up("b.key", "b.crt"),
    Case::new("in quotes", "(printf '\"'; base64 -w0 leaf.key; printf '\",\\n') > b.key; (printf \"'\"; base64 -w0 chain.crt; printf \"'\\n\") > b.crt").up("b.key", "b.crt"),
    Case::new("with its name", "echo \"tls.key: $(base64 -w0 leaf.key)\" > b.key; echo \"TLS_CRT=$(base64 -w0 chain.crt)\" > b.crt").up("b.key", "b.crt"),
    Case::new("secret as yaml in both", "printf 'apiVersion: v1\\ndata:\\n  tls.crt: %s\\n  tls.key: %s\\nkind: Secret\\nmetadata:\\n  name: front\\n  uid: 0b1c7c1e-1111-4000-8000-1234567890ab\\ntype: kubernetes.io/tls\\n' $(base64 -w0 chain.crt) $(base64 -w0 leaf.key) > s.yaml").up("s.yaml", "s.yaml"),
    Case::new("secret as yaml alone", "true").only_cert("s.yaml"),
    Case::new("secret as yaml alone as key", "true").only_key("s.yaml"),
    Case::new("secret as json in both", "printf '{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"ca.crt\":\"%s\",\"tls.crt\":\"%s\",\"tls.key\":\"%s\"},\"type\":\"kubernetes.io/tls\"}' $(base64 -w0 root.crt) $(base64 -w0 chain.crt) $(base64 -w0 leaf.key) > s.json")
        .up("s.json", "s.json")
        .gives(2, &["reordered", "root-dropped"]),
    Case::new("secret as json alone", "true").only_cert("s.json").gives(2, &["reordered", "root-dropped"]),
    Case::new("secret with stringData", "(printf 'kind: Secret\\nstringData:\\n  tls.crt: |\\n'; sed 's/^/    /' chain.crt; printf '  tls.key: |\\n'; sed 's/^/    /' leaf.key) > sd.yaml").up("sd.yaml", "sd.yaml"),
    Case::new("secret with other values", "printf 'data:\\n  password: %s\\n  tls.crt: %s\\n  tls.key: %s\\n  token: %s\\n' $(head -c 60 /dev/zero | base64 -w0) $(base64 -w0 chain.crt) $(base64 -w0 leaf.key) $(head -c 90 x.cnf | base64 -w0) > s.yaml").up("s.yaml", "s.yaml"),
    Case::new("secret with an annotation of old values", "printf 'data:\\n  tls.crt: %s\\n  tls.key: %s\\nmetadata:\\n  annotations:\\n    last: |\\n      {\"data\":{\"tls.crt\":\"%s\"}}\\n' $(base64 -w0 chain.crt) $(base64 -w0 leaf.key) $(base64 -w0 ec.crt) > s.yaml").up("s.yaml", "s.yaml"),
    Case::new("base64 of der", "openssl pkey -in leaf.key -outform DER | base64 > b.key; openssl x509 -in leaf.crt -outform DER | base64 -w0 > b.crt").up("b.key", "b.crt").gives(1, &["missing-issuer"]),
    Case::new("base64 of base64 of pkcs12", "openssl pkcs12 -export -inkey leaf.key -in chain.crt -passout pass: | base64 | base64 > b.p12").only_cert("b.p12"),
    Case::new("base64 of pem, cut", "base64 -w0 leaf.key | head -c 1200 > b.key").up("b.key", "chain.crt").refused("unfinished-block", &["keyfile", "PRIVATE KEY", "cut short"]),
    Case::new("base64 of gzip", "gzip -c leaf.key | base64 > b.key").up("b.key", "chain.crt").refused("wrong-content", &["keyfile holds an archive"]),
    Case::new("base64 of something else", "head -c 600 /dev/zero | tr '\\0' 'x' | base64 > b.key").up("b.key", "chain.crt").refused("not-understood", &["keyfile", "base64 -d"]),
    Case::new("base64 four times over", "base64 -w0 leaf.key | base64 -w0 | base64 -w0 | base64 -w0 > b.key").up("b.key", "chain.crt").refused("not-understood", &["keyfile", "base64 -d"]),
    Case::new("key as certificate, in base64", "base64 leaf.key > b.key; base64 chain.crt > b.crt").up("b.crt", "b.key").refused("swapped", &["swapped"]),
];

pub(crate) const FOR_CLIENTS: &[Case] = &[
    Case::new("must-staple", "(cat x.cnf; printf '[staple]\\nbasicConstraints=critical,CA:FALSE\\nsubjectAltName=DNS:localhost\\ntlsfeature=status_request\\n') > y.cnf; cp y.cnf x.cnf; iss st.crt leaf.key /CN=localhost staple int.crt int.key; cat int.crt >> st.crt")
        .up("leaf.key", "st.crt")
        .gives(2, &["must-staple"]),
    Case::new("status_request_v2", "sed -i s/status_request/status_request_v2/ x.cnf; iss st.crt leaf.key /CN=localhost staple int.crt int.key; cat int.crt >> st.crt")
        .up("leaf.key", "st.crt")
        .gives(2, &["must-staple"]),
    Case::new("another feature", "sed -i s/status_request_v2/10/ x.cnf; iss st.crt leaf.key /CN=localhost staple int.crt int.key; cat int.crt >> st.crt")
        .up("leaf.key", "st.crt"),
    Case::new("an intermediate with must-staple", "(cat x.cnf; printf '[istaple]\\nbasicConstraints=critical,CA:TRUE\\ntlsfeature=status_request\\n') > y.cnf; cp y.cnf x.cnf; iss ist.crt int.key '/CN=Example Test Issuing' istaple root.crt root.key; cat leaf.crt ist.crt > st.crt")
        .up("leaf.key", "st.crt"),
    Case::new("as large as nobody minds", "many 600 m.crt")
        .up("leaf.key", "m.crt"),
    Case::new("too large for small clients", "many 2000 m.crt")
        .up("leaf.key", "m.crt")
        .gives(2, &["large-chain"]),
    Case::new("too large for common clients", "many 4000 m.crt")
        .up("leaf.key", "m.crt")
        .refused("chain-too-large", &["certfile", "65000", "fewer names"]),
    Case::new("no force for the size", "true").up("leaf.key", "m.crt").forced().refused("chain-too-large", &[]),
];
