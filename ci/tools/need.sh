# Sourced by the checks beside: tools that are brought from crates.io where they are missing.

# Says why a check could not run, and ends it.
skip() {
    echo "SKIPPED: ${0##*/} has not run: $1" >&2
    exit 0
}

# need TOOL VERSION: the command, in whatever version is there, else in this one. It is built without
# optimization, which would take most of the time, for a tool that runs for seconds. A check cannot
# pass without its tool: it fails.
need() {
    command -v "$1" >/dev/null || CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo install --quiet --locked "$1@$2" || {
        echo "${0##*/} needs $1, which is missing and could not be installed from crates.io" >&2
        exit 1
    }
}

# The toolchain that NIGHTLY names, or `nightly`: sets `toolchain`. Ends the check where there is none.
need_nightly() {
    toolchain="${NIGHTLY:-nightly}"
    rustc "+$toolchain" -V 2>/dev/null || {
        rustup toolchain install --profile minimal "$toolchain" >/dev/null 2>&1 &&
            rustc "+$toolchain" -V
    } || skip "the toolchain $toolchain cannot be had"
}
