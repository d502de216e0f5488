# Sourced by every script here: where things are kept and which versions of outside tools are used.
# Nothing is written into the checkout. CIM_CACHE moves everything.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export CIM_CACHE=${CIM_CACHE:-$HOME/.cache/cim}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CIM_CACHE/target}
export PATH=$CIM_CACHE/bin:$PATH
export PYTHONDONTWRITEBYTECODE=1

NATS_SERVER_VERSION=v2.15.2
NATS_CLI_VERSION=v0.5.1
PYTHON=$CIM_CACHE/venv/bin/python

say() { printf '%s\n' "$*" >&2; }

need_cargo() {
    command -v cargo >/dev/null && return
    say "cargo is missing: install Rust 1.90 or newer (https://rustup.rs), then run this again"
    exit 2
}

# The Go tool chain with its caches beside everything else; -modcacherw keeps `rm -r` of the cache possible.
cached_go() {
    GOBIN=$CIM_CACHE/bin GOCACHE=$CIM_CACHE/go/build GOMODCACHE=$CIM_CACHE/go/modules GOFLAGS=-modcacherw \
        GOTOOLCHAIN=local go "$@"
}
