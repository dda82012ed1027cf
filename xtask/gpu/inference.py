"""The parts of the pack for inference."""

import csv
import functools
import itertools
import pathlib
import re
from collections.abc import Iterator

from material import TRIPLET, take_pairs, toml
from pack import Failed, Pack, Part

VERIFY = ["model", "precision", "images", "relative_difference", "allowed", "passed"]
EMBEDDING = [
    "network", "precision", "implementation", "batch", "images_per_sec_memory", "images_per_sec_files", "waiting_share"
]
PROVIDERS = ["model", "precision", "provider", "operation", "nodes", "microseconds"]
PRECISIONS = ["fp16", "fp32"]


@functools.cache
def resnet50(pack: Pack) -> dict[str, pathlib.Path]:
    """ResNet50 with weights from a seed, by precision, with a probe that libtorch has embedded on this machine's processor."""
    data, run = pack.work / "few", pack.work / "resnet50-run"
    take_pairs(pack.data, data, 4)
    resize, crop = (40, 32) if pack.is_tiny else (256, 224)
    config = pack.work / "resnet50.toml"
    config.write_text(toml("resnet50", "random", "baseline", resize, crop, 4, 1, "fp32") + TRIPLET)
    pack.program("sketchfind-train", "fit", "--data", data, "--config", config, "--out", run)
    models = {}
    for precision in PRECISIONS:
        models[precision] = pack.work / f"resnet50-{precision}"
        wanted = ["--checkpoint", "initial", "--precision", precision, "--out", models[precision]]
        pack.program("sketchfind-train", "export", run, *wanted)
    return models


def models(pack: Pack) -> Iterator[tuple[str, str, pathlib.Path]]:
    """Network, precision and folder of each model that is measured: the released one, then those that are made for it."""
    yield "mobilenet_v2", "fp16", pack.work / "share/sketchfind/model"
    for precision in PRECISIONS:
        yield "resnet50", precision, resnet50(pack)[precision]


def verify(pack: Pack) -> str:
    table, wrong = pack.table("verify.csv", VERIFY), []
    for network, precision, model in models(pack):
        said = ""

        def note(line: str) -> None:
            nonlocal said
            said = line

        try:
            pack.program("sketchfind", "verify", model, "--device", pack.device, on_line=note)
        except Failed:
            # One that differs is a result too.
            if "verified" not in said:
                raise
            wrong.append(said)
        found = re.search(r": (\d+) probe images .*, (\S+) of the largest component \(at most (\S+) is allowed", said)
        if found is None:
            raise Failed(f"sketchfind verify said '{said}'")
        images, relative, allowed = found.groups()
        passed = said.startswith("verified")
        table.add(
            model=network, precision=precision, images=images, relative_difference=relative, allowed=allowed, passed=passed
        )
    if wrong:
        raise Failed(wrong[0])
    return "all models give the embeddings of their probes"


def providers(pack: Pack) -> str:
    table, n_elsewhere, n_nodes = pack.table("providers.csv", PROVIDERS), 0, 0
    wanted = "CUDAExecutionProvider" if pack.device == "cuda" else "CPUExecutionProvider"
    for network, precision, model in models(pack):
        said = pack.program("device", "nodes", pack.device, model, pack.photos)
        for row in csv.DictReader(said.splitlines()):
            table.add(model=network, precision=precision, **row)
            n_nodes += int(row["nodes"])
            n_elsewhere += int(row["nodes"]) * (row["provider"] != wanted)
    if n_elsewhere:
        raise Failed(f"{n_elsewhere} of {n_nodes} nodes did not run on {wanted}: providers.csv names them")
    return f"all {n_nodes} nodes ran on {wanted}"


class Speeds:
    """Rows of embedding.csv out of lines `batch,source,images,secs`, where `memory` comes before `files`."""

    def __init__(self, pack: Pack, network: str, precision: str, implementation: str) -> None:
        self.table = pack.table("embedding.csv", EMBEDDING)
        self.of = {"network": network, "precision": precision, "implementation": implementation}
        self.memory = 0.0

    def add(self, line: str) -> None:
        batch, source, images, secs = line.split(",")
        rate = int(images) / float(secs)
        if source == "memory":
            self.memory = rate
            return
        waiting = max(0.0, 1.0 - rate / self.memory)
        self.table.add(
            **self.of,
            batch=batch,
            images_per_sec_memory=f"{self.memory:.1f}",
            images_per_sec_files=f"{rate:.1f}",
            waiting_share=f"{waiting:.3f}",
        )


def embedding(pack: Pack) -> str:
    most, secs, batches = (4, 0.1, "1,2") if pack.is_tiny else (50_000, 1.5, "64,256,16,1")
    for network, precision, model in itertools.islice(models(pack), 1 if pack.is_tiny else None):
        speeds = Speeds(pack, network, precision, "sketchfind")
        pack.program("device", "speed", pack.device, model, pack.photos, most, secs, batches, on_line=speeds.add)
    return ""


def embedding_pytorch(pack: Pack) -> str:
    most, secs, batches = (4, 0.1, "2") if pack.is_tiny else (50_000, 1.5, "64,256")
    sides = (40, 32) if pack.is_tiny else (256, 224)
    # The slowest to begin comes last.
    for implementation in ["pytorch", "pytorch-compile"]:
        for network, precision in [("resnet50", "fp16"), ("resnet50", "fp32"), ("mobilenet_v2", "fp16")]:
            if pack.is_tiny and (network, precision) != ("mobilenet_v2", "fp16"):
                continue
            speeds = Speeds(pack, network, precision, implementation)
            # The released model takes its pictures whole.
            resize, crop = (256, 256) if network == "mobilenet_v2" and not pack.is_tiny else sides
            words: list[object] = ["--network", network, "--precision", precision, "--device", pack.device]
            words += ["--resize", resize, "--crop", crop, "--images", most, "--secs", secs, "--batches", batches]
            if implementation == "pytorch-compile":
                words.append("--compile")
            pack.peer("embed_torch.py", pack.photos, *words, on_line=speeds.add)
    return ""


PARTS = [
    Part("verify", 100, verify),
    Part("providers", 35, providers),
    Part("embedding", 110, embedding),
    Part("embedding-pytorch", 100, embedding_pytorch),
]
