#!/bin/sh
# All arms of seed 0, then of seed 1, ...; run it again to continue.
#   FACES=... BANK=... PAIRS=... OUT=... studies/coupleface/run.sh [LAST_SEED]
# FACES: folder with train.rec; BANK: made by `facedistill embed`; PAIRS: celeba_test.bin.
set -eu
here=$(dirname "$0")
seeds=""
for seed in $(seq 0 "${1:-8}"); do
    seeds="$seeds $seed"
    # shellcheck disable=SC2086
    ${FACEDISTILL:-facedistill} compare "$here/comparison.yaml" --seeds $seeds --jobs 1 \
        --set data.train="$FACES" --set teacher.bank="$BANK" --pairs celeba="$PAIRS" --out "$OUT"
done
