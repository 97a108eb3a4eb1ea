#!/bin/sh
# Trains a study: all arms of seed 0, then of seed 1, ...; run it again to continue.
#   sh .../studies/run.sh NAME LAST_SEED OUT
# In a folder (or one with links) where `faces` holds train.rec and celeba_test.bin, and `bank` was made by
#   facedistill embed --import faces/edgeface_s_train.npy --data faces --out bank
set -eu
comparison=$(dirname "$0")/$1/comparison.yaml
seeds=""
for seed in $(seq 0 "$2"); do
    seeds="$seeds $seed"
    # shellcheck disable=SC2086
    ${FACEDISTILL:-facedistill} compare "$comparison" --seeds $seeds --jobs 1 --out "$3"
done
