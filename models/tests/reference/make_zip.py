"""Writes small_zip.pth and script.pth with torch itself.

    pip install torch
    python make_zip.py

small_zip.pth is a training checkpoint as people keep them: a state dictionary under `state_dict`, saved through
DataParallel, with a view, a transposed view, a half, a bfloat16, a long and a parameter; beside it an epoch and an
optimiser's state. script.pth is a TorchScript archive, which is no file of weights.
"""

import pathlib

import torch

HERE = pathlib.Path(__file__).parent

base = torch.arange(1, 13, dtype=torch.float32).reshape(3, 4)
state = {
    "module.a": base[:2, 1:3],
    "module.b": base.t(),
    "module.half": torch.tensor([0.5, -2.0], dtype=torch.float16),
    "module.bfloat16": torch.tensor([1.5], dtype=torch.bfloat16),
    "module.n": torch.tensor(7),
    "module.parameter": torch.nn.Parameter(torch.tensor([[3.25]])),
}
optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9).state_dict()
torch.save({"epoch": 3, "state_dict": state, "optimizer": optimiser}, HERE / "small_zip.pth")
torch.jit.save(torch.jit.script(torch.nn.ReLU()), HERE / "script.pth")
