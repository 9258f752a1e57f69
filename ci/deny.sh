#!/usr/bin/env bash
# Proves: all dependencies have a licence that anybody can use, come from crates.io, and are none of the
# crates and versions that deny.toml bans; and every dependency in a Cargo.toml is used. Also checks
# for known vulnerabilities; that part is skipped where the advisory database is not available.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need cargo-deny 0.20.2
cargo deny --locked check --hide-inclusion-graph licenses bans sources
if cargo deny fetch db 2>/dev/null; then
    cargo deny --locked check --disable-fetch advisories
else
    echo "SKIPPED: the advisory database is not available on this machine" >&2
fi

need cargo-machete 0.9.2
cargo machete --skip-target-dir
