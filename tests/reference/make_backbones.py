"""What torchvision's networks give for weights and an image that tests/support/reference.rs makes too.

    pip install torch torchvision safetensors
    python make_backbones.py

writes backbones.safetensors: `network/embedding/side` is the pooled map of the last convolution, `network/scores/side`
the class scores, computed in 64 bits and stored in 32. Sketch-a-Net and EfficientNet-Lite, which torchvision lacks, are
written out below after their papers.
"""

import math

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F


def uniform(name, n):
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        bits = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = (bits ^ (bits >> np.uint64(31))) >> np.uint64(11)
    return bits.astype(np.float64) / 2**53


def fill(model):
    """The values of reference.rs, by the parameters' names."""
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        u = uniform(name, tensor.numel())
        if name.endswith((".bias", ".running_mean")):
            values = 0.2 * (u - 0.5)
        elif tensor.dim() == 1 or name.endswith(".layer_scale"):
            values = 0.8 + 0.4 * u
        else:
            values = (2.0 * u - 1.0) * math.sqrt(6.0 / math.prod(tensor.shape[1:]))
        tensor.copy_(torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape))
    return model.double().eval()


class SketchANet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 64, 15, 3), nn.Conv2d(64, 128, 5)
        self.conv3, self.conv4, self.conv5 = (nn.Conv2d(n, 256, 3, padding=1) for n in (128, 256, 256))
        self.fc6, self.fc7, self.fc8 = nn.Conv2d(256, 512, 7), nn.Conv2d(512, 512, 1), nn.Linear(512, 250)

    def features(self, x):
        x = F.max_pool2d(self.conv1(x).relu(), 3, 2)
        x = F.max_pool2d(self.conv2(x).relu(), 3, 2)
        x = self.conv5(self.conv4(self.conv3(x).relu()).relu()).relu()
        return F.max_pool2d(x, 3, 2)

    def forward(self, x):
        x = self.fc7(self.fc6(self.features(x)).relu()).relu()
        return self.fc8(x.flatten(1))


class SameConv(nn.Conv2d):
    """TensorFlow's 'SAME'."""

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, None, self.stride, 0, 1, self.groups)


class LiteBlock(nn.Module):
    def __init__(self, n_in, n_out, kernel, stride, expansion):
        super().__init__()
        hidden = n_in * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = SameConv(n_in, hidden, 1, bias=False), nn.BatchNorm2d(hidden, 1e-3)
        self._depthwise_conv = SameConv(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, 1e-3)
        self._project_conv, self._bn2 = SameConv(hidden, n_out, 1, bias=False), nn.BatchNorm2d(n_out, 1e-3)
        self.is_residual = stride == 1 and n_in == n_out

    def forward(self, x):
        y = x
        if hasattr(self, "_expand_conv"):
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.is_residual else y


class EfficientNetLite(nn.Module):
    def __init__(self, channels, repeats):
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, 1e-3)
        blocks, n_in = [], 32
        stages = zip((3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1), (1, 6, 6, 6, 6, 6, 6), channels, repeats)
        for kernel, stride, expansion, n_out, n in stages:
            for index in range(n):
                blocks.append(LiteBlock(n_in, n_out, kernel, stride if index == 0 else 1, expansion))
                n_in = n_out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(n_in, 1280, 1, bias=False), nn.BatchNorm2d(1280, 1e-3)
        self._fc = nn.Linear(1280, 1000)

    def features(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))

    def forward(self, x):
        return self._fc(self.features(x).mean((2, 3)))


def resnet_v1(name):
    """The original bottleneck: stride in the first 1 x 1 convolution."""
    model = getattr(torchvision.models, name)()
    for module in model.modules():
        if isinstance(module, torchvision.models.resnet.Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return model


def pooled_by_hook(model, module, x, change=lambda x: x):
    found = []
    handle = module.register_forward_hook(lambda _m, _i, output: found.append(output))
    scores = model(x)
    handle.remove()
    return change(found[0]).mean((2, 3)), scores


def run(name, side):
    tv = torchvision.models
    x = torch.from_numpy((4.0 * uniform("image", 3 * side * side) - 2.0).astype(np.float32))
    x = x.reshape(1, 3, side, side).double()
    if name == "sketch_a_net":
        model = fill(SketchANet())
        return model.features(x).mean((2, 3)), None
    if name.startswith("efficientnet_lite"):
        channels, repeats = {
            "0": ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
            "1": ((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
            "2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
        }[name[-1]]
        model = fill(EfficientNetLite(channels, repeats))
        return model.features(x).mean((2, 3)), model(x)
    if name.startswith("resnet"):
        model = fill(resnet_v1(name[:-3]) if name.endswith("_v1") else getattr(tv, name)())
        return pooled_by_hook(model, model.layer4, x)
    if name == "googlenet":
        model = fill(tv.googlenet(aux_logits=False, transform_input=False, init_weights=False))
        return pooled_by_hook(model, model.inception5b, x)
    if name == "inception_v3":
        model = fill(tv.inception_v3(aux_logits=False, transform_input=False, init_weights=False))
        return pooled_by_hook(model, model.Mixed_7c, x)
    model = fill(getattr(tv, name)())
    pooled, scores = pooled_by_hook(model, model.features, x, F.relu if "densenet" in name else lambda x: x)
    # VGG's scores of small images are those of a stretched map; only 224 x 224 is the network.
    return pooled, None if "vgg" in name else scores


SIDES = {"sketch_a_net": 99, "inception_v3": 96, "efficientnet_lite0": 65, "efficientnet_lite2": 70}
NAMES = (
    "mobilenet_v2 resnet18 resnet34 resnet50 resnet101 resnet152 resnet50_v1 resnet101_v1 resnet152_v1 vgg16 vgg16_bn "
    "densenet121 densenet169 googlenet inception_v3 sketch_a_net efficientnet_lite0 efficientnet_lite1 "
    "efficientnet_lite2 convnext_tiny"
).split()

with torch.no_grad():
    outputs = {}
    for name in NAMES:
        side = SIDES.get(name, 64)
        pooled, scores = run(name, side)
        outputs[f"{name}/embedding/{side}"] = pooled[0].float().numpy()
        if scores is not None and name in ("mobilenet_v2", "densenet121", "convnext_tiny"):
            outputs[f"{name}/scores/{side}"] = scores[0].float().numpy()
        print(name, tuple(pooled.shape), float(pooled.abs().max()))
    save_file(outputs, "backbones.safetensors")
