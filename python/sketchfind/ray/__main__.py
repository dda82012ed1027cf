"""`python -m sketchfind.ray`: embeds photos on a cluster, or on this machine alone."""

import argparse
import logging
import os
import sys
from typing import Any, NoReturn

import ray
import ray.exceptions

from .. import BadFile, BadImage
from . import embed, photos
from ._job import Done

_EXIT_CODES = """\
Exit codes:
    0  done; that all was done before is said
    1  failed for a reason outside the input: disk, network, native library, Ray
    2  wrong usage
    3  the input is not what it should be: photos, model, or a folder that has the embeddings of others
    5  done, but for photos that cannot be read: each is a row with an error
  130  interrupted; what was embedded is written, and the same command goes on where it was"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sketchfind.ray", description="Embeds photos on many machines, by Ray Data.", epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    own = commands.add_parser(
        "embed", help="photos in, a folder of embeddings out, which `sketchfind index import` reads",
        description="Embeds photos into files of embeddings, each photo in one row of one file. After whatever has ended it the same "
        "command goes on where it was.",
        epilog=_EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("--model", required=True, help="the model's folder, on this machine")
    own.add_argument(
        "--photos", required=True, metavar="URI",
        help="a folder of photos; a folder in a store, such as s3://bucket/photos; or a Parquet list, *.parquet, with the columns id, "
        "and path, uri or bytes, and if you like labels, product and source",
    )
    own.add_argument("--out", required=True, metavar="DIR", help="the folder or URI for the files; this machine alone writes there")
    own.add_argument(
        "--address", help="the cluster, such as 10.0.0.1:6379; by default RAY_ADDRESS, and without that this machine alone"
    )
    own.add_argument("--num-gpus", type=float, default=0, metavar="N", help="GPUs of each worker, such as 1")
    own.add_argument("--threads", type=int, default=1, metavar="N", help="processors of each worker (1)")
    own.add_argument("--workers", type=int, metavar="N", help="workers at most; by default as many as there is room for")
    own.add_argument("--frame", default="card", metavar="card|off|SHARE", help="how photos are framed, as for `sketchfind index build`")
    own.add_argument("--batch", type=int, metavar="N", help="photos that go through the network at once")
    own.add_argument("--max-pixels", type=int, metavar="N", help="the largest image that is decoded")
    own.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB",
        help="leave files and folders alone that match: '*.tmp.jpg' by their name, 'old/**' by their path",
    )
    own.add_argument("--every", type=float, default=30, metavar="SECONDS", help="how often what is done is written (30)")
    own.add_argument("--retry-errors", action="store_true", help="try photos again that are rows with an error")
    return parser


def _connect(address: str | None, options: argparse.Namespace) -> None:
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(
            address=address, include_dashboard=False if address == "local" else None, logging_level=logging.WARNING,
            log_to_driver=False,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        _end(1, f"no cluster answers at '{address}': {error}")
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in alive]
    wanted = {"CPU": options.threads, "GPU": options.num_gpus}
    if not any(all(node.get(name, 0) >= n for name, n in wanted.items()) for node in nodes):
        lacking = f"no machine of it has {options.threads} processors and {options.num_gpus:g} GPUs for a worker"
        if address == "local":
            _end(1, lacking.replace(" of it", ""))
        # A cluster that grows by itself may get one.
        print(f"{lacking}: waiting for one", file=sys.stderr)


def _end(code: int, words: object) -> NoReturn:
    text = f"error: {words}"
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(code)


def _cause(error: BaseException) -> BaseException:
    """What went wrong in a worker, out of what Ray wraps it in."""
    while isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    inner = error.__cause__
    return _cause(inner) if isinstance(inner, ray.exceptions.RayTaskError) else error


def _embed(options: argparse.Namespace) -> Done:
    found: Any = photos(options.photos, exclude=options.exclude)
    return embed(
        found, options.out, model=options.model, frame=options.frame, workers=options.workers, threads=options.threads,
        num_gpus=options.num_gpus, batch=options.batch, max_pixels=options.max_pixels, every=options.every,
        retry_errors=options.retry_errors,
    )


def main() -> int:
    options = _parser().parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("sketchfind.ray").setLevel(logging.INFO)
    # What it says of its plans; its bars stay.
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        _connect(options.address, options)
        done = _embed(options)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    except Exception as raised:  # Each is one line; whose fault it is decides the code.
        error = _cause(raised)
        is_input = isinstance(error, (BadFile, BadImage, FileNotFoundError, NotADirectoryError, TypeError, ValueError))
        _end(3 if is_input else 1, error)
    finally:
        ray.shutdown()
    for id, reason in done.failed:
        print(f"left out: '{id}': {reason}", file=sys.stderr)
    new = done.n_photos - done.n_before
    print(
        f"{new} photos embedded, {done.n_before} done before; '{options.out}' has {done.n_photos} rows, {done.n_failed} with an error",
        file=sys.stderr,
    )
    return 5 if done.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
