"""Embeds images with plain PyTorch and torchvision, eager or compiled: the peer of embedding on a GPU.

    python benches/embed_torch.py PHOTOS --network resnet50 --precision fp16 --device cuda --batches 64,256 ...

Prints `batch,source,images,secs` for batches of each size. `memory`: uint8 pixels that are decoded and resized already, copied to
the device and normalised there, embeddings copied back; `files`: the same from files, which a DataLoader decodes on all cores.
Weights are random, which changes no time; TF32 is off, as in sketchfind.
"""

import argparse
import os
import pathlib
import sys
import time

try:
    import numpy as np
    import torch
    import torchvision
    from PIL import Image
except ImportError as error:
    sys.exit(f"error: no PyTorch: {error}")

ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


class Files(torch.utils.data.Dataset):
    def __init__(self, paths, n, resize, crop):
        self.paths, self.n, self.resize, self.start, self.crop = paths, n, resize, (resize - crop) // 2, crop

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        with Image.open(self.paths[index % len(self.paths)]) as image:
            image = image.convert("RGB").resize((self.resize, self.resize), Image.Resampling.BILINEAR)
        part = slice(self.start, self.start + self.crop)
        return torch.from_numpy(np.asarray(image)[part, part].copy())


class Embedder(torch.nn.Module):
    """Pixels in, embeddings out, as the graphs that sketchfind exports."""

    def __init__(self, trunk, kind):
        super().__init__()
        self.trunk, self.kind = trunk, kind
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) * 255)

    def forward(self, pixels):
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        images = images.to(self.kind, memory_format=torch.channels_last)
        return self.trunk(images).float()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--network", choices=["resnet50", "mobilenet_v2"], required=True)
    parser.add_argument("--precision", choices=["fp32", "fp16"], required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--resize", type=int, required=True)
    parser.add_argument("--crop", type=int, required=True)
    parser.add_argument("--images", type=int, required=True, help="the most images of a measurement")
    parser.add_argument("--secs", type=float, required=True, help="how long a measurement takes, about")
    parser.add_argument("--batches", required=True)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: PyTorch finds no CUDA device; nvidia-smi tells whether the driver sees one")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device(options.device)
    paths = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in ENDINGS)
    if not paths:
        sys.exit(f"error: '{options.photos}' holds no photos, expected at least one")
    kind = torch.float16 if options.precision == "fp16" else torch.float32
    trunk = getattr(torchvision.models, options.network)(weights=None)
    setattr(trunk, "fc" if options.network == "resnet50" else "classifier", torch.nn.Identity())
    trunk = trunk.eval().to(device, kind, memory_format=torch.channels_last)
    network = Embedder(trunk, kind).to(device)
    if options.compile:
        # Each size of a batch gets code of its own, as it would where speed counts.
        network = torch.compile(network, dynamic=False)

    def embed(pixels):
        return network(pixels.to(device, non_blocking=True)).cpu()

    with torch.inference_mode():
        for batch in map(int, options.batches.split(",")):
            files = Files(paths, batch, options.resize, options.crop)
            pixels = torch.stack([files[index] for index in range(batch)])
            if options.device == "cuda":
                pixels = pixels.pin_memory()
            for _ in range(3):
                embed(pixels)
            started, n_done = time.perf_counter(), 0
            while n_done == 0 or (time.perf_counter() - started < options.secs and n_done < options.images):
                embed(pixels)
                n_done += batch
            secs = time.perf_counter() - started
            print(f"{batch},memory,{n_done},{secs}", flush=True)

            n_batches = max(2, -(-min(int(options.secs * n_done / secs), options.images) // batch))
            files = Files(paths, n_batches * batch, options.resize, options.crop)
            n_workers = 0 if options.images <= batch * 2 else os.cpu_count()
            started, n_done = time.perf_counter(), 0
            loader = torch.utils.data.DataLoader(
                files, batch, num_workers=n_workers, pin_memory=options.device == "cuda", drop_last=True
            )
            for pixels in loader:
                embed(pixels)
                n_done += batch
            print(f"{batch},files,{n_done},{time.perf_counter() - started}", flush=True)


if __name__ == "__main__":
    main()
