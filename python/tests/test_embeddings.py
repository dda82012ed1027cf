"""Embeddings that are ready: galleries without a model, arrays and files of embeddings in and out, copies, other indexes."""

import pathlib
import shutil
import unittest

import numpy as np
import sketchfind
from support import FIXTURES, MODEL, RED, WithGallery, colour

ROWS = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
IDS = ["right", "up", "both"]
# Of the model that the fixtures name.
MODEL_SHA256 = "1234567890abcdef" * 4


class WithReady(WithGallery):
    def setUp(self):
        super().setUp()
        self.ready = self.folder / "ready"

    def make(self, **options):
        sketchfind.create(self.ready, **{"width": 2, "distance": "cosine", **options})
        return self.again()

    def again(self):
        retriever = sketchfind.Retriever(self.ready, writable=True)
        self.addCleanup(retriever.close)
        return retriever


class WithoutModel(WithReady):
    def test_it_lives_as_one_with_a_model_does(self):
        with self.make() as shop:
            self.assertEqual((shop.width, len(shop), shop.query_embedding([1, 0])), (2, 0, []))
            shop.add_embeddings(IDS, ROWS, [["flat"], None, {"tall", "flat"}], ["r.png", None, "b.png"])
            self.assertEqual(shop.ids(), sorted(IDS))
            best = shop.query_embedding([0.1, 9], k=1)[0]
            self.assertEqual((best.id, best.rank, best.labels), ("up", 1, ()))
            self.assertEqual([found[0].id for found in shop.query_embeddings(ROWS, k=1)], IDS)
            self.assertEqual([match.id for match in shop.query_embedding([0, 1], any_label=["flat"])], ["both", "right"])
            self.assertEqual((shop.labels("both"), shop.source("both")), (["flat", "tall"], pathlib.Path("b.png")))
            self.assertEqual([photo.id for photo in shop.photos()], sorted(IDS))
            np.testing.assert_array_equal(shop.embedding("up"), ROWS[1])
            ids, rows = shop.embeddings()
            np.testing.assert_array_equal(rows, ROWS[[IDS.index(id) for id in ids]])
            self.assertEqual(shop.remove(["up", "never"]), 1)
            shop.compact()
            self.assertIsNone(shop.measure_recall())
            self.assertIn("len=2, width=2", repr(shop))
            with sketchfind.Retriever(self.ready, follow=0.05) as reader:
                self.assertEqual(reader.ids(), ["both", "right"])
                shop.add_embeddings(["new"], [[3, 4]])
                self.assertTrue(reader.refresh() or "new" in reader)
                self.assertEqual(reader.answer_embedding([3, 4], k=1).matches[0].id, "new")
        self.assertEqual(len(sketchfind.Retriever(self.ready)), 3)

    def test_what_needs_a_model_is_refused_by_name(self):
        strokes = sketchfind.Strokes((9, 9), [[(1, 1), (8, 8)]])
        with self.make() as shop:
            for call in [
                lambda: shop.query(RED),
                lambda: shop.query(strokes),
                lambda: shop.query_batch([RED]),
                lambda: shop.answer(RED),
                lambda: shop.embed([RED]),
                lambda: shop.embed_photos([RED]),
                lambda: shop.embed_sketches([RED]),
                lambda: shop.add("a", RED),
                lambda: shop.add("a", RED, replace=True),
                lambda: shop.add_batch(["a"], [RED]),
                lambda: shop.ingest(["a"], [RED]),
                lambda: shop.measure_costs(),
            ]:
                with self.assertRaisesRegex(sketchfind.NoModel, "ready.*has no model"):
                    call()
            self.assertEqual(len(shop), 0)

    def test_a_gallery_is_of_one_kind(self):
        for given, got in [
            ({}, "none of them"),
            ({"width": 2}, "got width$"),
            ({"distance": "mse"}, "got distance$"),
            ({"model_sha256": MODEL_SHA256}, "got model_sha256$"),
            ({"model": MODEL, "width": 3}, "got model, width$"),
            ({"model": MODEL, "width": 3, "distance": "mse"}, "got model, width, distance$"),
            ({"model": MODEL, "model_sha256": MODEL_SHA256}, "got model, model_sha256$"),
        ]:
            with self.subTest(given=given):
                with self.assertRaisesRegex(ValueError, got):
                    sketchfind.create(self.ready, **given)
        for given, words in [
            ({"width": 0}, "width of embeddings is 0"),
            ({"width": 1 << 21}, "1 to 1048576"),
            ({"distance": "euclidean"}, "'euclidean', expected 'mse' or 'cosine'"),
            ({"model_sha256": "resnet50"}, "model_sha256 is 'resnet50'"),
            ({"frame": 0.8}, "photo_frame.*none where there is no model"),
            ({"index": "best"}, "best"),
        ]:
            with self.subTest(words=words):
                with self.assertRaisesRegex(ValueError, words):
                    self.make(**given)
        self.assertFalse(self.ready.exists())
        for frame in ["card", "off"]:
            self.make(frame=frame).close()


class Arrays(WithReady):
    def test_every_kind_of_number_is_taken(self):
        with self.make() as shop:
            kinds = [ROWS, ROWS.astype(np.float64), ROWS.astype(np.float16), ROWS.astype(int), ROWS.tolist(),
                     np.asfortranarray(ROWS), np.repeat(ROWS, 2, axis=0)[::2]]
            for number, rows in enumerate(kinds):
                shop.add_embeddings((f"{id} {number}" for id in IDS), rows)
                np.testing.assert_array_equal(shop.embedding(f"both {number}"), [1, 1])
            shop.add_embeddings([], np.empty((0, 2), np.float32))
            self.assertEqual(len(shop), 3 * len(kinds))

    def test_what_does_not_fit_is_named_and_changes_nothing(self):
        with self.make() as shop:
            shop.add_embeddings(IDS, ROWS)
            new = ["a", "b", "c"]
            for ids, rows, error, words in [
                (new, ROWS[:, :1], ValueError, r"expected \[n, 2\], got \[3, 1\]"),
                (new, ROWS[0], ValueError, r"expected \[n, 2\], got \[2\]"),
                (new, ROWS[None], ValueError, r"got \[1, 3, 2\]"),
                (new, ROWS > 0, TypeError, "bool"),
                (new, ROWS.astype(complex), TypeError, "complex"),
                (new, [["x", "y"]] * 3, TypeError, "not of"),
                (new, np.where(ROWS == 0, np.nan, ROWS), ValueError, r"embedding.*\(NaN\) in row 0"),
                (new, ROWS.astype(float) * 1e60, ValueError, r"\(inf\) in row 0"),
                (new[:2], ROWS, ValueError, "expected 2, got 3"),
                (["a", "b", "a"], ROWS, sketchfind.PhotoExists, "'a'"),
                (["a", "b", "up"], ROWS, sketchfind.PhotoExists, "'up'"),
                (["a", "b", ""], ROWS, ValueError, "id"),
                ("abc", ROWS, TypeError, "not one str"),
            ]:
                # What is too large for float32 is told, and NumPy need not tell it too.
                with self.subTest(words=words), np.errstate(over="ignore"):
                    with self.assertRaisesRegex(error, words):
                        shop.add_embeddings(ids, rows)
            with self.assertRaisesRegex(ValueError, "labels.*expected 3, got 1"):
                shop.add_embeddings(new, ROWS, [["x"]])
            self.assertEqual(shop.ids(), sorted(IDS))
        with self.assertRaises(sketchfind.ReadOnly):
            sketchfind.Retriever(self.ready).add_embeddings(new, ROWS)

    def test_replacing_keeps_what_is_not_given(self):
        with self.make() as shop:
            shop.add_embeddings(IDS, ROWS, [["flat"]] * 3, ["r.png"] * 3)
            shop.add_embeddings(["up", "new"], [[-1, 0], [0, -1]], [None, ["low"]], replace=True)
            np.testing.assert_array_equal(shop.embedding("up"), [-1, 0])
            self.assertEqual((shop.labels("up"), shop.source("up")), (["flat"], pathlib.Path("r.png")))
            self.assertEqual((len(shop), shop.labels("new")), (4, ["low"]))
            shop.add_embeddings(["up"], [[-1, 0]], [[]], replace=True)
            self.assertEqual(shop.labels("up"), [])

    def test_a_gallery_with_a_model_takes_what_its_model_made(self):
        with self.open() as shop:
            rows = shop.embed_photos([RED, colour(0, 0, 255)])
            shop.add_embeddings(["red", "blue"], rows)
            shop.add("also red", RED)
            self.assertEqual([match.id for match in shop.query(RED, k=2)], ["also red", "red"])


class Files(WithReady):
    def test_what_goes_out_comes_in(self):
        other = self.folder / "other"
        with self.make(distance="mse") as shop:
            shop.add_embeddings(IDS, ROWS, [["flat"], [], ["a"]], ["r.png", None, None])
            for ending in ["npy", "parquet"]:
                path = self.folder / f"out.{ending}"
                self.assertEqual(shop.export_embeddings(path), sketchfind.Exported(3))
                sketchfind.create(other, width=2, distance="mse")
                with sketchfind.Retriever(other, writable=True) as again:
                    self.assertEqual(again.import_embeddings(path), sketchfind.Imported(3, 0, 0))
                    self.assertEqual(again.import_embeddings(str(path)), sketchfind.Imported(0, 0, 3))
                    for own, there in zip(shop.embeddings(), again.embeddings()):
                        np.testing.assert_array_equal(own, there)
                    # Only a table has labels and sources.
                    kept = (["flat"], pathlib.Path("r.png")) if ending == "parquet" else ([], None)
                    self.assertEqual((again.labels("right"), again.source("right")), kept)
            np.testing.assert_array_equal(np.load(self.folder / "out.npy"), ROWS[[2, 0, 1]])
            self.assertEqual((self.folder / "out.csv").read_text().split(), ["row,id", "0,both", "1,right", "2,up"])
            with self.assertRaisesRegex(sketchfind.BadFile, r"\.npy or \.parquet"):
                shop.export_embeddings(self.folder / "out.txt")
            with self.assertRaises(FileExistsError):
                shop.export_embeddings(self.folder / "out.npy/inside.npy")

    def test_rows_with_an_error_are_told_and_left_out(self):
        with self.make(distance="mse", model_sha256=MODEL_SHA256) as shop:
            done = shop.import_embeddings(FIXTURES / "embeddings/full.parquet")
            self.assertEqual((done.n_added, done.failed), (3, (sketchfind.FailedRow("broken", "cannot decode"),)))
            self.assertEqual(done.unread_columns, ("price",))
            self.assertEqual((shop.labels("a"), "broken" in shop), (["boots", "new"], False))
            self.assertEqual(shop.photo("a").content, b"\xab" * 32)

    def test_what_is_wrong_changes_nothing(self):
        embeddings = FIXTURES / "embeddings"
        damaged = self.folder / "damaged.parquet"
        damaged.write_bytes((embeddings / "full.parquet").read_bytes()[:-200])
        np.save(self.folder / "alone.npy", ROWS)
        with self.make(distance="mse", model_sha256="ab" * 32) as shop:
            for path, error, words in [
                (embeddings / "full.parquet", sketchfind.BadFile, f"abab.*those of .*{MODEL_SHA256}"),
                (embeddings / "zstd.parquet", sketchfind.BadFile, "zstd.parquet.*ZSTD"),
                (damaged, sketchfind.BadFile, "damaged.parquet"),
                (self.folder / "alone.npy", FileNotFoundError, "alone.csv"),
                (RED, sketchfind.BadFile, "red.png.*expected a name that ends in"),
                (FIXTURES / "photos", sketchfind.BadFile, "no file in it"),
            ]:
                with self.subTest(words=words):
                    with self.assertRaisesRegex(error, words):
                        shop.import_embeddings(path)
            self.assertEqual(len(shop), 0)
        with self.open() as shop:
            with self.assertRaisesRegex(sketchfind.BadFile, "3 wide, those of .*large.parquet' 2"):
                shop.import_embeddings(embeddings / "large.parquet")

    def test_other_embeddings_are_replaced_where_that_is_asked_for(self):
        with self.make(distance="mse") as shop:
            shop.add_embeddings(["a", "x"], [[5, 5], [6, 6]], [["own"], None])
            with self.assertRaisesRegex(sketchfind.PhotoExists, "'a'"):
                shop.import_embeddings(FIXTURES / "embeddings/nulls.parquet")
            self.assertEqual(len(shop), 2)
            done = shop.import_embeddings(FIXTURES / "embeddings/nulls.parquet", replace=True)
            self.assertEqual(done, sketchfind.Imported(2, 1, 0))
            self.assertEqual((shop.embedding("a").tolist(), shop.labels("a")), ([1, 2], ["own"]))

    def test_progress(self):
        for number in range(3):
            name = self.folder / f"parts/{number}.npy"
            name.parent.mkdir(exist_ok=True)
            np.save(name, ROWS)
            lines = "".join(f"{row},{number} {id}\n" for row, id in enumerate(IDS))
            name.with_suffix(".csv").write_text("row,id\n" + lines)
        with self.make() as shop:
            told = []
            done = shop.import_embeddings(name.parent, progress=lambda *given: told.append(given))
            self.assertEqual((done.n_added, told[-1]), (9, (9, 9)))
            told.clear()
            shop.export_embeddings(self.folder / "all.npy", progress=lambda *given: told.append(given))
            self.assertEqual(told, [(9, 9)])

            def enough(n_done, total):
                raise LookupError("enough")

            with self.assertRaisesRegex(LookupError, "enough"):
                shop.import_embeddings(self.folder / "all.npy", progress=enough)


class Copies(WithReady):
    def test_a_copy_is_made_while_somebody_writes(self):
        to = self.folder / "backup"
        with self.make() as shop:
            shop.add_embeddings(IDS, ROWS)
            copied = sketchfind.copy(self.ready, to)
            self.assertEqual((copied.n_photos, copied.n_shared + copied.n_own > 0), (3, True))
            shop.remove(["up"])
            self.assertEqual(sketchfind.Retriever(to).ids(), sorted(IDS))
            with self.assertRaisesRegex(sketchfind.BadFile, "is there already"):
                sketchfind.copy(self.ready, to)
            self.assertEqual(sketchfind.copy(str(self.ready), to, replace=True).n_photos, 2)
            with self.assertRaisesRegex(sketchfind.BadFile, "cannot lie in the gallery"):
                sketchfind.copy(self.ready, self.ready / "copy")
            (self.folder / "file").touch()
            with self.assertRaisesRegex(sketchfind.BadFile, "something else is there"):
                sketchfind.copy(self.ready, self.folder / "file", replace=True)


class Indexes(WithReady):
    def test_another_index_and_how_graphs_are_searched(self):
        rows = np.random.default_rng(1).random((3000, 16), np.float32)
        queries = np.random.default_rng(2).random((100, 16), np.float32)
        with self.make(width=16, distance="mse", index="exact") as shop:
            shop.add_embeddings(map(str, range(3000)), rows)
            shop.compact()
            self.assertIsNone(shop.measure_recall())
            truth = shop.query_embeddings(queries)
            shop.set_index("hnsw")
            told = []
            shop.compact(progress=lambda *given: told.append(given))
            self.assertEqual(told[-1], (3000, 3000))
            told.clear()
            recall = shop.measure_recall(progress=lambda *given: told.append(given))
            self.assertEqual((recall.n_photos, told[-1]), (3000, (200, None)))

            def n_found(**options):
                found = shop.query_embeddings(queries, **options)
                pairs = zip(truth, found)
                return sum(len({m.id for m in own} & {m.id for m in there}) for own, there in pairs)

            few, many = n_found(ef=10), n_found(ef=1000)
            self.assertTrue(few < many and many > 980, (few, many))
            self.assertEqual(shop.query_embeddings(queries, exact=True), truth)
            self.assertEqual(shop.query_embeddings(queries, exact=False, ef=None), shop.query_embeddings(queries))
            for number, query in enumerate(queries[:20]):
                self.assertEqual(shop.query_embedding(query, exact=True), truth[number])
                self.assertEqual(shop.answer_embedding(query, exact=True).matches, tuple(truth[number]))
                # With a filter a search is exact with any number.
                self.assertEqual(shop.query_embedding(query, ef=1, without_ids=["none"]), truth[number])
            for ef in [0, 100_001]:
                with self.assertRaisesRegex(ValueError, f"ef is {ef}, expected 1 to 100000"):
                    shop.query_embedding(queries[0], ef=ef)
        with sketchfind.Retriever(self.ready) as shop:
            with self.assertRaises(sketchfind.ReadOnly):
                shop.set_index("exact")


if __name__ == "__main__":
    unittest.main()
