"""Ctrl-C ends every long call at once, by a real signal to a real process."""

import os
import signal
import subprocess
import sys
import time
import unittest

import sketchfind
from support import MODEL, RED, WithGallery

# Says when it begins, and how the call ended and how long after the signal.
SCRIPT = """
import itertools, pathlib, signal, sys, time
import numpy as np, sketchfind
gallery, model, pipe, red = sys.argv[1:5]
def when(*_):
    global struck
    struck = time.monotonic()
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, when)
embedder = sketchfind.Embedder(model, threads=2)
shop = sketchfind.Retriever(gallery, writable=True, threads=2)
endless = lambda: itertools.repeat(np.zeros((300, 300, 3), np.uint8))
{before}
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print(round(time.monotonic() - struck, 3), flush=True)
{after}
assert "late" not in shop
"""

# How long some work takes to its first word of progress, which is a small part of it: whoever ends it then ends it there.
TIMED = """
def first_of(work):
    began, first = time.monotonic(), []
    def enough(*done):
        first.append(time.monotonic() - began)
        raise LookupError
    try:
        work(progress=enough)
    except LookupError:
        assert is_over_within(2 * first[0] + 1)
    return first[0]
def is_at_work():
    # By the time that all threads of this process use.
    before = time.process_time()
    time.sleep(0.3)
    return time.process_time() - before > 0.02
def is_over_within(seconds):
    until = time.monotonic() + seconds
    while is_at_work():
        if time.monotonic() > until:
            return False
    return True
"""
# A graph of some seconds.
LONG_GRAPH = """
ready = gallery + ".ready"
sketchfind.create(ready, width=64, distance="mse", index="hnsw")
big = sketchfind.Retriever(ready, writable=True)
big.add_embeddings(map(str, range(20_000)), np.random.default_rng(1).random((20_000, 64), np.float32))
first = first_of(big.compact)
"""
# A few photos in a graph and many beside it that are all alike, so that no bound tells them apart.
LONG_RECALL = """
ready = gallery + ".ready"
sketchfind.create(ready, width=256, distance="mse", index="hnsw")
big = sketchfind.Retriever(ready, writable=True)
big.add_embeddings(map(str, range(2000)), np.random.default_rng(1).random((2000, 256), np.float32))
big.compact()
big.add_embeddings(map("x{}".format, range(30_000)), np.ones((30_000, 256), np.float32))
first = first_of(big.measure_recall)
"""


class Interrupt(WithGallery):
    def check(self, call, *, at_most=3, wait=0.4, before="", after=""):
        pipe = self.folder / "pipe"
        if not pipe.exists():
            os.mkfifo(pipe)
        arguments = [self.gallery, MODEL, pipe, RED]
        script = SCRIPT.format(call=call, before=before, after=after)
        process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline().strip(), "ready")
        time.sleep(wait)
        self.assertIsNone(process.poll(), "the call has ended before the signal")
        process.send_signal(signal.SIGINT)
        said = process.stdout.readline()
        self.assertTrue(said, "the call was not interrupted")
        self.assertLess(float(said), at_most)
        self.assertEqual(process.wait(20), 0)

    def test_lists_without_an_end(self):
        for call in [
            "embedder.embed(endless())",
            "shop.embed(endless())",
            "shop.embed_photos(endless())",
            "shop.embed_sketches(endless())",
            "shop.query_batch(endless())",
            "shop.add_batch(map(str, range(10**6)), endless())",
        ]:
            with self.subTest(call=call):
                self.check(call)

    def test_a_signal_before_the_first_picture(self):
        """While ids are read and photos made of them no code of Python's runs: the signal waits, and is not lost."""
        for after in [0.05, 0.15, 0.2, 0.25, 0.3]:
            with self.subTest(after=after):
                self.check("shop.add_batch(map(str, range(10**6)), endless())", wait=after)

    def test_lists_that_are_long(self):
        with self.subTest("paths"):
            self.check("embedder.embed([red] * 10**6)")
        with self.subTest("files"):
            self.check("shop.ingest(map(str, range(10**6)), [red] * 10**6)")

    def test_a_generator_that_waits(self):
        self.check("embedder.embed(time.sleep(60) for _ in range(3))", at_most=1.5)

    def test_files_that_never_come(self):
        """A pipe that nobody writes to stands for a disk that does not answer: no call can end by itself."""
        for call in [
            "shop.query(pipe)",
            "shop.add('late', pipe)",
            "embedder.embed([pipe])",
            "shop.ingest(['late'], [pipe])",
            "shop.changes(['a'], [pipe])",
        ]:
            with self.subTest(call=call):
                # There has to be something that the file is compared with.
                if call.startswith("shop.changes") and not self.has_photo():
                    continue
                self.check(call)

    def has_photo(self):
        with sketchfind.Retriever(self.gallery, writable=True) as shop:
            shop.add("a", RED)
        return True

    def test_the_work_behind_ends_too(self):
        for call, before in [("big.compact()", LONG_GRAPH), ("big.measure_recall()", LONG_RECALL)]:
            with self.subTest(call=call):
                after = "assert is_over_within(2 * first + 1)\nassert big.remove(['0']) == 1"
                self.check(call, before=TIMED + before, after=after)

    def test_opening(self):
        os.mkfifo(self.folder / "pipe")
        model = self.folder / "model"
        model.mkdir()
        os.mkfifo(model / "card.json")
        for call in [
            f"sketchfind.Embedder({str(model)!r})",
            f"sketchfind.verify({str(model)!r})",
            f"sketchfind.create({str(self.folder / 'new')!r}, {str(model)!r})",
        ]:
            with self.subTest(call=call):
                self.check(call)


if __name__ == "__main__":
    unittest.main()
