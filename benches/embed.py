"""Embeds image files with Pillow, NumPy and onnxruntime, as people do who have a model.onnx: the peer of `index build`.

    python benches/embed.py files MODEL_DIR PHOTOS OUT.npy --threads N [--ahead]    # OUT.npy, and OUT.npy.csv of names
    python benches/embed.py bare MODEL_DIR --threads N [--sessions] --images N      # no files: random pixels
    python benches/embed.py jpeg FROM TO --images N                                 # pictures as JPEG files

`files` decodes a batch and runs it, one after the other; with --ahead, N threads decode the batches that come next while
the session runs. `bare` is one session of N threads, or with --sessions N sessions of one thread; it prints images a second
and seconds of processor time an image. Models take uint8 pixels, as `sketchfind-train export` makes them.
"""

import os

# onnxruntime reports to its maker otherwise, as soon as it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import argparse
import concurrent.futures
import csv
import itertools
import json
import pathlib
import threading
import time

import numpy as np
import onnxruntime
from PIL import Image

# As `sketchfind` has it on a processor.
BATCH = 4


def session_of(model, n_threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    return onnxruntime.InferenceSession(model / "model.onnx", options, providers=["CPUExecutionProvider"])


def decoder(card):
    resize, crop = card["preprocess"]["resize"], card["preprocess"]["crop"]
    start = round((resize - crop) / 2)

    def decode(path):
        with Image.open(path) as image:
            image = image.convert("RGB").resize((resize, resize), Image.Resampling.BILINEAR)
        return np.asarray(image)[start : start + crop, start : start + crop]

    return decode


def batches_of(values):
    values = iter(values)
    while batch := list(itertools.islice(values, BATCH)):
        yield batch


def ahead(pool, decode, paths, n_ahead):
    """Decoded images in order, `n_ahead` of them under way."""
    paths, waiting = iter(paths), []
    for path in itertools.islice(paths, n_ahead):
        waiting.append(pool.submit(decode, path))
    while waiting:
        image = waiting.pop(0).result()
        for path in itertools.islice(paths, 1):
            waiting.append(pool.submit(decode, path))
        yield image


def files(arguments):
    card = json.loads((arguments.model / "card.json").read_text())
    session = session_of(arguments.model, arguments.threads)
    paths = sorted(path for path in arguments.photos.rglob("*") if path.suffix == ".jpg")
    decode = decoder(card)
    with concurrent.futures.ThreadPoolExecutor(arguments.threads) as pool:
        images = ahead(pool, decode, paths, 3 * BATCH) if arguments.ahead else map(decode, paths)
        rows = [session.run(None, {card["onnx"]["input"]: np.stack(batch)})[0] for batch in batches_of(images)]
    np.save(arguments.out, np.concatenate(rows))
    with open(f"{arguments.out}.csv", "w", newline="") as names:
        csv.writer(names).writerows([str(path.relative_to(arguments.photos))] for path in paths)


def bare(arguments):
    card = json.loads((arguments.model / "card.json").read_text())
    side, name = card["preprocess"]["crop"], card["onnx"]["input"]
    pixels = np.random.default_rng(1).integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    n_sessions = arguments.threads if arguments.sessions else 1
    sessions = [session_of(arguments.model, arguments.threads // n_sessions) for _ in range(n_sessions)]
    n_runs = max(1, arguments.images // BATCH // n_sessions)

    def run(session, n):
        for _ in range(n):
            session.run(None, {name: pixels})

    for session in sessions:
        run(session, 2)
    lanes = [threading.Thread(target=run, args=(session, n_runs)) for session in sessions]
    begun, used = time.perf_counter(), time.process_time()
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    secs, used = time.perf_counter() - begun, time.process_time() - used
    n_images = n_runs * BATCH * n_sessions
    print(n_images / secs, used / n_images)


def jpeg(arguments):
    pictures = sorted(path for path in arguments.photos.rglob("*") if path.suffix in {".png", ".jpg", ".webp"})
    arguments.out.mkdir(parents=True)
    for number, path in zip(range(arguments.images), itertools.cycle(pictures)):
        with Image.open(path) as image:
            image = image.convert("RGBA")
        laid = Image.new("RGBA", image.size, "white")
        laid.alpha_composite(image)
        # Once more around, another picture: turned by a quarter.
        laid = laid.rotate(90 * (number // len(pictures)))
        laid.convert("RGB").save(arguments.out / f"{number:05}.jpg", quality=92)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("files")
    verb.set_defaults(run=files)
    for name in ["model", "photos", "out"]:
        verb.add_argument(name, type=pathlib.Path)
    verb.add_argument("--threads", type=int, required=True)
    verb.add_argument("--ahead", action="store_true")
    verb = verbs.add_parser("bare")
    verb.set_defaults(run=bare)
    verb.add_argument("model", type=pathlib.Path)
    verb.add_argument("--threads", type=int, required=True)
    verb.add_argument("--sessions", action="store_true")
    verb.add_argument("--images", type=int, required=True)
    verb = verbs.add_parser("jpeg")
    verb.set_defaults(run=jpeg)
    verb.add_argument("photos", type=pathlib.Path)
    verb.add_argument("out", type=pathlib.Path)
    verb.add_argument("--images", type=int, required=True)
    onnxruntime.set_default_logger_severity(3)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
