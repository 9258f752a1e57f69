# Sourced by the checks beside: tools that are brought from crates.io when they are missing.

# Says why a check has not run, and ends it. In CI, where .ci/run claims that it runs, that fails.
skip() {
    echo "SKIPPED: ${0##*/} has not run: $1" >&2
    exit 0
}

# need TOOL VERSION: the command, in any version that is there, else this one. Built without
# optimization: that is most of the time, and it runs for seconds.
need() {
    command -v "$1" >/dev/null || CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo install --quiet --locked "$1@$2" || {
        echo "$1 is missing, and could not be installed from crates.io" >&2
        exit 1
    }
}
