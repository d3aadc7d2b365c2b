#!/bin/sh
# Tells where to look, before the appliance takes over the terminal.
cat <<'TEXT'

  portcullis runs on unprivileged ports until you press Ctrl-C.

    https://localhost:8443/v2/management/host/about   user admin, password admin
    http://localhost:8080/                            the same without TLS

    curl -k -u admin:admin https://localhost:8443/v2/management/listeners

TEXT
