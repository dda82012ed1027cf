"""The parts of the pack for training."""

import csv
import json
import pathlib
import shutil
import statistics
import time

from material import CONTRASTIVE, NO_RATE, TRIPLET, take_pairs, toml
from pack import Pack, Part

STEPS = ["network", "side", "method", "precision", "implementation", "steps", "median_secs", "waiting_share"]
# The most valuable first: what is cut off at the time limit is the least.
CASES = [
    (method, precision)
    for precision in ["bf16", "fp32"]
    for method in ["meta", "contrastive", "baseline", "multitask"]
]
CASES_OF_TINY = [("meta", "fp32"), ("contrastive", "bf16")]


class Sizes:
    """What is trained on."""

    def __init__(self, pack: Pack) -> None:
        self.network, self.resize, self.crop, self.batch = "resnet50", 299, 256, 16
        # Steps that are timed, and those before: caches, allocators, choices of algorithms.
        self.n_steps, self.n_warm = 20, 4
        self.n_pairs = 64
        self.cases = CASES
        if pack.is_tiny:
            self.network, self.resize, self.crop, self.batch = "resnet18", 40, 32, 4
            self.n_steps, self.n_warm, self.n_pairs = 1, 1, 8
            self.cases = CASES_OF_TINY

    def note(self, pack: Pack, case: tuple[str, str], implementation: str, secs: list[float], waiting: float | str) -> None:
        secs = secs[self.n_warm :]
        pack.table("steps.csv", STEPS).add(
            network=self.network,
            side=self.crop,
            method=case[0],
            precision=case[1],
            implementation=implementation,
            steps=len(secs),
            median_secs=f"{statistics.median(secs):.5f}",
            waiting_share=waiting,
        )


def steps(pack: Pack) -> str:
    sizes, data = Sizes(pack), pack.work / "some"
    n_sketches = take_pairs(pack.data, data, sizes.n_pairs)
    epochs = -(-(sizes.n_steps + sizes.n_warm) // max(1, n_sketches // sizes.batch))
    for case in sizes.cases:
        method, precision = case
        is_contrastive = method == "contrastive"
        config, run = pack.work / "steps.toml", pack.work / "steps-run"
        topology = "baseline" if is_contrastive else method
        text = toml(sizes.network, "random", topology, sizes.resize, sizes.crop, sizes.batch, epochs, precision)
        config.write_text(text + (CONTRASTIVE if is_contrastive else TRIPLET))
        wanted = ["--data", data, "--config", config, "--out", run, "--device", pack.device]
        pack.program("sketchfind-train", "fit", *wanted)
        secs, waits = times(run)
        counted = slice(sizes.n_warm, None)
        sizes.note(pack, case, "sketchfind", secs, f"{sum(waits[counted]) / sum(secs[counted]):.4f}")
        shutil.rmtree(run)
    return ""


def times(run: pathlib.Path) -> tuple[list[float], list[float]]:
    """Seconds of each step of a run, and those of them that it waited for its batch."""
    with open(run / "steps.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [float(row["step_secs"]) for row in rows], [float(row["wait_secs"]) for row in rows]


def steps_pytorch(pack: Pack) -> str:
    sizes = Sizes(pack)
    for case in sizes.cases:
        method, precision = case
        wanted = ["--data", pack.data, "--network", sizes.network, "--device", pack.device, "--precision", precision]
        wanted += ["--method", "baseline" if method == "contrastive" else method, "--batch", sizes.batch]
        wanted += ["--resize", sizes.resize, "--crop", sizes.crop, "--pairs", sizes.n_pairs, "--learning-rate", NO_RATE]
        wanted += ["--steps", sizes.n_steps + sizes.n_warm, "--channels-last", "--ready"]
        if method == "contrastive":
            wanted.append("--contrastive")
        secs = json.loads(pack.peer("train.py", *wanted))
        # Its batches are made beforehand.
        sizes.note(pack, case, "pytorch", secs, "")
    return ""


def study(pack: Pack) -> str:
    """Meta against baseline, ResNet50 from its photo-pre-trained weights, as many epochs as fit."""
    weights = pack.work / "resnet50_v1.safetensors"
    text = (pathlib.Path(__file__).parent / "study-resnet50.toml").read_text()
    text = text.replace("../../.provision/weights/resnet50_v1.safetensors", str(weights) if weights.exists() else "random")
    if pack.is_tiny:
        # Processors without instructions for bfloat16 are slow at it.
        text = text.replace('precision = "bf16"', 'precision = "fp32"')
    if pack.is_tiny and not weights.exists():
        text = text.replace('"resnet50_v1"', '"resnet18"')
    (pack.work / "study-base.toml").write_text(text)
    # One epoch tells what an epoch takes. Nothing is learned in it, nor from random weights, which would not stay finite.
    begun = time.monotonic()
    pack.program("sketchfind-train", *studied(pack, "trial", ["meta"], 1, 0, NO_RATE))
    secs, _ = times(pack.work / "trial/runs/set/meta/seed-1")
    beside = time.monotonic() - begun - sum(secs)
    # The first step is longer than others. A step of the baseline takes half of one of meta.
    epoch = 1.5 * statistics.median(secs) * len(secs)
    # A tenth is for what cannot be foreseen.
    epochs = max(1, min(200, int((0.9 * pack.secs_left() - 2 * beside) / epoch)))
    if pack.is_tiny:
        epochs = 1
    try:
        warm_up = min(30, epochs * len(secs) // 4)
        rate = 0.003 if weights.exists() else NO_RATE
        pack.program("sketchfind-train", *studied(pack, "study", ["baseline", "meta"], epochs, warm_up, rate))
    finally:
        for name in ["runs.csv", "summary.csv"]:
            if (pack.work / "study" / name).is_file():
                shutil.copyfile(pack.work / "study" / name, pack.out / f"study-{name}")
    began = "photo-pre-trained weights" if weights.exists() else "random weights, because the pack has no others"
    return f"{epochs} epochs of {len(secs)} steps each, from {began}"


def studied(
    pack: Pack, name: str, methods: list[str], epochs: int, warm_up: int, rate: float
) -> list[object]:
    """Writes a study and returns the arguments that run it."""
    resize, crop, batch = (40, 32, 4) if pack.is_tiny else (299, 256, 16)
    lines = [
        "seeds = [1]", "samples = 10000", "confidence = 0.95",
        "[[dataset]]", 'name = "set"', f"data = {json.dumps(str(pack.data))}", 'config = "study-base.toml"',
        "[dataset.set]", "threads = 0",
        f"images.resize = {resize}", f"images.crop = {crop}", "images.memory_mib = 8192",
        f"train.epochs = {epochs}", f"train.batch = {batch}", f"train.warmup_steps = {warm_up}",
        f"train.learning_rate = {rate}", f"checkpoint.every_epochs = {epochs}",
        "validation.share = 0.0", f"validation.every_epochs = {epochs}",
    ]
    for method in methods:
        lines += ["[[method]]", f'name = "{method}"']
        if method == "meta":
            lines += ["[method.set]", 'train.method = "meta"']
            lines += [f"neighbourhood.eta_s = {rate}", f"neighbourhood.eta_t = {rate}"]
    path = pack.work / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n")
    return ["study", "--config", path, "--out", pack.work / name, "--device", pack.device]


PARTS = [
    Part("steps", 100, steps),
    Part("steps-pytorch", 70, steps_pytorch),
    Part("study", 175, study),
]
