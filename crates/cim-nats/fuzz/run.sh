#!/bin/sh
# Runs the fuzz target for a bounded time (seconds, default 20) and fails on the first finding.
# Needs a nightly toolchain; builds without cargo-fuzz. Finds land in fuzz/artifacts/.
set -eu
cd "$(dirname "$0")"
seconds=${1:-20}
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address"
cargo +nightly build --release --quiet --target "$host" --target-dir "$target_dir"
mkdir -p corpus/parser artifacts/parser
echo "fuzz parser: $seconds s"
"$target_dir/$host/release/parser" corpus/parser seeds/parser \
    -max_total_time="$seconds" -max_len=6000 -artifact_prefix=artifacts/parser/ -print_final_stats=1 2>&1 |
    tee artifacts/parser.log | grep -E "^stat::|ERROR|SUMMARY|panicked" || true
# libFuzzer ends its log with this line only when nothing was found.
grep -q "^Done " artifacts/parser.log
