#!/bin/sh
# The main job on the demo detector: $1 is the folder of the Python that has trtforge.
set -eu
bin=$1
here=$(dirname "$0")
out=demo-out
photos=$here/../../calibration/demo
for precision in fp16 "int8 --calib $photos"; do
    name=${precision%% *}
    echo "== trtforge build demo.onnx --$precision --device rtx-4090"
    # shellcheck disable=SC2086 # the precision brings its options along
    "$bin/trtforge" build "$here/demo.onnx" --$precision --labels "$here/labels.txt" --device rtx-4090 -o "$out/$name"
    echo
done
ls -l "$out/int8"
