#!/usr/bin/env bash
# Proves: the package that would be published builds from the files that it contains.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo package --locked --allow-dirty -p plugmeter --list
cargo package --locked --allow-dirty -p plugmeter --all-features
