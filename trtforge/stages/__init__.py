"""One file for each arrow of the data flow: files in, files out, facts beside them.

A stage's ``run(draft, inputs, options)`` writes files into the folder ``draft`` and returns its
facts. Inputs, options and facts are frozen dataclasses next to ``run``. Heavy imports live inside
``run``, so that planning costs nothing.
"""

MODEL = "model.onnx"  # the name of the graph that a stage writes
