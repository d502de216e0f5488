# Shared by the scripts beside this file: where things live, and how to say what is going on.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CIM_CACHE="${CIM_CACHE:-$HOME/.cache/cim}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$CIM_CACHE/target}"
export GOBIN="$CIM_CACHE/bin" GOFLAGS="${GOFLAGS:--mod=mod}" GOTOOLCHAIN="${GOTOOLCHAIN:-local}"
export PATH="$CIM_CACHE/bin:$PATH"
mkdir -p "$CIM_CACHE/bin" "$CARGO_TARGET_DIR"

# Programs know the checkout they were built from (CARGO_MANIFEST_DIR), and cargo does not tell two checkouts with one target
# directory apart: in another one than before, everything of the workspace is built again.
if [ "$(cat "$CARGO_TARGET_DIR/checkout" 2>/dev/null)" != "$PWD" ]; then
  find . -name '*.rs' -not -path '*/target/*' -exec touch -c {} +
  echo "$PWD" >"$CARGO_TARGET_DIR/checkout"
fi

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Skipped work is said where it happens and counted at the end; with CIM_NO_SKIPS=1 it is a failure.
skips="$CARGO_TARGET_DIR/skips.txt"
skip() {
  printf 'skipped: %s\n' "$*" | tee -a "$skips"
  if [ "${CIM_NO_SKIPS:-0}" = 1 ]; then die "a skip counts as a failure here (CIM_NO_SKIPS=1)"; fi
}

need_cargo() {
  command -v cargo >/dev/null || die "cargo is not installed; get Rust from your distribution or with rustup (1.90 or newer)"
}

# The etcd client is built with it; a light build is not.
need_protoc() {
  type -P protoc >/dev/null || scripts/tools protoc
}
