"""One file for each arrow of the data flow: files in, files out, facts beside them.

A stage's ``run(draft, **inputs, **options)`` writes into the folder ``draft`` and returns facts as
JSON. Heavy imports live inside ``run``, so that planning costs nothing.
"""

MODEL = "model.onnx"  # what a stage calls the graph that it makes
