#!/usr/bin/env bash
# Stands before rustc while fuzzers are built: our own crates report to libFuzzer what they run
# through and compare, and have their doors for fuzzers. All flags are stable ones.
set -euo pipefail
rustc="$1"
shift
crate=""
previous=""
for word in "$@"; do
    [[ "$previous" == "--crate-name" ]] && crate="$word"
    previous="$word"
done
case "$crate" in
tsdb | ingest | wire)
    exec "$rustc" "$@" --cfg fuzzing -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares \
        -Cdebug-assertions=on -Coverflow-checks=on
    ;;
storage | line | postgres) exec "$rustc" "$@" --cfg fuzzing ;;
*) exec "$rustc" "$@" ;;
esac
