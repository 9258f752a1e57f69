#!/usr/bin/env bash
# Proves: what this crate is built on may be used by anybody, comes from crates.io, and is none of
# the crates and versions that deny.toml bans; and no dependency is listed that nothing uses.
# Known vulnerabilities are looked for too where the database of advisories can be had; where it
# cannot, that part says that it was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need cargo-deny 0.20.2
cargo deny --locked check --hide-inclusion-graph licenses bans sources
if cargo deny fetch db 2>/dev/null; then
    cargo deny --locked check --disable-fetch advisories
else
    echo "SKIPPED: the database of advisories cannot be had on this machine" >&2
fi

cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, pathlib, re, sys
package = json.load(sys.stdin)["packages"][0]
def text(*folders):
    return "\n".join(f.read_text() for d in folders for f in sorted(pathlib.Path(d).rglob("*.rs")))
source, checks = text("src"), text("src", "tests", "benches", "examples")
unused = []
for dependency in package["dependencies"]:
    name = (dependency["rename"] or dependency["name"]).replace("-", "_")
    used_in = checks if dependency["kind"] == "dev" else source
    if not re.search(rf"\b{name}\b(::|;| as )", used_in):
        unused.append(name)
sys.exit("dependencies that nothing uses: " + ", ".join(unused) if unused else None)
'
