"""A cluster of Ray on this machine whose every process is known, and ended."""

import contextlib
import ctypes
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

CHECKOUT = pathlib.Path(__file__).parents[3]
# Orphans become children of this process and not of the system's first, so that each is found: PR_SET_CHILD_SUBREAPER.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


class Folder:
    """A folder for all that a test leaves, and the environment that keeps it there."""

    def __init__(self):
        # Short: sockets lie below it, whose paths have 107 bytes at most.
        self._own = tempfile.TemporaryDirectory(prefix="skf-", dir="/tmp", ignore_cleanup_errors=True)
        self.path = pathlib.Path(self._own.name)
        for name in ("home", "t"):
            (self.path / name).mkdir()
        own = {"HOME": self.path / "home", "TMPDIR": self.path / "t", "RAY_TMPDIR": self.path / "t", "RAY_AUTH_MODE": "token",
               "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
               "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true"}
        os.environ.update({name: str(value) for name, value in own.items()})
        tempfile.tempdir = None

    def close(self):
        self._own.cleanup()


def processes():
    """Of each process its parent, state and command line."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found[int(folder.name)] = (int(parent), state, command)
    return found


def descendants(of=None):
    """The living processes that were started by this one, or by those, with their command lines."""
    all_of_them = processes()
    below, more = {}, [of or os.getpid()]
    while more:
        above = more.pop()
        children = [pid for pid, (parent, _, _) in all_of_them.items() if parent == above]
        more.extend(children)
        below.update({pid: all_of_them[pid][2] for pid in children if all_of_them[pid][1] != "Z"})
    return below


def children():
    """The living processes right below this one: those that it started, and orphans of these."""
    return {pid for pid, (parent, state, _) in processes().items() if parent == os.getpid() and state != "Z"}


def gone_within(seconds, are_there=descendants):
    """What of them still lives after so long."""
    until = time.monotonic() + seconds
    while (living := are_there()) and time.monotonic() < until:
        time.sleep(0.1)
    return living


def reap():
    """Takes leave of orphans that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_all():
    """Ends what was started, each by its own number; gives what lives on even so."""
    for pid in descendants():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    left = gone_within(10)
    reap()
    return left


class Machines:
    """A head that does not work and two nodes of one processor, all on 127.0.0.2 (127.0.0.1 is for Ray one that others cannot reach)."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        alike = {"object_store_memory": 128 << 20, "node_ip_address": "127.0.0.2"}
        head = {**alike, "num_cpus": 0, "include_dashboard": False}
        self._alike = alike
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._cluster.add_node(num_cpus=1, **alike) for _ in range(2)]
        self._cluster.wait_for_nodes()
        self.address = self._cluster.address

    def raylets(self):
        """The numbers of the nodes' processes."""
        return [self._raylet(node).pid for node in self._nodes]

    def _raylet(self, node):
        return node.all_processes["raylet"][0].process

    def workers(self):
        """The processes that embed now."""
        found = {pid: command for raylet in self.raylets() for pid, command in descendants(raylet).items()}
        return [pid for pid, command in found.items() if command.startswith("ray::MapWorker")]

    def kill_a_node(self):
        """Kills one that embeds, its agents and workers with it as if the machine were gone; there is one less then."""
        at_work = set(self.workers())
        node = next(node for node in self._nodes if at_work & set(descendants(self._raylet(node).pid)))
        below = descendants(self._raylet(node).pid)
        for pid in [self._raylet(node).pid, *below]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._nodes.remove(node)

    def add_a_node(self):
        self._nodes.append(self._cluster.add_node(num_cpus=1, **self._alike))

    def close(self):
        self._cluster.shutdown()


def embed(photos, out, *more, model, address=None):
    """Starts `python -m sketchfind.ray embed`."""
    words = [sys.executable, "-m", "sketchfind.ray", "embed", "--model", model, "--photos", photos, "--out", out, *more]
    words += ["--address", address] if address else []
    return subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(process, seconds=120):
    """Its exit code and what it said."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out + err


def program(*words):
    """Runs `sketchfind`; its exit code and what it said."""
    ran = subprocess.run(
        [os.environ.get("SKETCHFIND_PROGRAM", CHECKOUT / "target/debug/sketchfind"), *map(str, words)], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr
