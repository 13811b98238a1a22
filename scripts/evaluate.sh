#!/bin/sh
# Makes the tables and plots of docs/evaluation.md: scripts/evaluate.sh DATA [TOOL]
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
table() { # model, kind, data
    plot=images/eval-$1-$2.svg
    printf '\n## %s: %s\n\n![the table as a plot](%s)\n\n' "$1" "$2" "$plot" >> "$new"
    "$tool" eval "$2" "examples/$1" "$data/$3" --plot "docs/$plot" >> "$new"
}
table fashion-vit perturbation two-garments
table fashion-vit segmentation two-garments
table movie-sentiment perturbation reviews.json
table movie-sentiment rationale reviews.json
cat "$new" > "$out"
