"""Steps of baseline, multi-task, meta and full meta training in plain PyTorch: the peer of `cargo xtask bench train`, and of the
pack that measures training on a GPU.

The same work as sketchfind-train's step: 16 triplets of random crops and flips from images that are decoded and
resized beforehand, made on a thread ahead of their use; MobileNetV2 or ResNet with frozen batch norms; mean squared
differences; SGD with momentum. With --contrastive 16 pairs, generalised-mean pooling, a projection to 512 numbers of unit
length, InfoNCE in both directions, AdamW and an average of the weights. Written as one would write it with torch, torchvision and NumPy. Prints the seconds of
each step as JSON.
"""

import argparse
import csv
import json
import queue
import sys
import threading
import time
from pathlib import Path

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    import torchvision
    from PIL import Image
    from safetensors.torch import load_file
except ImportError as error:
    sys.exit(f"error: no PyTorch: {error}")

# Pairs of a batch, which --batch changes, and pairs of photos for each of them.
B, K = 16, 10
MARGIN, MARGIN_NT = 0.1, 0.01
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def load_pairs(data, n_pairs, resize):
    """Photos and sketches of training instances, decoded and resized, `[n, resize, resize, 3]` each."""
    paths = {"photo": {}, "sketch": {}}
    with open(data / "manifest.csv") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train":
                paths[row["modality"]].setdefault(row["instance"], row["path"])

    def image(path):
        opened = Image.open(data / path).convert("RGBA")
        white = Image.new("RGBA", opened.size, "white")
        flat = Image.alpha_composite(white, opened).convert("RGB")
        return np.asarray(flat.resize((resize, resize), Image.Resampling.BILINEAR))

    instances = sorted(set(paths["photo"]) & set(paths["sketch"]))[:n_pairs]
    return [np.stack([image(paths[kind][i]) for i in instances]) for kind in ("photo", "sketch")]


class Retriever(torch.nn.Module):
    """A trunk with generalised-mean pooling, a projection and unit length."""

    def __init__(self, trunk, width):
        super().__init__()
        self.trunk, self.projection = trunk, torch.nn.Linear(width, 512)

    def forward(self, images):
        pooled = self.trunk(images).clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        return F.normalize(self.projection(pooled), dim=1)


def batches(photos, sketches, crop, n_steps, seed, has_negatives):
    """Batches `[2 * B, 3, crop, crop]`, or `[3 * B, ...]` with negatives, with their photos' indices, two ahead of their use."""
    rng = np.random.default_rng(seed)
    ready = queue.Queue(maxsize=2)

    def augmented(image):
        top, left = rng.integers(0, image.shape[0] - crop + 1, 2)
        view = image[top:top + crop, left:left + crop]
        view = view[:, ::-1] if rng.random() < 0.5 else view
        return ((view.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)

    def work():
        for _ in range(n_steps):
            own = rng.choice(len(photos), B, replace=False)
            other = (own + rng.integers(1, len(photos), B)) % len(photos)
            images = [sketches[i] for i in own] + [photos[i] for i in own]
            if has_negatives:
                images += [photos[i] for i in other]
            n_photos = len(images) - B
            batch = torch.from_numpy(np.stack([augmented(image) for image in images]))
            anchors = np.repeat(np.arange(B), K)
            first = rng.integers(0, n_photos, B * K)
            second = (first + rng.integers(1, n_photos, B * K)) % n_photos
            signs = torch.from_numpy(rng.choice([-1.0, 1.0], B * K).astype(np.float32))
            ready.put((batch, torch.from_numpy(anchors), torch.from_numpy(first), torch.from_numpy(second), signs))

    threading.Thread(target=work, daemon=True).start()
    for _ in range(n_steps):
        yield ready.get()


def d(a, b):
    return (a - b).square().mean(-1)


def l_fg(e):
    s, p, n = e[:B], e[B:2 * B], e[2 * B:]
    return F.relu(d(s, p) - d(s, n) + MARGIN).mean()


def info_nce(e):
    logits, own = e[:B] @ e[B:].T / 0.07, torch.arange(B, device=e.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def l_nt(e, anchors, first, second, signs):
    s, photos = e[:B][anchors], e[B:]
    return F.relu(signs * (d(s, photos[first]) - d(s, photos[second])) + MARGIN_NT).mean()


def set_batch(n):
    global B
    B = n


def move_to(parameters, theta, direction, by):
    with torch.no_grad():
        for p, t, d in zip(parameters, theta, direction):
            p.copy_(t).add_(d, alpha=by)


def gradient(loss, parameters):
    return torch.autograd.grad(loss, parameters)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="without it they are random")
    parser.add_argument("--network", choices=["mobilenet_v2", "resnet18", "resnet50"], default="mobilenet_v2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, default=B)
    parser.add_argument("--method", choices=["baseline", "multitask", "meta", "meta_full"], required=True)
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--resize", type=int, required=True)
    parser.add_argument("--crop", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--contrastive", action="store_true")
    parser.add_argument("--ready", action="store_true", help="make all batches before the first step")
    options = parser.parse_args()
    set_batch(options.batch)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: PyTorch finds no CUDA device; nvidia-smi tells whether the driver sees one")
    device = torch.device(options.device)

    photos, sketches = load_pairs(options.data, options.pairs, options.resize)
    network = getattr(torchvision.models, options.network)()
    if options.weights is not None:
        network.load_state_dict(load_file(options.weights), strict=False)
    is_mobilenet = options.network == "mobilenet_v2"
    if options.contrastive:
        maps = network.features if is_mobilenet else torch.nn.Sequential(*list(network.children())[:-2])
        network = Retriever(maps, 1280 if is_mobilenet else network.fc.in_features)
    else:
        setattr(network, "classifier" if is_mobilenet else "fc", torch.nn.Identity())
    retrieval = info_nce if options.contrastive else l_fg
    # Frozen batch norms: their statistics are ImageNet's, their weights are trained.
    network.eval()
    network = network.to(device)
    trained = network
    if options.precision == "bf16":

        def network(images):
            with torch.autocast(options.device, torch.bfloat16):
                embeddings = trained(images)
            return embeddings.float()

    if options.channels_last:
        trained.to(memory_format=torch.channels_last)
    parameters = list(trained.parameters())
    eta = options.learning_rate
    if options.contrastive:
        optimiser = torch.optim.AdamW(parameters, lr=eta, weight_decay=0.0)
        average = [p.detach().clone() for p in parameters]
    else:
        optimiser = torch.optim.SGD(parameters, lr=eta, momentum=0.9)

    given = batches(photos, sketches, options.crop, options.steps, seed=1, has_negatives=not options.contrastive)
    if options.ready:
        given = list(given)
    secs = []
    started = time.perf_counter()
    for images, *pairs in given:
        images, *pairs = [tensor.to(device, non_blocking=True) for tensor in (images, *pairs)]
        if options.channels_last:
            images = images.to(memory_format=torch.channels_last)
        optimiser.zero_grad()
        embeddings = network(images)
        if options.method == "multitask":
            loss = retrieval(embeddings) + l_nt(embeddings, *pairs)
        else:
            loss = retrieval(embeddings)
        loss.backward()
        if options.method in ("meta", "meta_full"):
            theta = [p.detach().clone() for p in parameters]
            g_hat = [p.grad.clone() for p in parameters]
            move_to(parameters, theta, g_hat, -eta)
            g_bar = gradient(l_nt(network(images), *pairs), parameters)
            through = g_bar
            length = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in g_bar])))
            if options.method == "meta_full" and length > 0:
                eps = 0.01 / length
                move_to(parameters, theta, g_bar, eps)
                ahead = gradient(retrieval(network(images)), parameters)
                move_to(parameters, theta, g_bar, -eps)
                behind = gradient(retrieval(network(images)), parameters)
                through = [g - eta / (2 * eps) * (a - b) for g, a, b in zip(g_bar, ahead, behind)]
            with torch.no_grad():
                for p, t, g, h in zip(parameters, theta, g_hat, through):
                    p.copy_(t)
                    p.grad.copy_(g + h)
        optimiser.step()
        if options.contrastive:
            with torch.no_grad():
                for a, p in zip(average, parameters):
                    a.lerp_(p, 0.01)
        loss.item()
        now = time.perf_counter()
        secs.append(now - started)
        started = now
    print(json.dumps(secs))


if __name__ == "__main__":
    main()
