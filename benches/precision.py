"""The same models in Python's onnxruntime: the peer of `cargo xtask bench precision`.

    python benches/precision.py MODEL...

The models take uint8 pixels (the default of `sketchfind-train export`). They take turns batch by batch. Prints
`model,seconds` for every timed batch of 8; the pixels lie in memory already.
"""

import os

# onnxruntime reports to its maker otherwise, as soon as it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime

BATCH, N_TURNS = 8, 7
onnxruntime.set_default_logger_severity(3)
options = onnxruntime.SessionOptions()
# Models take turns: the threads of one must not spin while another computes. Ours do not either.
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
models = []
for folder in sys.argv[1:]:
    card = json.loads((pathlib.Path(folder) / "card.json").read_text())
    network = pathlib.Path(folder) / "model.onnx"
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    side = card["preprocess"]["crop"]
    pixels = np.random.default_rng(1).integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    inputs = {card["onnx"]["input"]: pixels}
    session.run(None, inputs)
    models.append((folder, session, inputs))
for _ in range(N_TURNS):
    for folder, session, inputs in models:
        begun = time.perf_counter()
        session.run(None, inputs)
        print(f"{folder},{time.perf_counter() - begun}")
