"""Writes small_zip.pth, script.pth and frozen.pth with torch itself.

    pip install torch
    python make_zip.py

small_zip.pth is a training checkpoint as people keep them: a state dictionary under `state_dict`, saved through
DataParallel, with a view, a transposed view, a half, a bfloat16, a long and a parameter; beside it an epoch and an
optimiser's state. script.pth is a module of TorchScript, with lists and numbers
among its attributes; frozen.pth the same one frozen, by which its tensors lose their names.
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


class Wrapped(torch.nn.Module):
    sizes: list[int]

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1, bias=False), torch.nn.BatchNorm2d(2))
        self.scale = torch.nn.Parameter(torch.tensor([8.0]))
        self.sizes = [1, 2]
        self.names = {"a": 1}
        self.p = 3.0

    def forward(self, x):
        return self.backbone(x) * self.scale + self.p + float(self.sizes[0])


module = Wrapped()
with torch.no_grad():
    module.backbone[0].weight[:] = torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1)
    module.backbone[1].running_var[:] = torch.tensor([0.5, 0.25])
script = torch.jit.script(module.eval())
torch.jit.save(script, HERE / "script.pth")
torch.jit.save(torch.jit.freeze(script), HERE / "frozen.pth")
