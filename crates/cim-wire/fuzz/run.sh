#!/bin/sh
# Runs every fuzz target for a bounded time (seconds, default 20) and fails on the first finding.
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
for name in log event json; do
    mkdir -p "corpus/$name" "artifacts/$name"
    echo "fuzz $name: $seconds s"
    "$target_dir/$host/release/$name" "corpus/$name" "seeds/$name" \
        -max_total_time="$seconds" -max_len=4096 -artifact_prefix="artifacts/$name/" -print_final_stats=1 2>&1 |
        tee "artifacts/$name.log" | grep -E "^stat::|ERROR|SUMMARY|panicked" || true
    # libFuzzer ends its log with this line only when nothing was found.
    grep -q "^Done " "artifacts/$name.log"
done
