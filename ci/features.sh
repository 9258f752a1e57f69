#!/usr/bin/env bash
# Proves: every combination of features compiles without a warning, the library and all that is
# beside it; and so does the library with the oldest versions of its dependencies that Cargo.toml
# lets a host choose.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="-D warnings" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/features"
combinations=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import itertools, json, sys
features = sorted(set(json.load(sys.stdin)["packages"][0]["features"]) - {"default"})
for size in range(len(features) + 1):
    for some in itertools.combinations(features, size):
        print(",".join(some))
')
while read -r features; do
    echo "--- features: ${features:-none}"
    cargo check --locked --quiet --lib --no-default-features --features "$features"
done <<<"$combinations"
while read -r features; do
    cargo check --locked --quiet --all-targets --no-default-features --features "$features"
done <<<"$combinations"

# In a copy: another Cargo.lock. That cargo may be told so is not stable yet.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Cargo.toml src README.md benches examples tests "$copy"
cd "$copy"
RUSTC_BOOTSTRAP=1 cargo update --quiet -Zdirect-minimal-versions
cargo tree --depth 1 --edges normal --all-features
RUSTFLAGS="" cargo check --lib --all-features
