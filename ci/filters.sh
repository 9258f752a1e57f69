#!/usr/bin/env bash
# Proves: every filter that selects packages, targets, tests or mutants by name matches at least one:
# those in the commands of the documentation and of the scripts in ci/, and the regular expressions in
# .cargo/mutants.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

python3 ci/tools/filters.py tests
need cargo-mutants 27.1.0
python3 ci/tools/filters.py mutants
