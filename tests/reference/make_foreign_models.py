"""Small models as other makers export them, for `sketchfind model import`.

    pip install onnx numpy
    python make_foreign_models.py

writes foreign/*.onnx and foreign/weights/w.bin. All of them compute the same: the mean of each colour in each quarter of a
picture of 16 x 16 pixels, times a matrix of 3 x 5, which is a token; the embedding is the mean of the four. What differs is
the outside: names, layouts, types, batches, what is given. tests/doors/foreign.rs computes it by definition.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent / "foreign"
SIDE = 16
FLOAT, HALF, UINT8, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64


def matrix(factor=1):
    return np.array([[((3 * d + c) * factor % 7 - 3) / 4 for d in range(5)] for c in range(3)], dtype=np.float32)


def write(
    name, *, names=("image", "embedding"), element=FLOAT, last=False, batch="n", gives="embedding", given=FLOAT, factor=1,
    external=None, shape=None, declared=None, both=False, of_batch=False,
):
    (HERE / "weights").mkdir(parents=True, exist_ok=True)
    input_name, output_name = names
    nodes, constants = [], []

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(name, value):
        constants.append(numpy_helper.from_array(value, name))
        return name

    x = input_name
    if element != FLOAT:
        x = node("Cast", [x], "floats", to=FLOAT)
    if element == UINT8:
        x = node("Div", [x, constant("white", np.array(255, dtype=np.float32))], "scaled")
    if last:
        x = node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    if of_batch:
        x = node("Sub", [x, node("ReduceMean", [x], "of_batch", axes=[0], keepdims=1)], "centred")
    x = node("AveragePool", [x], "quarters", kernel_shape=[SIDE // 2] * 2, strides=[SIDE // 2] * 2)
    map_nhwc = node("MatMul", [node("Transpose", [x], "last", perm=[0, 2, 3, 1]), constant("w", matrix(factor))], "map_nhwc")
    n = batch if isinstance(batch, int) else 0
    as_tokens = constant("as_tokens", np.array([n or 0, 4, 5], dtype=np.int64))
    tokens = node("Reshape", [map_nhwc, as_tokens], "tokens")
    results = {
        "map_nhwc": (map_nhwc, [batch, 2, 2, 5]),
        "map": (node("Transpose", [map_nhwc], "map", perm=[0, 3, 1, 2]), [batch, 5, 2, 2]),
        "tokens": (tokens, [batch, 4, 5]),
        "embedding": (node("ReduceMean", [tokens], "mean", axes=[1], keepdims=0), [batch, 5]),
    }
    result, sizes = results[gives]
    node("Cast", [result], output_name, to=given)
    outputs = [helper.make_tensor_value_info(output_name, given, declared or sizes)]
    if both:
        outputs.insert(0, helper.make_tensor_value_info("tokens", FLOAT, results["tokens"][1]))
    shape = shape or ([batch, SIDE, SIDE, 3] if last else [batch, 3, SIDE, SIDE])
    inputs = [helper.make_tensor_value_info(input_name, element, shape)]
    if external:
        w = next(tensor for tensor in constants if tensor.name == "w")
        if not external.startswith(".."):
            (HERE / external).write_bytes(b"\0" * 64 + w.raw_data)
        onnx.external_data_helper.set_external_data(w, external, offset=64, length=len(w.raw_data))
        w.ClearField("raw_data")
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="foreign")
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


write("names", names=("pixel_values", "image_embeds"))
write("nhwc", last=True)
write("uint8_nhwc", element=UINT8, last=True)
write("uint8_nchw", element=UINT8)
write("half_input", element=HALF)
write("half_output", given=HALF)
write("batch1", batch=1)
write("batch4", batch=4)
write("open", shape=["n", "channels", "height", "width"])
write("tokens", gives="tokens")
write("map", gives="map")
write("map_nhwc", gives="map_nhwc", last=True)
write("external", external="weights/w.bin")
write("two_outputs", both=True)
write("sketches", names=("drawing", "embedding"), factor=2)
write("int_input", element=INT64)
write("open_width", declared=["n", "width"])
write("hostile", external="../w.bin")
write("of_batch", of_batch=True)
