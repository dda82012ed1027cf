"""Scores, answers that say why nothing was found, drawings as strokes."""

import math
import unittest

import numpy as np
import sketchfind
from support import MODEL, RED, WithGallery, colour, write_calibration


class Answers(WithGallery):
    def setUp(self):
        super().setUp()
        self.calibration = write_calibration(self.folder / "calibration.json")
        with self.open() as shop:
            shop.add_batch([f"{level:02}" for level in range(20)], [colour(*[10 * level] * 3) for level in range(20)])

    def test_without_a_calibration_there_is_no_score(self):
        with self.open() as shop:
            answer = shop.answer(colour(0, 0, 0), 2)
            self.assertEqual(answer.matches, tuple(shop.query(colour(0, 0, 0), k=2)))
            self.assertEqual((answer.score, answer.matches[0].score, answer.nothing), (None, None, None))

    def test_scores_are_those_of_the_first_ten_however_few_are_asked_for(self):
        with self.open(calibration=self.calibration) as shop:
            picture = colour(50, 50, 50)
            every = shop.query(picture, k=20)
            scores = [match.score for match in every]
            self.assertEqual([score is None for score in scores], [False] * 10 + [True] * 10)
            # By the formula: the unit of distances, and what speaks for none of them.
            weights = [math.exp(-match.distance / 0.01) for match in every[:10]]
            np.testing.assert_allclose(scores[:10], np.array(weights) / (sum(weights) + math.exp(-2)), rtol=1e-9)
            (row,) = shop.embed_sketches([picture])
            for first in [
                shop.query(picture, k=1),
                shop.query_batch([picture], k=1)[0],
                shop.query_embedding(row, k=1),
                shop.query_embeddings([row], k=1)[0],
                list(shop.answer(picture, 1).matches),
                list(shop.answer_embedding(row, 1, 0.0).matches),
            ]:
                self.assertEqual(first, every[:1])
            self.assertAlmostEqual(shop.answer(picture, 1).score, sum(scores[:10]))

    def test_it_says_why_there_is_nothing(self):
        with self.open(calibration=self.calibration) as shop:
            near = shop.answer(colour(50, 50, 50), min_score="auto")
            self.assertTrue(near.score > 0.5 and near.nothing is None and len(near.matches) == 10)
            far = shop.answer(colour(255, 0, 0), k=5, min_score="auto")
            self.assertEqual((far.matches, far.nothing.code), ((), "no_fit"))
            self.assertLess(far.score, 0.5)
            self.assertRegex(far.nothing.reason, f"nothing fits: the score is {far.score:.4f}, expected at least 0.5000")
            (row,) = shop.embed_sketches([colour(255, 0, 0)])
            self.assertEqual(shop.answer_embedding(row, k=5, min_score="auto"), far)
            self.assertEqual(len(shop.answer(colour(255, 0, 0), 5, min_score=far.score).matches), 5)
            for asked, code, words in [
                ({"any_label": ["boots"]}, "no_such_label", "'boots'"),
                ({"only_ids": ["a", "b"]}, "no_such_id", "'a' or 'b'"),
                ({"only_ids": ["01"], "without_ids": ["01"]}, "filter", "none of the 20"),
            ]:
                answer = shop.answer(RED, **asked)
                self.assertEqual((answer.matches, answer.score, answer.nothing.code), ((), None, code))
                self.assertIn(words, answer.nothing.reason)
                self.assertEqual(shop.query(RED, **asked), [])
            for bad in [-0.1, 1.1, float("nan")]:
                with self.assertRaisesRegex(ValueError, "min_score.*0 to 1"):
                    shop.answer(RED, min_score=bad)
        empty = self.folder / "empty"
        sketchfind.create(empty, MODEL)
        self.assertEqual(sketchfind.Retriever(empty).answer(RED).nothing.code, "empty_gallery")

    def test_a_calibration_is_of_a_model_and_its_frames(self):
        other = write_calibration(self.folder / "other.json", model_sha256="1" * 64)
        with self.assertRaisesRegex(ValueError, "the model that the calibration is of"):
            sketchfind.Retriever(self.gallery, calibration=other)
        with self.assertRaisesRegex(ValueError, "the frame that the calibration is of"):
            sketchfind.Retriever(self.gallery, calibration=self.calibration, frame=0.8)
        with self.assertRaisesRegex(sketchfind.BadFile, "card.json.*no calibration"):
            sketchfind.Retriever(self.gallery, calibration=MODEL / "card.json")
        ready = self.folder / "ready"
        sketchfind.create(ready, width=3, distance="mse")
        with self.assertRaises(sketchfind.NoModel):
            sketchfind.Retriever(ready, calibration=self.calibration)


class Strokes(WithGallery):
    LINES = [[(10, 20), (90, 20), (90, 70)], [(30, 40)]]

    def test_every_form_of_points_is_the_same_drawing(self):
        expected = sketchfind.Strokes((100, 100), self.LINES)
        self.assertEqual(expected.page, (100.0, 100.0))
        self.assertEqual(expected.lines, (((10.0, 20.0), (90.0, 20.0), (90.0, 70.0)), ((30.0, 40.0),)))
        for kind in [np.float64, np.float32, np.int16]:
            arrays = [np.array(line, kind) for line in self.LINES]
            self.assertEqual(sketchfind.Strokes(np.array([100, 100]), iter(arrays)), expected)

    def test_they_are_asked_with_in_every_way(self):
        strokes = sketchfind.Strokes((100, 100), self.LINES)
        with self.open(frame=0.8) as shop:
            shop.add("white", colour(255, 255, 255))
            shop.add("drawn", strokes)
            (row,) = shop.embed_sketches([strokes])
            expected = shop.query_embedding(row)
            self.assertEqual(shop.query(strokes), expected)
            self.assertEqual(shop.query_batch(iter([strokes, strokes])), [expected] * 2)
            self.assertEqual(shop.answer(strokes).matches, tuple(expected))
            # Where they lie on their page, and how large it is, is nothing.
            moved = [[(x + 300, y + 20) for x, y in line] for line in self.LINES]
            np.testing.assert_array_equal(shop.embed_sketches([sketchfind.Strokes((400, 200), moved)])[0], row)
            # A photo of them is as they were drawn, and so is what an Embedder makes of them.
            self.assertFalse(np.array_equal(shop.embedding("drawn"), row))
            np.testing.assert_array_equal(shop.embed([strokes])[0], shop.embedding("drawn"))
            np.testing.assert_array_equal(sketchfind.Embedder(MODEL).embed([strokes])[0], shop.embedding("drawn"))
            with self.assertRaisesRegex(TypeError, "not one Strokes"):
                shop.query_batch(strokes)
            with self.assertRaises(sketchfind.BadImage):
                shop.query(sketchfind.Strokes((100, 100), [[(500, 500)]]))

    def test_what_is_no_drawing_is_refused_where_it_is_made(self):
        for page, lines, error, words in [
            ((100,), self.LINES, ValueError, "unpack"),
            ((0, 100), self.LINES, ValueError, "side of a drawing's canvas is 0.0"),
            ((100, float("nan")), self.LINES, ValueError, "canvas"),
            ((100, 100), [], ValueError, "number of a drawing's polylines is 0"),
            ((100, 100), [[(1, 2)], []], ValueError, "0 in polyline 2"),
            ((100, 100), [[(1, 2, 3)]], ValueError, r"line 1 of a drawing: expected points \[n, 2\], got \[1, 3\]"),
            ((100, 100), [[(1, 2)], (1, 2)], ValueError, r"line 2 of a drawing: expected points \[n, 2\], got \[2\]"),
            ((100, 100), [[(1, float("inf"))]], ValueError, "coordinate of a drawing is inf"),
            ((100, 100), [[(1, 1e6)]], ValueError, "coordinate of a drawing"),
            ((100, 100), [["ab"]], ValueError, ""),
            ((100, 100), 7, TypeError, ""),
        ]:
            with self.subTest(words=words, lines=lines):
                with self.assertRaisesRegex(error, words):
                    sketchfind.Strokes(page, lines)


if __name__ == "__main__":
    unittest.main()
