"""Checks an ONNX file with onnx's own checker and strict shape inference, and prints what it found.

Usage: check_onnx.py FILE
"""
import sys

import onnx

model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
# Every value of the graph has a shape, not only the declared ones.
known = {value.name for value in inferred.graph.value_info} | {value.name for value in inferred.graph.output}
unknown = {name for node in inferred.graph.node for name in node.output} - known
assert not unknown, f"no shape was inferred for {sorted(unknown)}"
shape = inferred.graph.output[0].type.tensor_type.shape.dim
notes = ", ".join(f"{entry.key}={entry.value}" for entry in model.metadata_props)
print(
    " x ".join(d.dim_param or str(d.dim_value) for d in shape)
    + f"; opset {model.opset_import[0].version}, IR {model.ir_version}; {notes}"
)
