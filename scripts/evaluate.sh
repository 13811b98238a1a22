#!/bin/sh
# Makes the tables of docs/evaluation.md: scripts/evaluate.sh DATA [TOOL]
# DATA is a folder with two-garments/ (truth.json, pictures, masks) and reviews.json. What stands above
# the line "<!-- tables -->" is kept.
set -eu
cd "$(dirname "$0")/.."
data=${1:?usage: scripts/evaluate.sh DATA [TOOL]}
tool=${2:-build/release/tiba-onnx}
out=docs/evaluation.md
new=$(mktemp)
trap 'rm -f "$new"' EXIT
sed '/^<!-- tables -->$/q' "$out" > "$new"
table() { # heading, kind, model, data
    printf '\n## %s\n\n' "$1" >> "$new"
    "$tool" eval "$2" "$3" "$4" >> "$new"
}
table "fashion-vit: perturbation" perturbation examples/fashion-vit "$data/two-garments"
table "fashion-vit: segmentation" segmentation examples/fashion-vit "$data/two-garments"
table "movie-sentiment: perturbation" perturbation examples/movie-sentiment "$data/reviews.json"
table "movie-sentiment: rationale" rationale examples/movie-sentiment "$data/reviews.json"
cat "$new" > "$out"
