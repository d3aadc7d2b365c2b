#!/bin/sh
# rustdoc with its JSON output, which the stable one has only when it is asked like this. Said to
# rustdoc alone: build scripts look at the variable too, and everything would be built again.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
