#!/bin/sh
# Fuzzes what reads packets from strangers, for SECONDS (60 unless told) each:
#   the kernel programs' parser, coverage-guided, on the host (test/fuzz/parse.c);
#   the TSP code, by its property tests, which draw other inputs each time they run.
# Corpus, logs and crashes stay in build/fuzz. Fails when anything was found, and says how to run it
# again.
set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-60}
node=node_modules/.bin/node
place=build/fuzz
mkdir -p "$place/corpus"

echo "The parser: building"
# Headers lie where they lie: unaligned access is meant, and the kernel's target allows it.
clang -g -O1 -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
  -fno-sanitize=alignment -Ibpf test/fuzz/parse.c -o "$place/parse"
$node test/fuzz/seeds.ts "$place/seeds"
echo "The parser: $seconds s"
if ! "$place/parse" -max_total_time="$seconds" -max_len=512 -artifact_prefix="$place/" \
  -print_final_stats=1 "$place/corpus" "$place/seeds" >"$place/parse.log" 2>&1; then
  tail -n 40 "$place/parse.log" >&2
  echo "Again: $place/parse FILE, with the file named above" >&2
  exit 1
fi
grep -E 'DONE|number_of_executed_units' "$place/parse.log"

echo "TSP: $seconds s"
end=$(($(date +%s) + seconds))
rounds=0
while [ "$(date +%s)" -lt "$end" ]; do
  if ! $node --test test/tsp/robustness.test.ts >"$place/tsp.log" 2>&1; then
    cat "$place/tsp.log" >&2
    echo 'Again: with the seed and path above, in the options of fc.assert' >&2
    exit 1
  fi
  rounds=$((rounds + 1))
done
echo "TSP: nothing in $rounds rounds of its property tests"
