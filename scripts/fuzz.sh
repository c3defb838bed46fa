#!/usr/bin/env bash
# Fuzzes everything that reads what strangers write; see fuzz/README.md.
#
#   scripts/fuzz.sh [SECONDS]
#
# Each target runs for SECONDS (600), one after another. Fails if any of them
# found something, and says where the input is.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "usage: $0 [SECONDS]" >&2; exit 64; }

cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
cargo +nightly fuzz build

failed=()
for target in $(cargo fuzz list); do
    printf '\n== %s, for %s s\n' "$target" "$seconds"
    # What is found is put into the first folder, and the seeds stay as they are.
    mkdir -p "fuzz/found/$target"
    log=fuzz/found/$target.log
    if nice cargo +nightly fuzz run "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -fork=0 -print_final_stats=1 >"$log" 2>&1; then
        grep -E 'number_of_executed_units|average_exec_per_sec' "$log"
    else
        tail -n 40 "$log"
        failed+=("$target")
    fi
done

if [ -n "${failed[*]:-}" ]; then
    printf '\nfound something: %s; the inputs are in fuzz/artifacts\n' "${failed[*]}" >&2
    exit 1
fi
