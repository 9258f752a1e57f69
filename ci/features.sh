#!/usr/bin/env bash
# Proves: with every combination of features neither compiler nor clippy has anything to say about
# the library and all that is beside it; the library can be built with the oldest versions of its
# dependencies that Cargo.toml lets a host choose, and by the oldest compiler that it names. The latter
# is skipped, and says so, where that compiler cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

combinations=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import itertools, json, sys
features = sorted(set(json.load(sys.stdin)["packages"][0]["features"]) - {"default"})
for size in range(len(features) + 1):
    for some in itertools.combinations(features, size):
        print(",".join(some))
')
while read -r features; do
    echo "--- ${features:-no feature}"
    cargo clippy --locked --quiet --all-targets --no-default-features --features "$features" -- -D warnings
done <<<"$combinations"

oldest=$(cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["packages"][0]["rust_version"])')
echo "--- Rust $oldest"
if rustc -V | grep -q "^rustc $oldest\."; then
    echo "that is the compiler of everything here"
elif rustup toolchain install --profile minimal "$oldest" >/dev/null 2>&1; then
    cargo "+$oldest" check --locked --lib --all-features
else
    echo "SKIPPED: Rust $oldest cannot be had on this machine" >&2
fi

# In a copy, since it has another Cargo.lock. To ask cargo for old versions is not stable yet.
echo "--- the oldest dependencies"
target=$(cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Cargo.toml src templates README.md benches examples tests "$copy"
cd "$copy"
RUSTC_BOOTSTRAP=1 cargo update --quiet -Zdirect-minimal-versions
cargo tree --depth 1 --edges normal --all-features
cargo check --lib --all-features --target-dir "$target/oldest"
