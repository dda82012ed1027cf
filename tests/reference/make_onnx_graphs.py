"""Small ONNX files as others write them, and what ONNX Runtime gives for them.

    pip install torch onnx onnxruntime safetensors
    python make_onnx_graphs.py

writes onnx/*.onnx and onnx/outputs.safetensors, whose tensors are called `file/side/floats` or `file/side/pixels`: the
image is that of tests/support/reference.rs. All values are functions of the parameters' names; nothing is random but
what the exporters do. None of the graphs is a network of ours.
"""

import math
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent / "onnx"
SIDE = 16


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


def image(side):
    return (4.0 * uniform("image", 3 * side * side) - 2.0).astype(np.float32).reshape(1, 3, side, side)


def pixels(side):
    planes = np.floor(uniform("image", 3 * side * side) * 256).astype(np.uint8).reshape(1, 3, side, side)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def tensor(name, *shape):
    u = uniform(name, math.prod(shape))
    if len(shape) > 1:
        values = (2.0 * u - 1.0) * math.sqrt(6.0 / math.prod(shape[1:]))
    elif name.endswith((".bias", ".running_mean")):
        values = 0.4 * (u - 0.5)
    else:
        values = 0.8 + 0.4 * u
    return values.astype(np.float32).reshape(shape)


def fill(model):
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                value.copy_(torch.from_numpy(tensor(name, *value.shape)) if value.dim() else value)
    return model.eval()


class Residual(nn.Module):
    """Convolutions with batch norms, a sum, a strided shortcut."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 12, 3, 1, 1, bias=False), nn.BatchNorm2d(12)
        self.down, self.bn_down = nn.Conv2d(8, 12, 1, 2, bias=False), nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 6)

    def forward(self, x):
        x = F.max_pool2d(self.bn(self.stem(x)).relu(), 3, 1, 1)
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        x = (y + self.bn_down(self.down(x))).relu()
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Inverted(nn.Module):
    """ReLU6, a depthwise and a grouped convolution, an inverted residual, a mean in place of a pooling."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 1)
        self.conv3, self.conv4 = nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 8, 1)
        self.conv5 = nn.Conv2d(8, 12, (1, 3), (2, 1), (0, 1), groups=4)

    def forward(self, x):
        x = F.relu6(3.0 * self.conv1(x))
        x = x + self.conv4(F.relu6(self.conv3(F.relu6(self.conv2(x)))))
        return F.relu6(self.conv5(x)).mean([2, 3])


class Branches(nn.Module):
    """A concatenation, pooling that rounds up, a map of one size flattened as older code does it, dropout."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(3, 4, 5, 2, 2)
        self.norm = nn.BatchNorm2d(10)
        self.fc1, self.fc2 = nn.Linear(10 * 4 * 4, 12), nn.Linear(12, 5, bias=False)

    def forward(self, x):
        x = torch.cat([self.conv1(x), self.conv2(x)], 1)
        x = F.relu(self.norm(F.max_pool2d(x, 3, 2, ceil_mode=True)))
        x = F.avg_pool2d(x, 3, 1, 1)
        return self.fc2(F.dropout(self.fc1(x.view(x.size(0), -1)).relu(), 0.5, self.training))


class Modern(nn.Module):
    """ConvNeXt's block: layer norms over the last and over the second dimension, GELU, a scale for each channel."""

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.norm0, self.norm = nn.LayerNorm(8, 1e-6), nn.LayerNorm(8, 1e-6)
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.layer_scale = nn.Parameter(torch.zeros(8, 1, 1))
        self.last = nn.LayerNorm(8, 1e-6)

    def forward(self, x):
        x = self.norm0(self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.narrow(F.gelu(self.wide(self.norm(y)))).permute(0, 3, 1, 2)
        x = x + self.layer_scale * y
        return self.last(x.mean([-2, -1]))


class Planes(nn.Module):
    """A layer norm over the second dimension written out, as in ConvNeXt's first code; a projection to unit length."""

    def __init__(self):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 6, bias=False)
        self.weight, self.bias = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8))

    def forward(self, x):
        x = self.stem(x)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        x = F.gelu(self.weight[:, None, None] * x + self.bias[:, None, None])
        return F.normalize(self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1)))


class Head(nn.Module):
    """A linear layer with a batch norm behind it and a 1 x 1 convolution of the pooled map before it."""

    def __init__(self):
        super().__init__()
        self.conv, self.point = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 10, 1)
        self.fc, self.bn = nn.Linear(10, 7), nn.BatchNorm1d(7)

    def forward(self, x):
        x = self.point(F.adaptive_avg_pool2d(self.conv(x).relu(), 1)).relu()
        x = self.bn(self.fc(x.flatten(1)))
        return x / x.norm(dim=1, keepdim=True)


def exported(name, model, opset, fuses=True, fixed=False):
    axes = {"input": {0: "n"}, "output": {0: "n"}}
    if not fixed:
        axes["input"].update({2: "h", 3: "w"})
    torch.onnx.export(
        fill(model),
        (torch.zeros(2, 3, SIDE, SIDE),),
        HERE / f"{name}.onnx",
        dynamo=False,
        opset_version=opset,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=axes,
        training=torch.onnx.TrainingMode.EVAL if fuses else torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=fuses,
    )


def written(name, nodes, tensors, opset, width, element=TensorProto.FLOAT, shape=("n", 3, "h", "w")):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", element, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", width])],
        tensors,
    )
    ir = {11: 6, 20: 9}.get(opset, 8)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / f"{name}.onnx")


def floats(name, *shape):
    return numpy_helper.from_array(tensor(name, *shape), name)


def matrices():
    """MatMul with Add, Clip with its limits as tensors, a scalar and a per-channel sum, constants in nodes."""
    node = helper.make_node
    limits = [node("Constant", [], [f"limit{x}"], value_float=x) for x in (0.0, 6.0)]
    nodes = limits + [
        node("Conv", ["input", "conv.weight"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Add", ["a", "shift"], ["b"]),
        node("Clip", ["b", "limit0.0", "limit6.0"], ["c"]),
        node("Add", ["half", "c"], ["d"]),
        node("ReduceMean", ["d", "axes"], ["e"], keepdims=0),
        node("MatMul", ["e", "matrix"], ["f"]),
        node("Add", ["bias", "f"], ["g"]),
        node("Relu", ["g"], ["h"]),
        node("Gemm", ["h", "fc.weight", "scalar"], ["output"], alpha=0.5, beta=2.0, transB=1),
    ]
    tensors = [
        floats("conv.weight", 8, 3, 3, 3),
        numpy_helper.from_array(tensor("shift.bias", 8).reshape(1, 8, 1, 1), "shift"),
        numpy_helper.from_array(np.float32(0.5), "half"),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
        floats("matrix", 8, 10),
        floats("bias", 10),
        floats("fc.weight", 6, 10),
        numpy_helper.from_array(np.float32([0.25]), "scalar"),
    ]
    written("matmul_add_20", nodes, tensors, 20, 6)


def halves():
    """Weights of 16 bits behind Cast, one of them in the field for integers; SAME_UPPER and zeros before a convolution."""
    node = helper.make_node
    nodes = [
        node("Cast", ["w1"], ["w1.float"], to=1),
        node("Cast", ["w2"], ["w2.float"], to=1),
        node("Cast", ["b2"], ["b2.float"], to=1),
        node("Conv", ["input", "w1.float"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3]),
        node("Relu", ["a"], ["b"]),
        node("Pad", ["b", "pads"], ["c"], mode="constant"),
        node("Conv", ["c", "w2.float", "b2.float"], ["d"], strides=[2, 2]),
        node("GlobalAveragePool", ["d"], ["e"]),
        node("Reshape", ["e", "shape"], ["output"]),
    ]
    half = tensor("w2", 6, 8, 3, 3).astype(np.float16)
    in_integers = TensorProto(name="w2", data_type=TensorProto.FLOAT16, dims=half.shape)
    in_integers.int32_data.extend(int(bits) for bits in half.view(np.uint16).ravel())
    tensors = [
        numpy_helper.from_array(tensor("w1", 8, 3, 3, 3).astype(np.float16), "w1"),
        in_integers,
        numpy_helper.from_array(tensor("b2.bias", 6).astype(np.float16), "b2"),
        numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 1, 1]), "pads"),
        numpy_helper.from_array(np.array([0, -1]), "shape"),
    ]
    written("half_15", nodes, tensors, 15, 6, shape=("n", 3, SIDE, SIDE))


def of_pixels():
    """Bytes in, channels last, as graphs for serving have it."""
    node = helper.make_node
    nodes = [
        node("Cast", ["input"], ["a"], to=1),
        node("Mul", ["a", "white"], ["b"]),
        node("Sub", ["b", "mean"], ["c"]),
        node("Div", ["c", "std"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=[0, 3, 1, 2]),
        node("Conv", ["e", "conv.weight", "conv.bias"], ["f"], strides=[2, 2]),
        node("Relu", ["f"], ["g"]),
        node("GlobalAveragePool", ["g"], ["h"]),
        node("Squeeze", ["h", "axes"], ["i"]),
        node("LpNormalization", ["i"], ["output"], axis=1, p=2),
    ]
    tensors = [
        numpy_helper.from_array(np.float32(1 / 255), "white"),
        numpy_helper.from_array(np.float32([0.485, 0.456, 0.406]), "mean"),
        numpy_helper.from_array(np.float32([0.229, 0.224, 0.225]), "std"),
        floats("conv.weight", 8, 3, 3, 3),
        floats("conv.bias", 8),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
    ]
    written("pixels_18", nodes, tensors, 18, 8, TensorProto.UINT8, ("n", "h", "w", 3))


class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"input": image(SIDE) * scale} for scale in (1.0, 0.7)])

    def get_next(self):
        return next(self.left, None)


def quantised(name, base, per_channel, activations):
    """ONNX Runtime's static quantisation, which leaves activations to the ranges where it can."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        onnxruntime.quantization.quant_pre_process(HERE / f"{base}.onnx", prepared)
        quantize_static(
            prepared,
            HERE / f"{name}.onnx",
            Images(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=activations,
            weight_type=QuantType.QInt8,
        )


def main():
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.onnx"):
        old.unlink()
    exported("residual_11", Residual(), 11)
    exported("residual_norms_13", Residual(), 13, fuses=False)
    exported("inverted_13", Inverted(), 13)
    exported("branches_14", Branches(), 14, fixed=True)
    exported("modern_16", Modern(), 16)
    exported("modern_17", Modern(), 17)
    exported("modern_20", Modern(), 20)
    exported("planes_12", Planes(), 12)
    exported("head_17", Head(), 17, fuses=False)
    matrices()
    halves()
    of_pixels()
    quantised("int8_tensor_11", "residual_11", False, QuantType.QUInt8)
    quantised("int8_channel_13", "residual_norms_13", True, QuantType.QUInt8)
    quantised("int8_signed_13", "inverted_13", True, QuantType.QInt8)
    outputs = {}
    for path in sorted(HERE.glob("*.onnx")):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        kind = "pixels" if "uint8" in session.get_inputs()[0].type else "floats"
        given = pixels(SIDE) if kind == "pixels" else image(SIDE)
        outputs[f"{path.stem}/{SIDE}/{kind}"] = session.run(None, {"input": given})[0].ravel()
        print(path.stem, path.stat().st_size, outputs[f"{path.stem}/{SIDE}/{kind}"][:4])
    save_file(outputs, HERE / "outputs.safetensors")


if __name__ == "__main__":
    main()
