"""A gallery's life: ingest, batches, listing, embeddings, conditions, frames."""

import pathlib
import shutil
import unittest

import numpy as np
import sketchfind
from PIL import Image
from support import FIXTURES, MODEL, RED, WithGallery, colour, noise

PHOTOS = FIXTURES / "photos"


class Ingest(WithGallery):
    def test_what_was_added_replaced_and_left_out(self):
        broken, missing = self.folder / "broken.jpg", self.folder / "missing.jpg"
        broken.write_bytes(b"no image")
        ids = ["red", "again", "broken", "missing", "blue"]
        paths = [RED, RED, broken, missing, PHOTOS / "blue.png"]
        with self.open() as shop:
            changes = shop.changes(ids, paths)
            self.assertEqual((changes.added, changes.replaced, changes.n_unchanged), (tuple(ids), (), 0))
            done = shop.ingest(ids, paths, [["warm"], None, None, None, {"cold"}], on_broken="skip")
            self.assertEqual((done.n_added, done.n_replaced, done.n_unchanged, done.n_known), (3, 0, 0, 1))
            self.assertEqual([(image.id, image.path) for image in done.broken], [("broken", broken), ("missing", missing)])
            self.assertIn("broken.jpg", done.broken[0].reason)
            self.assertEqual(shop.ids(), ["again", "blue", "red"])
            self.assertEqual((shop.labels("red"), shop.source("red")), (["warm"], RED))
            # What is in already is known; what is not given stays.
            done = shop.ingest(iter(["red", "blue"]), iter([RED, PHOTOS / "blue.png"]), iter([["hot"], None]))
            self.assertEqual((done.n_added, done.n_replaced, done.n_unchanged), (0, 1, 1))
            self.assertEqual((shop.labels("red"), shop.labels("blue")), (["hot"], ["cold"]))

    def test_broken_files_are_refused_by_default(self):
        broken = self.folder / "broken.jpg"
        broken.write_bytes(b"no image")
        with self.open() as shop:
            with self.assertRaisesRegex(sketchfind.BadImage, "broken.jpg"):
                shop.ingest(["a", "b"], [RED, broken])
            with self.assertRaises(FileNotFoundError):
                shop.ingest(["b"], [self.folder / "missing.jpg"])
            with self.assertRaises(IsADirectoryError):
                shop.ingest(["b"], [self.folder])
            # All before it are in.
            self.assertEqual(shop.ids(), ["a"])

    def test_photos_of_another_source_are_not_replaced_in_silence(self):
        with self.open() as shop:
            shop.ingest(["a"], [RED])
            with self.assertRaisesRegex(sketchfind.PhotoExists, "blue.png"):
                shop.ingest(["a"], [PHOTOS / "blue.png"])
            done = shop.ingest(["a"], [PHOTOS / "blue.png"], on_other_source="replace")
            self.assertEqual((done.n_replaced, shop.source("a")), (1, PHOTOS / "blue.png"))
            shop.ingest(["a"], [PHOTOS / "blue.png"], sources=["shop/a.png"], on_other_source="replace")
            self.assertEqual(shop.source("a"), pathlib.Path("shop/a.png"))

    def test_columns_fit_each_other(self):
        with self.open() as shop:
            for call, error, words in [
                (lambda: shop.ingest(["a"], [RED, RED]), ValueError, "paths.*expected 1, got 2"),
                (lambda: shop.ingest(["a"], [RED], [["x"], ["y"]]), ValueError, "labels.*expected 1, got 2"),
                (lambda: shop.ingest(["a"], [None]), TypeError, "position 0"),
                (lambda: shop.ingest(["a"], str(RED)), TypeError, "not one str"),
                (lambda: shop.ingest("a", [RED]), TypeError, "not one str"),
                (lambda: shop.ingest(["a"], [RED], ["label"]), TypeError, "not one str"),
                (lambda: shop.ingest(["a"], [RED], sources=str(RED)), TypeError, "not one str"),
                (lambda: shop.ingest(["a", "a"], [RED, RED]), sketchfind.PhotoExists, "twice"),
                (lambda: shop.ingest(["a"], [RED], on_broken="ignore"), ValueError, "'ignore'.*'refuse' or 'skip'"),
                (lambda: shop.ingest(["a"], [RED], on_other_source="x"), ValueError, "'x'.*'refuse' or 'replace'"),
                (lambda: shop.add_batch(["a", "b"], [RED]), ValueError, "expected 2, got 1"),
                (lambda: shop.add_batch(["a"], [RED] * 1000), ValueError, "expected 1, got more than 1"),
                (lambda: shop.add_batch(["a"], [RED], [["x"], ["y"]]), ValueError, "labels.*expected 1, got 2"),
                (lambda: shop.add_batch("a", [RED]), TypeError, "not one str"),
            ]:
                with self.subTest(words=words):
                    with self.assertRaisesRegex(error, words):
                        call()
            self.assertEqual(len(shop), 0)


class Batches(WithGallery):
    def test_a_batch_is_added_whole_or_not_at_all(self):
        with self.open() as shop:
            images = (colour(level, 0, 0) for level in range(100))
            labels = [["even"] if level % 2 == 0 else None for level in range(100)]
            sources = [f"shop/{level}.png" for level in range(100)]
            shop.add_batch((f"{level:03}" for level in range(100)), images, labels, sources)
            self.assertEqual(len(shop), 100)
            self.assertEqual((shop.labels("004"), shop.labels("005")), (["even"], []))
            self.assertEqual(shop.source("007"), pathlib.Path("shop/7.png"))
            _, rows = shop.embeddings()
            np.testing.assert_allclose(rows[:, 0] * 255, np.arange(100), atol=1e-3)
            for ids, images, error in [
                (["new", "000"], [colour(1, 1, 1)] * 2, sketchfind.PhotoExists),
                (["new", "new"], [colour(1, 1, 1)] * 2, sketchfind.PhotoExists),
                (["new", "newer"], [colour(1, 1, 1), b"no image"], sketchfind.BadImage),
                (["new", ""], [colour(1, 1, 1)] * 2, ValueError),
            ]:
                with self.assertRaises(error):
                    shop.add_batch(ids, images)
            self.assertEqual(len(shop), 100)
            shop.add_batch(["000", "new"], [colour(250, 0, 0)] * 2, replace=True)
            self.assertEqual((len(shop), shop.labels("000")), (101, ["even"]))
        self.assertEqual(len(sketchfind.Retriever(self.gallery)), 101)

    def test_a_reader_adds_nothing(self):
        reader = sketchfind.Retriever(self.gallery)
        for call in [
            lambda: reader.add("a", RED),
            lambda: reader.add_batch(["a"], [RED]),
            lambda: reader.ingest(["a"], [RED]),
            lambda: reader.remove(["a"]),
            lambda: reader.compact(),
            lambda: reader.measure_costs(),
        ]:
            with self.assertRaises(sketchfind.ReadOnly):
                call()


class Asking(WithGallery):
    def setUp(self):
        super().setUp()
        self.shop = self.open()
        self.shop.add_batch(["blue", "green", "red"], [colour(0, 0, 255), colour(0, 255, 0), colour(255, 0, 0)],
                            [["cold"], None, ["warm", "sale"]], ["b.png", None, "r.png"])

    def test_photos_are_listed(self):
        photos = self.shop.photos()
        first = next(photos)
        self.assertEqual((first.id, first.labels, first.source), ("blue", ("cold",), pathlib.Path("b.png")))
        # The list is of the moment when it was asked for.
        self.shop.remove(["red"])
        self.assertEqual([photo.id for photo in photos], ["green", "red"])
        self.assertEqual((self.shop.ids(), list(self.shop.photos())[1].source), (["blue", "green"], None))
        self.assertEqual(self.shop.photo("blue"), first)
        for call in [self.shop.photo, self.shop.labels, self.shop.source, self.shop.embedding]:
            with self.assertRaisesRegex(KeyError, "never"):
                call("never")

    def test_every_condition_in_every_query(self):
        rows = self.shop.embeddings()[1]
        asked = {
            "query": lambda **given: self.shop.query(colour(9, 0, 0), **given),
            "query_batch": lambda **given: self.shop.query_batch([colour(9, 0, 0)], **given)[0],
            "query_embedding": lambda **given: self.shop.query_embedding(rows[2], **given),
            "query_embeddings": lambda **given: self.shop.query_embeddings(rows[2:], **given)[0],
        }
        for name, ask in asked.items():
            ids = lambda **given: sorted(match.id for match in ask(**given))
            with self.subTest(name):
                self.assertEqual(ids(), ["blue", "green", "red"])
                self.assertEqual(ids(without_ids=["red", "never"]), ["blue", "green"])
                self.assertEqual(ids(only_ids=["red", "blue"], without_ids=iter(["red"])), ["blue"])
                self.assertEqual(ids(any_label=["cold", "sale"]), ["blue", "red"])
                self.assertEqual(ids(every_label={"warm", "sale"}), ["red"])
                self.assertEqual(ids(without_label=["cold"]), ["green", "red"])
                self.assertEqual(len(ask(k=2)), 2)
                with self.assertRaisesRegex(TypeError, "not one str"):
                    ids(without_ids="red")

    def test_embeddings_go_out_and_come_back(self):
        ids, rows = self.shop.embeddings()
        self.assertEqual((rows.dtype, rows.shape), (np.float32, (3, 3)))
        np.testing.assert_array_equal(self.shop.embedding("red"), rows[2])
        for given in [rows, rows.astype(np.float64), rows.tolist(), np.asfortranarray(rows), rows.astype(int)]:
            found = self.shop.query_embeddings(given, k=1)
            self.assertEqual([matches[0].id for matches in found], ids)
            self.assertEqual(self.shop.query_embedding(given[0], k=1)[0].id, ids[0])
        self.assertEqual(self.shop.query_embeddings(np.empty((0, 3), np.float32)), [])
        for given, error, words in [
            (rows[:, :2], ValueError, r"width.*expected \[n, 3\], got \[3, 2\]"),
            (rows[0], ValueError, r"expected \[n, 3\], got \[3\]"),
            (rows * np.nan, ValueError, "finite|not a number|NaN"),
            (rows > 0, TypeError, "bool"),
            ([["a", "b", "c"]], TypeError, "not of"),
        ]:
            with self.subTest(words=words):
                with self.assertRaisesRegex(error, words):
                    self.shop.query_embeddings(given)
        with self.assertRaisesRegex(ValueError, r"expected \[3\], got \[3, 3\]"):
            self.shop.query_embedding(rows)

    def test_writers_take_turns(self):
        self.shop.close()
        one, other = (sketchfind.Retriever(self.gallery, by_turns=True) for _ in range(2))
        one.add("one", colour(1, 1, 1))
        other.add("other", colour(2, 2, 2))
        self.assertTrue(one.refresh())
        self.assertEqual(one.ids(), other.ids())
        self.assertIn("one", other)
        with self.assertRaisesRegex(ValueError, "choose one"):
            sketchfind.Retriever(self.gallery, writable=True, by_turns=True)

    def test_recall_and_costs(self):
        self.assertIsNone(self.shop.measure_recall())
        costs = self.shop.measure_costs()
        self.assertEqual(costs.largest_exact, costs.embedding_us * costs.exact_numbers_per_us)
        large = self.folder / "large"
        sketchfind.create(large, MODEL, "hnsw")
        with sketchfind.Retriever(large, writable=True) as shop:
            shop.add_batch(map(str, range(1500)), (noise(2, 2, 3, seed=seed) for seed in range(1500)))
            shop.compact()
            recall = shop.measure_recall()
        self.assertEqual((recall.k, recall.n_queries, recall.n_photos), (10, 200, 1500))
        self.assertEqual(recall.value, recall.n_found / recall.n_nearest)
        self.assertGreater(recall.value, 0.9)


class Products(WithGallery):
    """Photos that share a product: two of a boot, two of a shoe, one of none."""

    def setUp(self):
        super().setUp()
        self.shop = self.open()
        self.rows = self.shop.embed([colour(level, 0, 0) for level in (0, 10, 20, 30, 40)])
        self.ids = ["boot 1", "boot 2", "shoe 1", "shoe 2", "alone"]
        self.products = ["boot", "boot", "shoe", "shoe", None]

    def check(self):
        self.assertEqual([self.shop.photo(id).product for id in self.ids], self.products)

    def test_every_way_in_takes_them(self):
        paths = [self.folder / f"{id}.png" for id in self.ids]
        for level, path in enumerate(paths):
            Image.fromarray(colour(10 * level, 0, 0)).save(path)
        for add in [
            lambda: [self.shop.add(id, path, product=product)
                     for id, path, product in zip(self.ids, paths, self.products)],
            lambda: self.shop.add_batch(self.ids, paths, products=iter(self.products)),
            lambda: self.shop.add_embeddings(self.ids, self.rows, products=self.products),
            lambda: self.shop.ingest(self.ids, paths, products=self.products),
        ]:
            add()
            self.check()
            self.assertEqual(self.shop.remove(self.ids), 5)

    def test_what_is_not_given_stays_and_what_is_empty_goes(self):
        self.shop.add_embeddings(self.ids, self.rows, products=self.products)
        self.shop.add("boot 1", colour(0, 0, 0), replace=True)
        self.shop.add_embeddings(["boot 2"], self.rows[1:2], replace=True)
        self.check()
        self.shop.add("boot 1", colour(0, 0, 0), product="", replace=True)
        self.shop.add_batch(["boot 2", "alone"], [RED, RED], products=["", "boot"], replace=True)
        self.products = [None, None, "shoe", "shoe", "boot"]
        self.check()
        self.assertEqual([photo.product for photo in self.shop.photos()], ["boot", None, None, "shoe", "shoe"])
        with self.assertRaisesRegex(ValueError, "products are one a photo: expected 1, got 2"):
            self.shop.add_embeddings(["x"], self.rows[:1], products=["a", "b"])
        with self.assertRaisesRegex(ValueError, "a photo's product"):
            self.shop.add("x", RED, product="long" * 2000)
        with self.assertRaisesRegex(TypeError, "products.*not one str"):
            self.shop.add_embeddings(["x"], self.rows[:1], products="a")

    def test_changes_know_them(self):
        self.shop.ingest(["a"], [RED], products=["boot"])
        self.assertEqual(self.shop.changes(["a"], [RED], products=["boot"]).n_unchanged, 1)
        self.assertEqual(self.shop.changes(["a"], [RED], products=["shoe"]).replaced, ("a",))

    def test_they_are_found_once_and_filtered_by(self):
        self.shop.add_embeddings(self.ids, self.rows, products=self.products)
        picture = colour(11, 0, 0)
        asked = {
            "query": lambda **given: self.shop.query(picture, **given),
            "query_batch": lambda **given: self.shop.query_batch([picture], **given)[0],
            "query_embedding": lambda **given: self.shop.query_embedding(self.rows[1], **given),
            "query_embeddings": lambda **given: self.shop.query_embeddings(self.rows[1:2], **given)[0],
            "answer": lambda **given: self.shop.answer(picture, **given).matches,
            "answer_embedding": lambda **given: self.shop.answer_embedding(self.rows[1], **given).matches,
        }
        for name, ask in asked.items():
            found = lambda **given: [(match.id, match.product, match.rank) for match in ask(**given)]
            with self.subTest(name):
                best = [("boot 2", "boot", 1), ("shoe 1", "shoe", 2), ("alone", None, 3)]
                self.assertEqual(found(by_product=True), best)
                self.assertEqual(found(by_product=True, k=2), best[:2])
                self.assertEqual(len(found(by_product=False)), 5)
                self.assertEqual({id for id, _, _ in found(only_products={"boot", "never"})}, {"boot 1", "boot 2"})
                self.assertEqual({id for id, _, _ in found(without_products=["boot"])}, {"shoe 1", "shoe 2", "alone"})
                with self.assertRaisesRegex(TypeError, "argument 'only_products': .*not one str"):
                    found(only_products="boot")
        self.assertEqual(self.shop.answer(picture, only_products=["hat"]).nothing.code, "no_such_product")

    def test_they_go_out_and_come_in_as_a_table(self):
        self.shop.add_embeddings(self.ids, self.rows, products=self.products)
        self.shop.export_embeddings(self.folder / "out.parquet")
        self.shop.remove(self.ids)
        self.assertEqual(self.shop.import_embeddings(self.folder / "out.parquet").n_added, 5)
        self.check()


class Frames(WithGallery):
    def test_frames_are_words_or_numbers(self):
        for frame in ["card", "off", "0.8", 0.8, 1, np.float64(0.5)]:
            sketchfind.create(self.folder / "framed", MODEL, frame=frame)
            sketchfind.Retriever(self.folder / "framed", frame=frame)
        for frame, error in [(2, ValueError), (0.1, ValueError), ("on", ValueError), (float("nan"), ValueError),
                             (True, TypeError), ([0.8], TypeError)]:
            with self.subTest(frame=frame):
                with self.assertRaises(error):
                    sketchfind.create(self.folder / "framed", MODEL, frame=frame)
                with self.assertRaises(error):
                    sketchfind.Retriever(self.gallery, frame=frame)

    def test_photos_are_framed_where_the_gallery_frames(self):
        product = np.full((200, 200, 3), 255, np.uint8)
        product[90:110, 90:110] = (200, 0, 0)
        path = self.folder / "product.png"
        Image.fromarray(product).save(path)
        framed = self.folder / "framed"
        sketchfind.create(framed, MODEL, frame=0.8)
        with sketchfind.Retriever(framed, writable=True) as shop, self.open() as plain:
            shop.ingest(["by ingest"], [path])
            shop.add("by add", product)
            shop.add_batch(["by batch"], [product])
            _, rows = shop.embeddings()
            np.testing.assert_array_equal(rows, shop.embed_photos([product, path, product]))
            self.assertFalse(np.allclose(rows[0], shop.embed([product])[0], atol=0.05))
            shop.ingest(["box"], [path], regions=[(90, 90, 20, 20)])
            self.assertFalse(np.allclose(shop.embedding("box"), shop.embed([product])[0], atol=0.05))
            with self.assertRaisesRegex(ValueError, "box of a photo"):
                plain.ingest(["box"], [path], regions=[(90, 90, 20, 20)])


class Copies(WithGallery):
    def test_galleries_of_earlier_formats_are_read(self):
        for name in ["gallery-v2", "gallery-v3", "gallery-v4", "gallery-v5", "gallery-v6"]:
            shutil.copytree(FIXTURES / name, self.folder / name)
            with sketchfind.Retriever(self.folder / name) as shop:
                self.assertEqual(len(shop.ids()), len(shop))


if __name__ == "__main__":
    unittest.main()
