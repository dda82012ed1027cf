"""The wheel, as its users have it, in an environment where it is installed: `python -m unittest discover -s python/tests`."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import unittest

import numpy as np
import sketchfind
from support import FIXTURES, MODEL, WithGallery, colour


class Sketchfind(WithGallery):
    def test_it_is_the_installed_one(self):
        self.assertIn("site-packages", sketchfind.__file__)
        self.assertTrue((pathlib.Path(sketchfind.__file__).parent / "py.typed").is_file())
        self.assertTrue(sketchfind.verify(MODEL))

    def test_onnx_runtime_does_not_report(self):
        self.assertEqual(os.environ["ORT_DISABLE_TELEMETRY"], "1")
        # Where somebody takes that back in a process with threads, nothing is loaded that would.
        script = """
import os, sys, threading
import sketchfind
del os.environ["ORT_DISABLE_TELEMETRY"]
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    sketchfind.verify(sys.argv[1])
except sketchfind.Error as error:
    print(error)
"""
        said = subprocess.run([sys.executable, "-c", script, MODEL], capture_output=True, text=True, check=True)
        self.assertIn("ORT_DISABLE_TELEMETRY is not set, expected '1'", said.stdout)

    def test_images_come_in_three_forms(self):
        embedder = sketchfind.Embedder(MODEL, threads=1)
        red = FIXTURES / "photos/red.png"
        found = embedder.embed([red, str(red), red.read_bytes(), colour(255, 0, 0), colour(0, 51, 0)[:, ::2]])
        self.assertEqual((found.dtype, found.shape, embedder.width), (np.float32, (5, 3), 3))
        np.testing.assert_allclose(found[:4], [[1, 0, 0]] * 4, atol=1e-6)
        np.testing.assert_allclose(found[4], [0, 0.2, 0], atol=1e-6)
        self.assertEqual(embedder.embed([]).shape, (0, 3))
        for wrong, error in [
            (colour(1, 2, 3)[:, :, :2], ValueError),
            (colour(1, 2, 3).astype(np.float32), ValueError),
            (7, TypeError),
            (b"no image", sketchfind.BadImage),
            ("nowhere.png", FileNotFoundError),
        ]:
            with self.assertRaises(error):
                embedder.embed([wrong])
        with self.assertRaisesRegex(sketchfind.BadImage, "limit of 10 pixels"):
            sketchfind.Embedder(MODEL, max_pixels=10).embed([red])

    def test_a_gallery_is_filled_and_asked(self):
        with sketchfind.Retriever(self.gallery, writable=True, sessions=2) as shop:
            shop.add("red", colour(255, 0, 0), ["warm", "sale"], "shop/red.jpg")
            shop.add("blue", colour(0, 0, 255), labels=["cold"])
            shop.add("green", colour(0, 255, 0))
            with self.assertRaises(sketchfind.PhotoExists):
                shop.add("red", colour(1, 1, 1))
            shop.add("green", colour(0, 204, 0), replace=True)
            with self.assertRaises(sketchfind.Locked):
                sketchfind.Retriever(self.gallery, writable=True)
            best = shop.query(colour(200, 0, 0), k=2)[0]
            self.assertEqual((best.id, best.rank, best.path), ("red", 1, pathlib.Path("shop/red.jpg")))
            self.assertIn("red", repr(best))
            ids = lambda **conditions: [match.id for match in shop.query(colour(9, 0, 0), **conditions)]
            self.assertEqual(ids(any_label=["cold"]), ["blue"])
            self.assertEqual(ids(every_label=["warm", "sale"], without_label=["cold"]), ["red"])
            self.assertEqual(ids(only_ids=["green", "never"]), ["green"])
            self.assertEqual(ids(any_label=[]), [])
            # Any iterable of texts, but no text alone.
            self.assertEqual(ids(only_ids={"green"}, without_label=(label for label in ["warm"])), ["green"])
            with self.assertRaisesRegex(TypeError, "not one str"):
                ids(any_label="cold")
            batch = shop.query_batch([colour(255, 0, 0), colour(0, 0, 255)], 1)
            self.assertEqual([found[0].id for found in batch], ["red", "blue"])
            names, rows = shop.embeddings()
            self.assertEqual(names, ["blue", "green", "red"])
            np.testing.assert_allclose(rows, [[0, 0, 1], [0, 0.8, 0], [1, 0, 0]], atol=1e-6)
            # The distance, by NumPy.
            query = np.array([0.5, 0.25, 0], dtype=np.float32)
            expected = sorted(((rows - query) ** 2).mean(axis=1))
            found = [match.distance for match in shop.query_embedding(query)]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            with self.assertRaisesRegex(ValueError, "width"):
                shop.query_embedding(query[:2])
            self.assertEqual((shop.labels("red"), shop.source("red")), (["sale", "warm"], pathlib.Path("shop/red.jpg")))
            # What is not given stays; what is given as empty goes.
            shop.add("red", colour(250, 0, 0), replace=True)
            self.assertEqual((shop.labels("red"), shop.source("red")), (["sale", "warm"], pathlib.Path("shop/red.jpg")))
            shop.add("red", colour(250, 0, 0), [], replace=True)
            self.assertEqual((shop.labels("red"), shop.source("red")), ([], pathlib.Path("shop/red.jpg")))
            shop.add("red", colour(250, 0, 0), ["cafe\u0301"], "shop/new.jpg", replace=True)
            self.assertEqual((shop.labels("red"), shop.source("red")), (["caf\u00e9"], pathlib.Path("shop/new.jpg")))
            self.assertEqual(ids(any_label=["cafe\u0301"]), ids(any_label=["caf\u00e9"]))
            with self.assertRaises(KeyError):
                shop.labels("never")
            self.assertEqual(shop.remove(["red", "never"]), 1)
            self.assertTrue(len(shop) == 2 and "red" not in shop and "blue" in shop)
            shop.compact()
        with self.assertRaisesRegex(sketchfind.Closed, "closed"):
            len(shop)
        again = sketchfind.Retriever(self.gallery)
        self.assertEqual(len(again), 2)
        with self.assertRaises(sketchfind.ReadOnly):
            again.remove(["blue"])

    def test_drawings_are_framed_and_blank_ones_refused(self):
        blank = np.full((60, 80, 3), 255, dtype=np.uint8)
        drawing = blank.copy()
        drawing[20:40, 30:32] = drawing[20:22, 30:50] = 0
        moved = np.full((200, 90, 3), 255, dtype=np.uint8)
        moved[100:160, :80] = drawing
        # The model's card states no frame: drawings are taken as they are, unless a share is given.
        with sketchfind.Retriever(self.gallery, writable=True) as shop:
            shop.add("grey", colour(128, 128, 128))
            self.assertEqual(len(shop.query(blank)), 1)
        with sketchfind.Retriever(self.gallery, frame="0.8") as shop:
            near, far = (shop.query(image)[0].distance for image in (drawing, moved))
            self.assertAlmostEqual(near, far, places=2)
            for batch in (lambda: shop.query(blank), lambda: shop.query_batch([drawing, blank])):
                with self.assertRaisesRegex(sketchfind.BadImage, "nothing is drawn"):
                    batch()
            self.assertEqual(shop.embed([blank]).shape, (1, 3))
        with self.assertRaisesRegex(ValueError, "frame"):
            sketchfind.Retriever(self.gallery, frame="2")

    def test_a_reader_sees_what_others_write_once_it_looks(self):
        with sketchfind.Retriever(self.gallery, writable=True) as shop, sketchfind.Retriever(self.gallery) as reader:
            self.assertFalse(reader.refresh())
            shop.add("red", colour(255, 0, 0))
            self.assertEqual(len(reader), 0)
            self.assertTrue(reader.refresh())
            self.assertEqual(reader.query(colour(200, 0, 0), k=1)[0].id, "red")
            self.assertFalse(reader.refresh() or shop.refresh())

    def test_threads_share_one(self):
        shop = sketchfind.Retriever(self.gallery, writable=True, sessions=2, threads=1)
        shop.add("0", colour(0, 0, 0))
        failures = []

        def ask():
            while len(shop) < 50:
                if shop.query(colour(0, 0, 0), k=1)[0].id != "0":
                    failures.append("another photo is nearer to black than black")

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for value in range(1, 50):
            shop.add(str(value), colour(value, value, value))
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_photos_of_which_some_are_broken(self):
        """They are told by their places; the others are embedded as a gallery has them."""
        embedder = sketchfind.Embedder(MODEL, threads=2)
        images = [colour(255, 0, 0), b"no picture", b"", colour(0, 0, 255), b"no picture either"]
        embeddings, broken = embedder.embed_photos(image for image in images)
        self.assertEqual(embeddings.tolist(), [[1, 0, 0], [0, 0, 1]])
        self.assertEqual(list(broken), [1, 2, 4])
        self.assertTrue(all(broken.values()))
        self.assertNotIn("given as bytes", " ".join(broken.values()))
        nothing, broken = embedder.embed_photos([b""])
        self.assertEqual((nothing.shape, list(broken)), ((0, 3), [0]))
        product = np.full((100, 100, 3), 255, np.uint8)
        product[60:80, 10:40] = 0
        for frame in ("off", 0.8):
            sketchfind.create(self.gallery, MODEL, frame=frame)
            shop = sketchfind.Retriever(self.gallery)
            of_gallery = shop.embed_photos([product])
            self.assertEqual(embedder.embed_photos([product], frame=frame)[0].tolist(), of_gallery.tolist())
            self.assertEqual(embedder.embed([product]).tolist() == of_gallery.tolist(), frame == "off")
        with self.assertRaisesRegex(ValueError, "frame"):
            embedder.embed_photos([product], frame="on")
        card = json.loads((MODEL / "card.json").read_text())
        self.assertEqual(embedder.fingerprint, card["onnx"]["sha256"])

    def test_an_image_over_the_limit_is_refused_everywhere(self):
        shop = sketchfind.Retriever(self.gallery, writable=True, max_pixels=20)
        large = FIXTURES / "photos/red.png"
        for call in [
            lambda: shop.embed([large]),
            lambda: shop.query(large),
            lambda: shop.query_batch([large]),
            lambda: shop.add("large", large),
        ]:
            with self.assertRaisesRegex(sketchfind.BadImage, "limit of 20 pixels"):
                call()
        self.assertEqual(len(shop), 0)
        shop.add("small", colour(1, 2, 3))

    def test_what_is_damaged_is_named(self):
        (self.gallery / "gallery.json").write_text("{}")
        with self.assertRaisesRegex(sketchfind.BadFile, "gallery.json"):
            sketchfind.Retriever(self.gallery)


if __name__ == "__main__":
    unittest.main()
