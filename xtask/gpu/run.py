"""Runs the parts of a pack, the most valuable first, each under a time limit of its own. One that fails says so in one line, and
the others go on. Needs nothing but Python's own library; the PyTorch peers need PyTorch.
"""

import argparse
import importlib
import importlib.util
import lzma
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback

from pack import GRACE_SECS, HERE, Failed, OutOfTime, Pack, Part

# What all parts may take together.
TOTAL_SECS = 360.0


def unpack(work: pathlib.Path) -> None:
    with tarfile.open(HERE / "payload.tar.xz", "r:xz") as archive:
        archive.extractall(work, filter="tar")
    for packed in HERE.glob("*.safetensors.xz"):
        with lzma.open(packed) as file, open(work / packed.stem, "wb") as out:
            shutil.copyfileobj(file, out, 1 << 20)


def libraries(pack: Pack) -> None:
    """Tells our programs where the machine's libraries are, and the log what they are."""
    found = []
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        pack.say("no PyTorch: this python3 has none; sketchfind-train runs with the libtorch that it was built with")
    else:
        found.append(pathlib.Path(torch.origin).parent / "lib")
    nvidia = importlib.util.find_spec("nvidia")
    folders = list(nvidia.submodule_search_locations or []) if nvidia else []
    found += sorted(path for folder in folders for path in pathlib.Path(folder).glob("*/lib") if path.is_dir())
    if pack.device == "cuda" and not folders:
        pack.say("no nvidia packages: this python3 has none; cuBLAS and cuDNN have to be where the system looks for them")
    own = os.environ.get("LD_LIBRARY_PATH")
    if found:
        pack.environment["LD_LIBRARY_PATH"] = os.pathsep.join([*map(str, found), *([own] if own else [])])
    runtimes = sorted((pack.work / "lib").glob("libonnxruntime.so.*"))
    if not runtimes and "ORT_DYLIB_PATH" not in os.environ:
        onnxruntime = importlib.util.find_spec("onnxruntime")
        if onnxruntime is not None and onnxruntime.origin is not None:
            runtimes = sorted((pathlib.Path(onnxruntime.origin).parent / "capi").glob("libonnxruntime.so.*"))
    if runtimes:
        pack.environment["ORT_DYLIB_PATH"] = str(runtimes[0])
    # Kernels are loaded when they are first used, as is usual: of the provider not all are packed.
    pack.environment["CUDA_MODULE_LOADING"] = "LAZY"
    for name in ("LD_LIBRARY_PATH", "ORT_DYLIB_PATH"):
        pack.log.write(f"{name}={pack.environment.get(name, '')}\n")
    smi = shutil.which("nvidia-smi")
    if smi is not None:
        said = subprocess.run([smi], capture_output=True, text=True, errors="replace", check=False)
        pack.log.write(said.stdout + said.stderr)
    pack.log.write(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n")


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.sh", description="Measures sketchfind on this machine, in six minutes. CSV files and a log are left in $OUT."
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where to compute; cpu is a rehearsal")
    parser.add_argument("--sizes", choices=["full", "tiny"], help="by default full on cuda, and tiny on cpu")
    out = os.environ.get("OUT") or "out"
    parser.add_argument("--out", type=pathlib.Path, default=out, help="the folder of results; by default $OUT, or ./out")
    parser.add_argument("--part", action="append", help="only this part; may be given again")
    parser.add_argument("--data", type=pathlib.Path, help="a data set on this machine, in the place of the pack's")
    parser.add_argument("--photos", type=pathlib.Path, help="a folder of photos on this machine, to be embedded, likewise")
    options = parser.parse_args(arguments)
    options.sizes = options.sizes or ("full" if options.device == "cuda" else "tiny")
    for name in ("out", "data", "photos"):
        path = getattr(options, name)
        if path is not None:
            setattr(options, name, path.resolve())
        if name != "out" and path is not None and not path.exists():
            parser.error(f"--{name}: '{path}' is not there")
    return options


def main() -> int:
    options = options_of(sys.argv[1:])
    # The pack has one of them.
    kind = "inference" if (HERE / "inference.py").is_file() else "training"
    parts: list[Part] = importlib.import_module(kind).PARTS
    names = [part.name for part in parts]
    for name in options.part or []:
        if name not in names:
            print(f"error: there is no part '{name}', expected one of {', '.join(names)}", file=sys.stderr)
            return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for old in [*options.out.glob("*.csv"), options.out / "log.txt"]:
        old.unlink(missing_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sketchfind-gpu-") as work:
        pack = Pack(options, pathlib.Path(work))
        try:
            unpack(pack.work)
        except (OSError, lzma.LZMAError, tarfile.TarError) as error:
            pack.say(f"error: the pack cannot be unpacked into '{work}': {error}")
            return 1
        libraries(pack)
        pack.say(f"{kind} on {pack.device}, {options.sizes} sizes: unpacked in {time.monotonic() - started:.1f} s")
        table, n_failed, spare = pack.table("parts.csv", ["part", "status", "secs", "message"]), 0, 0.0
        for part in parts:
            if options.part and part.name not in options.part:
                continue
            begun = time.monotonic()
            # Nothing ends later than all parts together may; what earlier ones have left is the next one's.
            pack.deadline = min(begun + part.secs + spare, started + TOTAL_SECS - GRACE_SECS)
            limit = pack.deadline - begun
            try:
                status, message = "done", part.run(pack)
            except Failed as failure:
                status, message = "failed", str(failure)
            except OutOfTime:
                status, message = "out of time", f"its {limit:.0f} s are over; what it has measured is kept"
            except Exception as error:  # A defect of one part must not cost the others.
                pack.log.write(traceback.format_exc())
                status, message = "failed", f"a defect of this pack: {error!r}; the log tells where"
            secs = time.monotonic() - begun
            spare = max(0.0, limit - secs)
            n_failed += status == "failed"
            table.add(part=part.name, status=status, secs=f"{secs:.1f}", message=message)
            pack.say(f"{part.name}: {status}, {secs:.1f} s" + (f": {message}" if message else ""))
        pack.say(f"results lie in '{options.out}'; {time.monotonic() - started:.1f} s")
        return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
