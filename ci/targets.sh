#!/usr/bin/env bash
# Proves: the library type-checks for Windows and macOS, where the portable probe reads processes.
# Skipped, and says so, where the targets cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

for target in x86_64-pc-windows-gnu aarch64-apple-darwin; do
    if rustup target add "$target" 2>/dev/null; then
        RUSTFLAGS="-D warnings" cargo check --locked --target "$target" --target-dir "${CARGO_TARGET_DIR:-target}/cross" --all-features
    else
        echo "SKIPPED: no standard library for $target can be had on this machine" >&2
    fi
done
