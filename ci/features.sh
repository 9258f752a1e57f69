#!/usr/bin/env bash
# Proves: clippy has no warning with each feature, tests included, and none in the library with two that
# have code in common; the published package builds with the oldest dependencies that its Cargo.toml
# allows, and with the oldest compiler that it names. The last is skipped where that compiler is not
# available. With PAIRS=1 all pairs are checked, tests included, which takes ten minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

need cargo-hack 0.6.46
if [ -n "${PAIRS:-}" ]; then
    cargo hack clippy --locked --quiet -p plugmeter --all-targets \
        --feature-powerset --depth 2 --exclude-features default -- -D warnings
else
    cargo hack clippy --locked --quiet -p plugmeter --all-targets \
        --each-feature --exclude-features default --exclude-all-features -- -D warnings
    for pair in http,store http,tokio opentelemetry,otlp otlp,prometheus portable,store store,testing; do
        cargo clippy --locked --quiet -p plugmeter --no-default-features --features "$pair" -- -D warnings
    done
fi

oldest=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
echo "--- Rust $oldest"
if rustc -V | grep -q "^rustc $oldest\."; then
    echo "this is the compiler of all other checks"
elif rustup toolchain install --profile minimal "$oldest" >/dev/null 2>&1; then
    cargo "+$oldest" check --locked -p plugmeter --lib --all-features
else
    echo "SKIPPED: Rust $oldest is not available on this machine" >&2
fi

# In the unpacked package, because it needs another Cargo.lock. RUSTC_BOOTSTRAP, because the option is
# unstable.
echo "--- the oldest dependencies"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cargo package --quiet --locked --allow-dirty --no-verify -p plugmeter
tar -xzf "$target"/package/plugmeter-[0-9]*.crate -C "$copy" --strip-components 1
cd "$copy"
RUSTC_BOOTSTRAP=1 cargo update --quiet -Zdirect-minimal-versions
cargo tree --depth 1 --edges normal --all-features
cargo check --lib --all-features --target-dir "$target/oldest"
