#!/usr/bin/env bash
# Proves: the tests run at least LEAST percent of the lines of src/ (90 where nothing is said) that
# are not tests themselves. It prints the figure of each file, and the lines that are not run. That
# a line is run does not say that it is checked: for that there is ci/mutants.sh. Skipped, and says
# so, without rustup's llvm-tools. Examples in the documentation are not counted.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/tools/need.sh

rustup component add llvm-tools >/dev/null 2>&1 ||
    skip "llvm-tools, which read what the compiler's own LLVM has written, cannot be had"
need cargo-llvm-cov 0.9.1
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/coverage"
# What takes a given time needs no longer than it takes to run its lines.
export PLUGMETER_STRESS_SECONDS="${PLUGMETER_STRESS_SECONDS:-2}"
export PROPTEST_CASES="${PROPTEST_CASES:-64}"
# Programs that are smaller to link; backtraces still have their lines.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only

eval "$(cargo llvm-cov show-env --sh 2>/dev/null)"
cargo llvm-cov clean --workspace
# A test runs one of them.
cargo build --locked --all-features --examples
cargo test --locked --all-features --no-fail-fast --lib --tests
cargo llvm-cov report --lcov | python3 -c '
import os, pathlib, sys
least, root = float(sys.argv[1]), pathlib.Path("src").resolve()
run, file = {}, None
for line in sys.stdin:
    key, _, value = line.strip().partition(":")
    if key == "SF":
        file = pathlib.Path(value)
    elif key == "DA" and root in file.parents:
        number, times = value.split(",")[:2]
        run.setdefault(file.relative_to(root), {})[int(number)] = int(times)
hit = all_lines = 0
for file, lines in sorted(run.items()):
    if "tests.rs" in file.parts or "tests" in file.parts:
        continue
    # Unit tests come last in a file.
    source = (root / file).read_text().splitlines()
    end = source.index("mod tests {") if "mod tests {" in source else len(source)
    lines = {number: times for number, times in lines.items() if number <= end}
    missed = [str(number) for number, times in sorted(lines.items()) if not times]
    hit, all_lines = hit + len(lines) - len(missed), all_lines + len(lines)
    print(f"{str(file):32}{len(lines):6} lines{100 - 100 * len(missed) / max(len(lines), 1):7.1f} %  ", *missed)
total = 100 * hit / all_lines
print(f"{total:.2f} % of {all_lines} lines of src are run by the tests")
sys.exit(f"that is less than {least} %" if total < least else None)
' "${LEAST:-90}"
