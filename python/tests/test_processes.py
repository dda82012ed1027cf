"""More processes than one: pools of every kind, workers of a server, readers that follow a writer. Nothing hangs or is lost."""

import multiprocessing
import subprocess
import sys
import time

import sketchfind
from support import MODEL, WithGallery, colour

# Each runs as a program of its own, so that one that hangs can be told and ended.
LONGEST = 120

POOL = """
import multiprocessing, os, sys
import numpy as np
import sketchfind

kind, gallery, model = sys.argv[1:]
red = np.full((4, 5, 3), (255, 0, 0), dtype=np.uint8)
own = {}

def answer(number):
    # In a worker, which opens what it uses.
    if "shop" not in own:
        own["shop"] = sketchfind.Retriever(gallery)
    return os.getpid(), own["shop"].query(red, k=1)[0].id

if __name__ == "__main__":
    # What is open before the pool is made is none of its business.
    shop = sketchfind.Retriever(gallery, writable=True)
    shop.add("red", red)
    sketchfind.Embedder(model).embed([red])
    shop.query(red)
    with multiprocessing.get_context(kind).Pool(2) as pool:
        found = pool.map(answer, range(8))
    assert all(pid != os.getpid() and id == "red" for pid, id in found), found
    shop.add("more", red)
"""

FORK = """
import os, signal, sys, time
import numpy as np
import sketchfind

gallery, model = sys.argv[1:]
red = np.full((4, 5, 3), (255, 0, 0), dtype=np.uint8)
shop = sketchfind.Retriever(gallery, writable=True)
embedder = sketchfind.Embedder(model)
shop.add("red", red)
expected = embedder.embed([red])

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return pid

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def refused(call):
    try:
        call()
    except sketchfind.Forked as error:
        assert error.code == "FORKED" and str(os.getppid()) in str(error), error
    else:
        raise AssertionError("a child may use it")

def in_child():
    for call in [
        lambda: shop.query(red),
        lambda: shop.query_batch([red]),
        lambda: shop.query_embedding(expected[0]),
        lambda: shop.query_embeddings(expected),
        lambda: shop.answer(red),
        lambda: shop.answer_embedding(expected[0]),
        lambda: shop.add_embeddings(["blue"], expected),
        lambda: shop.set_index("exact"),
        lambda: shop.measure_recall(),
        lambda: shop.embed([red]),
        lambda: shop.add("blue", red),
        lambda: shop.remove(["red"]),
        lambda: shop.refresh(),
        lambda: shop.compact(),
        lambda: len(shop),
        lambda: shop.ids(),
        lambda: shop.photos(),
        lambda: shop.photo("red"),
        lambda: shop.embedding("red"),
        lambda: shop.export_embeddings("never.npy"),
    ]:
        refused(call)
    assert (embedder.embed([red]) == expected).all()
    shop.close()

def is_locked():
    try:
        sketchfind.Retriever(gallery, writable=True).close()
    except sketchfind.Locked:
        return True
    return False

assert ended(child(in_child)) == 0
assert child and is_locked(), "a child has unlocked it"
# One that ends in the ordinary way, with all that Python does at the end.
pid = os.fork()
if pid == 0:
    sys.exit(0)
assert ended(pid) == 0 and is_locked()
# One that is killed.
pid = child(lambda: time.sleep(1000))
os.kill(pid, signal.SIGKILL)
assert ended(pid) == -signal.SIGKILL and is_locked()
shop.remove(["red"])
shop.add("blue", red)
shop.close()
with sketchfind.Retriever(gallery) as after:
    assert [photo.id for photo in after.query(red)] == ["blue"], "an acknowledged change is gone"
"""

SERVER = """
import os, sys, time
import numpy as np
import sketchfind

gallery, model = sys.argv[1:]
red = np.full((4, 5, 3), (255, 0, 0), dtype=np.uint8)
# A server that loads its program, and asks once to be warm, before it makes its workers.
warm = sketchfind.Retriever(gallery)
warm.query(red)
workers = []
for _ in range(2):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with sketchfind.Retriever(gallery, follow=0.02) as shop:
            os.write(writing, b".")
            deadline = time.monotonic() + 60
            while not any(photo.id == "late" for photo in shop.query(red)):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        os._exit(0)
    workers.append((pid, reading))
for _, reading in workers:
    assert os.read(reading, 1) == b"."
with sketchfind.Retriever(gallery, writable=True) as shop:
    shop.add("late", red)
    for pid, _ in workers:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


class Processes(WithGallery):
    def program(self, text, *arguments):
        script = self.folder / "program.py"
        script.write_text(text)
        command = [sys.executable, "-W", "ignore", script, *arguments, self.gallery, MODEL]
        said = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
        self.assertEqual(said.returncode, 0, said.stderr)

    def test_a_pool_of_every_kind(self):
        for kind in sorted(set(multiprocessing.get_all_start_methods()) & {"fork", "spawn", "forkserver"}):
            with self.subTest(kind):
                self.program(POOL, kind)
                with sketchfind.Retriever(self.gallery, writable=True) as shop:
                    self.assertEqual(shop.remove(["red", "more"]), 2)

    def test_a_child_takes_nothing_from_its_parent(self):
        self.program(FORK)

    def test_workers_of_a_server_follow_a_writer(self):
        self.program(SERVER)

    def test_a_reader_follows_or_asks(self):
        with self.open() as writer, sketchfind.Retriever(self.gallery, follow=0.02) as follows:
            asks = sketchfind.Retriever(self.gallery)
            writer.add("red", colour(255, 0, 0))
            self.assertEqual((len(asks), asks.refresh(), len(asks), asks.refresh()), (0, True, 1, False))
            deadline = time.monotonic() + 60
            while len(follows) == 0:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            self.assertEqual(follows.troubles(), [])
        for wrong in [0, -1, float("nan"), float("inf"), 0.001, 1e6]:
            with self.assertRaisesRegex(ValueError, "10 milliseconds to a day"):
                sketchfind.Retriever(self.gallery, follow=wrong)
