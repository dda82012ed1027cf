"""Configurations and data sets that the parts write."""

import csv
import pathlib
import shutil

from pack import Failed


def take_pairs(data: pathlib.Path, out: pathlib.Path, n: int) -> int:
    """Copies the first training pairs of a data set and returns how many sketches they have."""
    try:
        with open(data / "manifest.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
        wanted = sorted({row["instance"] for row in rows if row["modality"] == "sketch"})[:n]
        rows = [row for row in rows if row["instance"] in wanted]
        for row in rows:
            (out / row["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / row["path"], out / row["path"])
    except (OSError, KeyError) as error:
        raise Failed(f"'{data}' is no data set: {error}") from error
    if not rows:
        raise Failed(f"'{data / 'manifest.csv'}' has no training sketches, expected at least {n}")
    with open(out / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return sum(row["modality"] == "sketch" for row in rows)


# A learning rate at which nothing is learned.
NO_RATE = 1e-8


def toml(network: str, weights: str, method: str, resize: int, crop: int, batch: int, epochs: int, precision: str) -> str:
    """A run whose figures are its times: nothing is learned, so that random weights stay finite."""
    return f"""\
network = "{network}"
weights = "{weights}"
seed = 1
threads = 0
precision = "{precision}"
channels_last = true
[images]
resize = {resize}
crop = {crop}
flip = true
pairs = "independent"
memory_mib = 8192
[train]
method = "{method}"
epochs = {epochs}
batch = {batch}
batch_norm = "frozen"
learning_rate = {NO_RATE}
warmup_steps = 0
weight_decay = 0.0
clip_norm = 0.0
[schedule]
kind = "constant"
[validation]
share = 0.0
every_epochs = {epochs}
[checkpoint]
every_epochs = {epochs}
[neighbourhood]
margin = 0.01
pairs = 10
alpha = 1.0
beta = 1.0
eta_s = {NO_RATE}
eta_t = {NO_RATE}
anchor = "sketch"
sampling = "random"
features = "pooled"
network = "{network}"
weights = "{weights}"
"""


TRIPLET = """\
[loss]
kind = "triplet"
margin = 0.1
negatives = "random"
[optimiser]
kind = "sgd"
momentum = 0.9
"""

# What recipes have, as `cargo xtask bench train` measures it.
CONTRASTIVE = """\
[loss]
kind = "contrastive"
temperature = 0.07
same_modality = false
[optimiser]
kind = "adamw"
betas = [0.9, 0.999]
eps = 1e-8
[average]
decay = 0.99
[head]
pooling = { kind = "gem", p = 3.0, learn = false, cells = 1 }
normalise = true
projection = { width = 512, bias = true, start = "orthogonal" }
"""
