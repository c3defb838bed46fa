#!/usr/bin/env bash
# Fuzzes everything that reads what strangers write; see fuzz/README.md.
#
#   scripts/fuzz.sh [SECONDS [keep]]
#
# Each target runs for SECONDS (600), one after another, from the corpus that is
# kept. Fails if any of them found something, and says where the input is. With
# `keep` the best of what is new becomes part of the corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
keep=${2:-}
if ! [[ $seconds =~ ^[1-9][0-9]*$ && $keep =~ ^(keep)?$ ]]; then
    echo "usage: $0 [SECONDS [keep]]" >&2
    exit 64
fi

# As many found inputs are kept for each target, and none that is longer.
most=40
longest=2048

# A small set that reaches all that was reached, the shortest of it; those that
# people have named stay.
keep_best() {
    local target=$1 best=fuzz/found/$1.best
    rm -rf "$best"
    mkdir -p "$best"
    cargo +nightly fuzz run "$target" "$best" "fuzz/corpus/$target" "fuzz/found/$target" -- \
        -set_cover_merge=1 >"fuzz/found/$target.keep.log" 2>&1
    find "fuzz/corpus/$target" -type f -name 'found-*' -delete
    find "$best" -type f -size -"$((longest + 1))"c -printf '%s %p\n' | sort -n | sed -n "1,${most}p" |
        while read -r _ input; do
            # What a person has named is there already.
            if ! find "fuzz/corpus/$target" -type f -exec cmp -s {} "$input" \; -print | grep -q .; then
                cp "$input" "fuzz/corpus/$target/found-$(sha1sum "$input" | cut -c1-12)"
            fi
        done
}

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
        if [ -n "$keep" ]; then keep_best "$target"; fi
    else
        tail -n 40 "$log"
        failed+=("$target")
    fi
done

if [ -n "${failed[*]:-}" ]; then
    printf '\nfound something: %s; the inputs are in fuzz/artifacts\n' "${failed[*]}" >&2
    exit 1
fi
