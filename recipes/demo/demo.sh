#!/bin/sh
# The main job on the demo detector: $1 is the folder of the Python that has trtforge.
set -eu
trtforge=$1/trtforge
here=recipes/demo
out=demo-out

echo "== FP16 and INT8 engines for a GeForce RTX 4090, with folders for DeepStream"
"$trtforge" build $here/demo.onnx --fp16 --labels $here/labels.txt --device rtx-4090 -o $out/fp16
"$trtforge" build $here/demo.onnx --int8 --calib calibration/demo --labels $here/labels.txt --device rtx-4090 \
    -o $out/int8

echo
echo "== Accuracy on 100 images that neither training nor calibration has seen (in ONNX Runtime)"
"$trtforge" verify $here/demo.onnx $out/fp16 $out/int8 --images $here/validation --labels $here/validation/labels.json

echo
echo "== What the INT8 graph finds"
"$trtforge" detect $out/int8 $here/validation/validation-00003.jpg -o $out/pictures
