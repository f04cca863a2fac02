#!/usr/bin/env bash
# Runs fuzz targets: run.sh SECONDS TARGET… ("all" for every one). New inputs are kept in
# $FUZZ_FOUND (default: fuzz-found in the target directory), what fails beside them.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
seconds="${1:?seconds for each target}"
shift
storage=(backup index log part record rows sealed series version)
targets=("$@")
[[ "${targets[*]}" == all ]] && targets=("${storage[@]}" line postgres remote promql)

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$here/../../target/fuzz}"
export CARGO_INCREMENTAL=0
found="${FUZZ_FOUND:-$CARGO_TARGET_DIR/fuzz-found}"
build() {
    RUSTC_WRAPPER="$here/rustc.sh" cargo build --locked --manifest-path "$here/Cargo.toml" "$@"
}

for target in "${targets[@]}"; do
    case "$target" in
    line | postgres | remote | promql)
        build --features doors --bin "$target"
        program="$target"
        ;;
    *)
        build --bin storage
        program=storage
        ;;
    esac
    mkdir -p "$found/$target"
    echo "== $target, $seconds s"
    FUZZ_TARGET="$target" "$CARGO_TARGET_DIR/debug/$program" "$found/$target" \
        "$here/corpus/$target" -max_total_time="$seconds" -jobs=0 -timeout=10 \
        -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 -artifact_prefix="$found/$target-"
done
