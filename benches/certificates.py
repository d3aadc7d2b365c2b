"""Certificate bundles for the benchmarks, made by openssl: a leaf under an intermediate."""

import hashlib
import ssl
import subprocess
from dataclasses import dataclass

LEAF = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n"
BOUNDARY = "portcullis-bench-7c1f"
MEDIA_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass
class Bundle:
    """A certificate chain with its key, ready to be uploaded."""

    fingerprint: str
    upload: bytes


class Workshop:
    """Makes bundles in `folder`: two with P-256 keys, two with RSA-2048 keys."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "leaf.ext").write_text(LEAF)
        (folder / "authority.ext").write_text(AUTHORITY)
        self._key("root", "p256")
        root = ["req", "-x509", "-new", "-key", "root.key", "-subj", "/CN=bench root"]
        self._openssl(*root, "-days", "30", "-out", "root.crt")
        self._issue("intermediate", "p256", "root", "authority.ext")
        self.p256 = [self._bundle(f"p256-{number}", "p256") for number in range(2)]
        self.rsa = [self._bundle(f"rsa-{number}", "rsa") for number in range(2)]

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def _key(self, name, kind):
        options = {
            "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        }
        self._openssl("genpkey", *options[kind], "-out", f"{name}.key")

    def _issue(self, name, kind, issuer, extensions):
        self._key(name, kind)
        request = ["req", "-new", "-key", f"{name}.key", "-subj", f"/CN=bench {name}"]
        self._openssl(*request, "-out", f"{name}.csr")
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.crt"]
        sign += ["-CAkey", f"{issuer}.key", "-CAcreateserial", "-days", "30"]
        self._openssl(*sign, "-extfile", extensions, "-out", f"{name}.crt")

    def _bundle(self, name, kind):
        self._issue(name, kind, "intermediate", "leaf.ext")
        leaf = (self.folder / f"{name}.crt").read_text()
        chain = leaf + (self.folder / "intermediate.crt").read_text()
        key = (self.folder / f"{name}.key").read_text()
        der = ssl.PEM_cert_to_DER_cert(leaf)
        return Bundle(hashlib.sha256(der).hexdigest(), multipart(keyfile=key, certfile=chain))


def multipart(**parts):
    """The body that `curl -F keyfile=@… -F certfile=@…` sends."""
    body = ""
    for name, text in parts.items():
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
        body += f'name="{name}"; filename="{name}.pem"\r\n'
        body += f"Content-Type: application/octet-stream\r\n\r\n{text}\r\n"
    return (body + f"--{BOUNDARY}--\r\n").encode()
