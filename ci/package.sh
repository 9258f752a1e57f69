#!/usr/bin/env bash
# Proves: the package that would be published builds from nothing but what is in it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo package --locked --allow-dirty --list
cargo package --locked --allow-dirty --all-features
