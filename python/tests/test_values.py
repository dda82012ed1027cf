"""The small values: they compare, hash, pickle, and say what they are."""

import copy
import pathlib
import pickle
import unittest

import sketchfind
from support import RED, WithGallery, colour

VALUES = [
    sketchfind.Match("a", 0.5, 1, pathlib.Path("a.png"), ("boots", "red")),
    sketchfind.Match("a", 0.5, 1, score=0.75, product="boot"),
    sketchfind.Nothing("no_such_id", "the gallery has no photo 'a'"),
    sketchfind.Answer((sketchfind.Match("a", 0.5, 1, score=0.75),), 0.75),
    sketchfind.Answer((), None, sketchfind.Nothing("empty_gallery", "the gallery has no photos")),
    sketchfind.Strokes((3, 4.5), [[(0, 1), (2, 3)], [(0.1, 0.2)]]),
    sketchfind.FailedRow("a", "cannot decode"),
    sketchfind.Imported(1, 2, 3, (sketchfind.FailedRow("a", "cannot decode"),), ("price",)),
    sketchfind.Exported(3, ("a",)),
    sketchfind.Copied(3, 2, 1),
    sketchfind.Photo("a", ("boots",), pathlib.Path("a.png"), b"\x01" * 32, "boot"),
    sketchfind.BrokenImage("a", pathlib.Path("a.png"), "it is empty"),
    sketchfind.Ingested(1, 2, 3, 0, (sketchfind.BrokenImage("a", pathlib.Path("a.png"), "it is empty"),)),
    sketchfind.Changes(("a",), ("b",), 3),
    sketchfind.Recall(10, 200, 5000, 2000, 1990),
    sketchfind.Costs(10, 20),
]


class Values(WithGallery):
    def test_they_compare_hash_pickle_and_copy(self):
        for value in VALUES:
            with self.subTest(repr(value)):
                twins = [copy.copy(value), copy.deepcopy(value)]
                twins += [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
                for twin in twins:
                    self.assertEqual((twin, hash(twin), repr(twin)), (value, hash(value), repr(value)))
                # It is found again where it says that it is from, and its text is what makes it.
                self.assertIs(getattr(sketchfind, type(value).__name__), type(value))
                known = {**vars(sketchfind), "PosixPath": pathlib.PosixPath}
                self.assertEqual(eval(repr(value), known), value)
                with self.assertRaises(AttributeError):
                    value.id = "b"
        self.assertEqual(len(set(VALUES)), len(VALUES))
        self.assertNotEqual(VALUES[0], sketchfind.Match("a", 0.5, 2, pathlib.Path("a.png"), ("boots", "red")))

    def test_a_match_says_all_that_is_known(self):
        with self.open() as shop:
            shop.add("red", colour(255, 0, 0), ["warm", "sale"], "shop/red.jpg")
            shop.add("blue", colour(0, 0, 255))
            best, other = shop.query(colour(255, 0, 0))
            self.assertEqual(best, sketchfind.Match("red", 0.0, 1, pathlib.Path("shop/red.jpg"), ("sale", "warm")))
            self.assertEqual((other.path, other.labels, other.rank), (None, (), 2))
            for word in ["red", "0.0", "rank=1", "sale", "red.jpg"]:
                self.assertIn(word, repr(best))
            self.assertEqual(pickle.loads(pickle.dumps([best, other])), [best, other])

    def test_models_and_galleries_say_what_they_are(self):
        with self.open() as shop:
            shop.add("red", RED)
            self.assertIn("len=1, width=3", repr(shop))
            self.assertIn(str(self.gallery), repr(shop))
        self.assertIn("closed", repr(shop))
        self.assertEqual(shop.path, self.gallery)


if __name__ == "__main__":
    unittest.main()
