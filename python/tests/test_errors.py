"""Errors of files are the system's, the others have one base and a code."""

import os
import pathlib
import unittest

import numpy as np
import sketchfind
from support import FIXTURES, MODEL, RED, WithGallery, colour, write_calibration


class Errors(WithGallery):
    def test_what_is_missing(self):
        nowhere = self.folder / "nowhere"
        shop = self.open()
        shop.add("red", RED)
        for call in [
            lambda: sketchfind.Embedder(nowhere),
            lambda: sketchfind.verify(nowhere),
            lambda: sketchfind.create(self.folder / "new", nowhere),
            lambda: sketchfind.Retriever(nowhere),
            lambda: sketchfind.Retriever(nowhere, writable=True),
            lambda: shop.add("new", nowhere),
            lambda: shop.query(str(nowhere)),
            lambda: shop.query_batch([nowhere]),
            lambda: shop.embed([nowhere]),
            lambda: shop.add_batch(["new"], [nowhere]),
            lambda: shop.ingest(["new"], [nowhere]),
            lambda: shop.import_embeddings(nowhere.with_suffix(".npy")),
            lambda: sketchfind.copy(nowhere, self.folder / "copy"),
            lambda: sketchfind.Retriever(self.gallery, calibration=nowhere),
        ]:
            with self.assertRaises(FileNotFoundError) as raised:
                call()
            self.assertEqual(raised.exception.errno, 2)
            self.assertTrue(str(raised.exception.filename).startswith(str(nowhere)))
            self.assertNotIsInstance(raised.exception, sketchfind.Error)

    def test_folders_and_files_in_each_others_place(self):
        shop = self.open()
        for call in [
            lambda: shop.add("new", self.folder),
            lambda: shop.query(self.folder),
            lambda: shop.embed([self.folder]),
            lambda: shop.ingest(["new"], [self.folder]),
        ]:
            with self.assertRaises(IsADirectoryError):
                call()
        with self.assertRaises(NotADirectoryError):
            sketchfind.Embedder(RED)
        with self.assertRaises(NotADirectoryError):
            sketchfind.Retriever(RED)
        with self.assertRaises(NotADirectoryError):
            shop.query(RED / "inside.png")

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_what_may_not_be_read(self):
        secret = self.folder / "secret.png"
        secret.write_bytes(RED.read_bytes())
        secret.chmod(0)
        with self.assertRaises(PermissionError):
            self.open().query(secret)

    def test_other_errors_of_the_system_keep_their_number(self):
        with self.assertRaises(OSError) as raised:
            self.open().query(self.folder / ("long" * 100))
        self.assertEqual(raised.exception.errno, 36)

    def test_each_kind_has_a_code_and_one_base(self):
        shop = self.open()
        shop.add("red", RED)
        closed = self.folder / "closed"
        sketchfind.create(closed, MODEL)
        gone = sketchfind.Retriever(closed)
        gone.close()
        ready = self.folder / "ready"
        sketchfind.create(ready, width=3, distance="mse")
        empty = self.folder / "empty"
        empty.mkdir()
        for call, kind, code in [
            (lambda: shop.query(b"no image"), sketchfind.BadImage, "BAD_IMAGE"),
            (lambda: sketchfind.Retriever(empty), sketchfind.BadFile, "BAD_FILE"),
            (lambda: sketchfind.Retriever(self.gallery, writable=True), sketchfind.Locked, "LOCKED"),
            (lambda: sketchfind.Retriever(closed).remove(["a"]), sketchfind.ReadOnly, "READ_ONLY"),
            (lambda: shop.add("red", RED), sketchfind.PhotoExists, "EXISTS"),
            (lambda: gone.ids(), sketchfind.Closed, "CLOSED"),
            (lambda: sketchfind.Embedder(MODEL, device="cuda"), sketchfind.Native, "NATIVE"),
            (lambda: sketchfind.Retriever(ready).query(RED), sketchfind.NoModel, "NO_MODEL"),
        ]:
            with self.subTest(code):
                with self.assertRaises(sketchfind.Error) as raised:
                    call()
                self.assertIs(type(raised.exception), kind)
                self.assertEqual(raised.exception.code, code)
        # The words of C's status, but for what Python has exceptions of its own for.
        header = (pathlib.Path(__file__).parents[2] / "c/include/sketchfind.h").read_text()
        for kind in sketchfind.Error.__subclasses__() + [sketchfind.Error]:
            if kind is not sketchfind.Closed:
                self.assertIn(f"SKF_{kind.code} =", header)

    def test_arguments(self):
        shop = self.open()
        for call, error, words in [
            (lambda: sketchfind.Embedder(MODEL, device="gpu"), ValueError, "gpu"),
            (lambda: sketchfind.Embedder(MODEL, threads=0), ValueError, "n_threads is 0"),
            (lambda: sketchfind.Embedder(MODEL, batch=0), ValueError, "batch is 0"),
            (lambda: sketchfind.Embedder(7), TypeError, ""),
            (lambda: sketchfind.Retriever(self.gallery, sessions=0), ValueError, "sessions is 0"),
            (lambda: sketchfind.create(self.folder / "new", MODEL, "best"), ValueError, "best"),
            (lambda: shop.query_embedding(np.zeros(4)), ValueError, "width"),
            (lambda: shop.add("", colour(1, 1, 1)), ValueError, "id"),
            (lambda: shop.add("x", colour(1, 1, 1), [""]), ValueError, "label"),
            (lambda: shop.query(RED, ef=0), ValueError, "ef is 0"),
            (lambda: shop.query(RED, ef="many"), TypeError, "argument 'ef'"),
            (lambda: shop.query(RED, exact=1), TypeError, "argument 'exact'"),
            (lambda: shop.query(RED, any_label="a"), TypeError, "argument 'any_label': .*not one str"),
            (lambda: shop.query(RED, any_labels=["a"]), TypeError, r"query\(\) got an unexpected .*'any_labels'"),
            (lambda: shop.query_batch([RED], label=["a"]), TypeError, r"query_batch\(\) got an unexpected .*'label'"),
            (lambda: shop.set_index("best"), ValueError, "best"),
            (lambda: shop.answer(RED, min_score=0.5), ValueError, "no calibration"),
            (lambda: shop.answer(RED, min_score="auto"), ValueError, "'auto'.*no calibration"),
            (lambda: shop.answer(RED, min_score="high"), ValueError, "'high', expected 'auto' or 0 to 1"),
            (lambda: shop.answer(RED, min_score=[1]), TypeError, ""),
        ]:
            with self.subTest(words=words):
                with self.assertRaisesRegex(error, words):
                    call()

    def test_what_a_model_gives_is_checked(self):
        with self.assertRaisesRegex((sketchfind.Error, ValueError), "finite"):
            sketchfind.Embedder(FIXTURES / "nan-output").embed([colour(0, 0, 0)])


if __name__ == "__main__":
    unittest.main()
