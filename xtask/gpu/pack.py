"""What the parts of a pack are made of: programs under a time limit, and CSV files."""

import argparse
import csv
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
# What a program gets to write down what it has, when its time is up.
GRACE_SECS = 15.0


class Failed(Exception):
    """What went wrong, in one line."""


class OutOfTime(Exception):
    """The part's time is up; what it has measured so far is kept."""


class Table:
    """A CSV file whose rows are on the disk as soon as they are there."""

    def __init__(self, path: pathlib.Path, columns: list[str]) -> None:
        self.path, self.columns = path, columns

    def add(self, **values: object) -> None:
        is_new = not self.path.exists()
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(values)


class Part(NamedTuple):
    name: str
    secs: float
    run: Callable[["Pack"], str]


class Pack:
    """Where things are, and how programs are run."""

    def __init__(self, options: argparse.Namespace, work: pathlib.Path) -> None:
        self.device: str = options.device
        self.is_tiny: bool = options.sizes == "tiny"
        self.out: pathlib.Path = options.out
        self.work = work
        self.data: pathlib.Path = options.data or HERE / "data"
        photos = self.data / "photo"
        self.photos: pathlib.Path = options.photos or (photos if photos.is_dir() else self.data)
        # Of the part that runs.
        self.deadline = time.monotonic()
        self.log = open(self.out / "log.txt", "w", buffering=1)
        # Of our programs, and of peers.
        self.environment = dict(os.environ)
        self.peer_environment = dict(os.environ)
        self.tables: dict[str, Table] = {}

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        self.log.write(line + "\n")

    def table(self, name: str, columns: list[str]) -> Table:
        if name not in self.tables:
            self.tables[name] = Table(self.out / name, columns)
        return self.tables[name]

    def secs_left(self) -> float:
        return self.deadline - time.monotonic()

    def program(self, name: str, *arguments: object, on_line: Callable[[str], None] | None = None) -> str:
        """Runs a program of the pack and returns what it printed."""
        return self.run([self.work / "bin" / name, *arguments], self.environment, on_line)

    def peer(self, script: str, *arguments: object, on_line: Callable[[str], None] | None = None) -> str:
        """Runs a script of the pack with the machine's own libraries."""
        return self.run([sys.executable, HERE / script, *arguments], self.peer_environment, on_line)

    def run(
        self, command: list[object], environment: dict[str, str], on_line: Callable[[str], None] | None
    ) -> str:
        words = [str(word) for word in command]
        self.log.write("$ " + " ".join(words) + "\n")
        if self.secs_left() <= 0:
            raise OutOfTime
        # A group of its own, so that what it starts ends with it.
        try:
            process = subprocess.Popen(
                words,
                cwd=self.work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise Failed(f"'{words[0]}' cannot be started: {error.strerror}") from error
        assert process.stdout is not None and process.stderr is not None
        printed, told = process.stdout, process.stderr
        said: list[str] = []

        def listen() -> None:
            for line in told:
                said.append(line.rstrip())
                self.log.write("  " + line.rstrip() + "\n")

        is_late = threading.Event()

        def stop() -> None:
            is_late.set()
            end(process)

        listener = threading.Thread(target=listen)
        listener.start()
        watch = threading.Timer(max(0.1, self.secs_left()), stop)
        watch.start()
        out: list[str] = []
        for line in printed:
            line = line.rstrip("\n")
            self.log.write("| " + line + "\n")
            out.append(line)
            if on_line is not None and not is_late.is_set():
                on_line(line)
        code = process.wait()
        watch.cancel()
        watch.join()
        listener.join()
        if is_late.is_set():
            raise OutOfTime
        if code != 0:
            raise Failed(reason([*out, *said], f"{pathlib.Path(words[0]).name} ended with {code}"))
        return "\n".join(out)


def reason(said: list[str], otherwise: str) -> str:
    """What a program says went wrong: its error, else its last line."""
    lines = [line.strip() for line in said if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [otherwise])[-1].removeprefix("error: ")


def end(process: subprocess.Popen[str]) -> None:
    """Asks a program and what it has started to end, and ends it if it does not."""
    for wanted in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, wanted)
        except ProcessLookupError:
            return
        try:
            process.wait(GRACE_SECS)
            # What it has started must not outlive it.
            os.killpg(process.pid, signal.SIGKILL)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
