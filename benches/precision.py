"""Images a second of exported models in ONNX Runtime, in turns, so that a slow minute of the machine meets all.

    python benches/precision.py MODEL_DIR...

The models take uint8 pixels (the default of `sketchfind-train export`). Prints a line for each: folder, precision, bytes
of its file, images a second (the median of seven batches of 8, two threads).
"""

import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime

BATCH, N_TURNS = 8, 7
onnxruntime.set_default_logger_severity(3)
runs = []
for folder in map(pathlib.Path, sys.argv[1:]):
    card = json.loads((folder / "card.json").read_text())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    side = card["preprocess"]["crop"]
    pixels = np.random.default_rng(1).integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    session.run(None, {card["onnx"]["input"]: pixels})
    runs.append((folder, card, session, pixels, []))
for _ in range(N_TURNS):
    for _, card, session, pixels, secs in runs:
        begun = time.perf_counter()
        session.run(None, {card["onnx"]["input"]: pixels})
        secs.append(time.perf_counter() - begun)
for folder, card, _, _, secs in runs:
    n_bytes = (folder / "model.onnx").stat().st_size
    print(f"{folder.name} {card['onnx']['precision']} {n_bytes} {BATCH / np.median(secs):.1f}")
