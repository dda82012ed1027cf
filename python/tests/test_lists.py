"""Lists of pictures: generators, progress, bounded memory, all cores."""

import io
import itertools
import subprocess
import sys
import threading
import time
import unittest

import numpy as np
import sketchfind
from support import MODEL, RED, WithGallery, colour, noise


class Lists(WithGallery):
    def setUp(self):
        super().setUp()
        self.embedder = sketchfind.Embedder(MODEL, threads=2)

    def test_any_iterable_is_taken_once_and_in_order(self):
        greys = [colour(level, level, level) for level in range(50)]
        expected = np.arange(50, dtype=np.float32) / 255
        for images in [greys, tuple(greys), iter(greys), (grey for grey in greys), np.stack(greys)]:
            rows = self.embedder.embed(images)
            np.testing.assert_allclose(rows[:, 0], expected, atol=1e-6)
        self.assertEqual(self.embedder.embed(grey for grey in []).shape, (0, 3))

    def test_a_generator_runs_on_the_thread_that_called(self):
        threads = set()

        def pictures():
            for _ in range(30):
                threads.add(threading.get_ident())
                yield colour(1, 2, 3)

        self.embedder.embed(pictures())
        self.assertEqual(threads, {threading.get_ident()})

    def test_what_a_generator_raises_comes_through(self):
        def pictures():
            yield from (colour(1, 2, 3) for _ in range(20))
            raise LookupError("no more photos")

        with self.open() as shop:
            for call in [
                lambda: self.embedder.embed(pictures()),
                lambda: shop.embed_photos(pictures()),
                lambda: shop.query_batch(pictures()),
                lambda: shop.add_batch(map(str, range(21)), pictures()),
            ]:
                with self.assertRaisesRegex(LookupError, "no more photos"):
                    call()
            self.assertEqual(len(shop), 0)
            # Nothing hangs on to a session.
            self.assertEqual(shop.embed([colour(1, 2, 3)]).shape, (1, 3))

    def test_the_first_that_is_broken_is_named(self):
        broken = b"\x89PNG\r\n\x1a\nnothing more"
        with self.open() as shop:
            for call in [self.embedder.embed, shop.embed_sketches, shop.query_batch]:
                images = [colour(1, 2, 3)] * 30 + [broken] + [colour(1, 2, 3)] * 30 + [broken]
                with self.assertRaisesRegex(sketchfind.BadImage, "position 30"):
                    call(images)
            with self.assertRaises(FileNotFoundError) as raised:
                self.embedder.embed([RED] * 9 + [self.folder / "nowhere.png"])
            self.assertEqual(raised.exception.filename, str(self.folder / "nowhere.png"))

    def test_progress_is_told_on_the_calling_thread(self):
        images = [noise(200, 200, 3, seed=seed) for seed in range(40)]
        for given, total in [(images, 40), (iter(images), None)]:
            told = []
            self.embedder.embed(given, progress=lambda *done: told.append((*done, threading.get_ident())))
            numbers = [n_done for n_done, _, _ in told]
            self.assertEqual((numbers[-1], numbers), (40, sorted(set(numbers))))
            self.assertEqual({(total_told, thread) for _, total_told, thread in told}, {(total, threading.get_ident())})

    def test_every_long_call_tells_progress(self):
        with self.open() as shop:
            images = [colour(level, 0, 0) for level in range(30)]
            ids = [str(level) for level in range(30)]
            for call, n in [
                (lambda told: shop.embed(images, progress=told), 30),
                (lambda told: shop.embed_photos(images, progress=told), 30),
                (lambda told: shop.embed_sketches(images, progress=told), 30),
                (lambda told: shop.query_batch(images, progress=told), 30),
                (lambda told: shop.add_batch(ids, images, progress=told), 30),
                (lambda told: shop.ingest(["a", "b"], [RED, RED], progress=told), 2),
            ]:
                told = []
                call(lambda n_done, total: told.append((n_done, total)))
                self.assertEqual(told[-1], (n, n))

    def test_bars(self):
        class Bar:
            n = 0
            is_closed = False

            def update(self, n):
                self.n += n

            def close(self):
                self.is_closed = True

        bar = Bar()
        self.embedder.embed([colour(1, 2, 3)] * 30, progress=bar)
        self.embedder.embed([colour(1, 2, 3)] * 10, progress=bar)
        # It is the caller's to close.
        self.assertEqual((bar.n, bar.is_closed), (40, False))
        import tqdm

        with tqdm.tqdm(file=io.StringIO()) as given:
            self.embedder.embed([colour(1, 2, 3)] * 30, progress=given)
            self.assertEqual(given.n, 30)
        script = f"import sketchfind; sketchfind.Embedder({str(MODEL)!r}).embed([{str(RED)!r}] * 7, progress=True)"
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
        self.assertIn("7/7", said)
        without = "import sys; sys.modules['tqdm'] = None; " + script
        said = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True).stderr
        self.assertIn("ModuleNotFoundError", said)
        self.embedder.embed([RED], progress=False)
        with self.assertRaisesRegex(TypeError, "not int"):
            self.embedder.embed([RED], progress=7)

    def test_what_a_listener_raises_ends_the_call(self):
        def listener(n_done, total):
            raise LookupError("enough")

        endless = itertools.repeat(colour(1, 2, 3))
        with self.assertRaisesRegex(LookupError, "enough"):
            self.embedder.embed(endless, progress=listener)

    def test_other_threads_of_python_go_on(self):
        """While a call embeds, Python's lock is free: another thread counts nearly as fast as alone."""
        images = [noise(1500, 1500, 3)] * 60
        counted, is_over = [0], threading.Event()

        def count():
            while not is_over.is_set():
                counted[0] += 1
                time.sleep(0.001)

        thread = threading.Thread(target=count)
        thread.start()
        started = time.monotonic()
        self.embedder.embed(images)
        took = time.monotonic() - started
        is_over.set()
        thread.join()
        # A call that kept the lock would let it count no more than a few times.
        self.assertGreater(counted[0], min(20, took / 0.02))

    def test_a_long_list_takes_the_memory_of_few(self):
        """200 pictures of 12 MB, which are 2.4 GB, in 400 MB."""
        script = f"""
import resource, sys
import numpy as np, sketchfind
embedder = sketchfind.Embedder({str(MODEL)!r}, threads=2)
pictures = lambda: (np.full((2000, 2000, 3), n % 256, np.uint8) for n in range(200))
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = used()
assert embedder.embed(pictures()).shape == (200, 3)
print(used() - before)
"""
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        self.assertLess(int(said), 400)


if __name__ == "__main__":
    unittest.main()
