"""Writes small_legacy.pth as torch.save did before 1.6 (torch/serialization.py, _legacy_save), without torch.

Run: python3 make_legacy.py        The result is deterministic.
"""
import collections, io, pathlib, pickle, struct, sys, types

torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
sys.modules["torch"], sys.modules["torch._utils"] = torch, utils


class FloatStorage: ...


class LongStorage: ...


def _rebuild_tensor_v2(*args): ...


for cls in (FloatStorage, LongStorage):
    cls.__module__, cls.__qualname__ = "torch", cls.__name__
    setattr(torch, cls.__name__, cls)
_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2


class Storage:
    def __init__(self, cls, key, n):
        self.id = ("storage", cls, key, "cpu", n, None)


class View:
    def __init__(self, storage, offset, shape, strides):
        self.args = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.args


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Storage) else None


floats, longs = Storage(FloatStorage, "1", 6), Storage(LongStorage, "2", 1)
state = collections.OrderedDict(
    a=View(floats, 0, (2, 3), (3, 1)), b=View(floats, 0, (3, 2), (1, 3)), n=View(longs, 0, (), ())
)
out = io.BytesIO()
pickle.dump(0x1950A86A20F9469CFC6C, out, protocol=2)
pickle.dump(1001, out, protocol=2)
sizes = dict(short=2, int=4, long=4)
pickle.dump(dict(protocol_version=1001, little_endian=True, type_sizes=sizes), out, protocol=2)
Pickler(out, protocol=2).dump(state)
pickle.dump(["1", "2"], out, protocol=2)
out.write(struct.pack("<q6f", 6, 1, 2, 3, 4, 5, 6))
out.write(struct.pack("<qq", 1, 7))
pathlib.Path(__file__).with_name("small_legacy.pth").write_bytes(out.getvalue())
