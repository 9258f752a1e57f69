# Sourced by the scripts in ci/: tools and toolchains that a check needs.

# skip REASON: reports why the check could not run, and ends it successfully.
skip() {
    echo "SKIPPED: ${0##*/} has not run: $1" >&2
    exit 0
}

# need TOOL VERSION: uses the installed command, whatever its version; otherwise installs this version
# from crates.io. It is built without optimization, because that would take longer than the tool runs.
# If it cannot be installed the check fails.
need() {
    command -v "$1" >/dev/null || CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo install --quiet --locked "$1@$2" || {
        echo "${0##*/} needs $1, which is missing and could not be installed from crates.io" >&2
        exit 1
    }
}

# Sets `toolchain` to the toolchain in the variable NIGHTLY, or to `nightly`. Without one the check is
# skipped.
need_nightly() {
    toolchain="${NIGHTLY:-nightly}"
    rustc "+$toolchain" -V 2>/dev/null || {
        rustup toolchain install --profile minimal "$toolchain" >/dev/null 2>&1 &&
            rustc "+$toolchain" -V
    } || skip "the toolchain $toolchain is not available"
}
