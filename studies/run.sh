#!/bin/sh
# Trains a study: all arms of seed 0, then of seed 1, ...; run it again to continue.
#   FACES=... BANK=... PAIRS=... OUT=... sh studies/run.sh NAME [LAST_SEED] [--set ...]
# FACES: folder with train.rec; BANK: made by `facedistill embed`; PAIRS: celeba_test.bin.
set -eu
comparison=$(dirname "$0")/$1/comparison.yaml
last=${2:-8}
shift 2 2>/dev/null || shift
seeds=""
for seed in $(seq 0 "$last"); do
    seeds="$seeds $seed"
    # shellcheck disable=SC2086
    ${FACEDISTILL:-facedistill} compare "$comparison" --seeds $seeds --jobs 1 \
        --set data.train="$FACES" --set teacher.bank="$BANK" --pairs celeba="$PAIRS" --out "$OUT" "$@"
done
