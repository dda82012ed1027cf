"""`sketchfind.ray` on a real cluster: processes are killed, and every photo is there exactly once."""

import json
import logging
import os
import shutil
import signal
import time
import unittest

import machines
import pyarrow
import scenes
import store
from machines import CHECKOUT, embed, ended, program

ZOO = CHECKOUT / "models/zoo/general-mobilenet_v2"
MEAN8 = CHECKOUT / "runtime/tests/fixtures/mean8"
N = 1200


def setUpModule():
    global folder, cluster, broken
    # Where these tests are started in the background the signal is ignored, and by what they start too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, cluster = machines.Folder(), None
    unittest.addModuleCleanup(close)
    broken = scenes.many(folder.path / "photos", N)
    cluster = machines.Machines()


def close():
    """Nothing of Ray lives on, and nothing of it is left in the user's folders."""
    import ray

    ray.shutdown()
    if cluster:
        cluster.close()
    left = machines.end_all()
    folder.close()
    assert not left, left
    assert not folder.path.exists()


class Killed(unittest.TestCase):
    """Photos of which one is broken; their model takes long enough to be killed at work."""

    def start(self, out, *more):
        process = embed(folder.path / "photos", out, "--every", "0.2", *more, model=ZOO, address=cluster.address)
        self.addCleanup(process.kill)
        return process

    def when_written(self, process, out, n):
        """Waits until there are `n` files."""
        until = time.monotonic() + 60
        while len(list(out.glob("[!_.]*.parquet"))) < n:
            if process.poll() is not None or time.monotonic() > until:
                self.fail(f"it has not written {n} files: {process.communicate(timeout=5)}")
            time.sleep(0.01)

    def check_all_are_there(self, out):
        found = scenes.rows(out)
        self.assertEqual(len(found), N)
        self.assertEqual(len({row["id"] for row in found}), N)
        wrong = [row for row in found if row["error"] is not None]
        self.assertEqual([row["id"] for row in wrong], [broken])
        self.assertIsNone(wrong[0]["embedding"])
        for row in found:
            if row["error"] is None:
                self.assertTrue(any(row["embedding"]), row["id"])
        return found

    def test_nothing_is_lost_and_nothing_is_there_twice(self):
        out = folder.path / "embedded"
        n_before = 0
        for n_more, how in [(1, signal.SIGKILL), (1, signal.SIGINT), (2, signal.SIGKILL)]:
            with self.subTest(driver=how):
                process = self.start(out)
                self.when_written(process, out, n_before + n_more)
                process.send_signal(how)
                code, said = ended(process)
                self.assertEqual(code, 130 if how == signal.SIGINT else -signal.SIGKILL, said)
                self.assertNotIn("Traceback", said)
                n_before = len(list(out.glob("[!_.]*.parquet")))
                there = scenes.rows(out, ["id"])
                self.assertEqual(len({row["id"] for row in there}), len(there))
                self.assertLess(len(there), N, "it was over before it was killed")
        # As a driver leaves it that is killed while it writes.
        (out / ".partial-of-a-killed-one").write_bytes(b"PAR1 and no more")
        kept = {path.name for path in out.glob("*.parquet")}
        process = self.start(out)
        self.when_written(process, out, n_before + 1)
        os.kill(cluster.workers()[0], signal.SIGKILL)
        self.when_written(process, out, n_before + 2)
        cluster.kill_a_node()
        code, said = ended(process)
        self.assertEqual(code, 5, said)
        self.assertIn(f"going on in '{out}': {len(there)} of {N} photos are done", said)
        self.assertIn(f"left out: '{broken}'", said)
        self.check_all_are_there(out)
        self.assertLessEqual(kept, {path.name for path in out.glob("*.parquet")})
        self.assertEqual(list(out.glob(".partial*")), [])
        cluster.add_a_node()
        files = {path: path.stat().st_mtime_ns for path in out.iterdir()}
        code, said = ended(self.start(out))
        self.assertEqual(code, 5, said)
        self.assertIn(f"all {N} photos are done already: nothing is left to do", said)
        code, said = ended(self.start(out, "--frame", "off"))
        self.assertEqual(code, 3, said)
        self.assertIn(f"error: '{out}' has embeddings with the frame", said)
        self.assertNotIn("Traceback", said)
        self.assertEqual({path: path.stat().st_mtime_ns for path in out.iterdir()}, files)


class Alone(unittest.TestCase):
    """On one machine without a cluster of its own."""

    def test_the_same_as_index_build(self):
        """To the bit, each id; and what cannot be read is known by the same ids."""
        photos, place = folder.path / "varied", folder.path / "same"
        left_out = scenes.varied(photos)
        place.mkdir()
        before = machines.children()
        code, said = ended(embed(photos, place / "out", model=ZOO))
        self.assertEqual(code, 5, said)
        # Ray's processes are gone with the job.
        self.assertEqual(machines.gone_within(15, lambda: machines.children() - before), set())
        self.assertEqual([row["id"] for row in scenes.rows(place / "out") if row["error"]], left_out)
        code, said = program("index", "build", "--model", ZOO, "--photos", photos, "--out", place / "built", "--skip-broken")
        self.assertEqual(code, 0, said)
        code, said = program("index", "import", "--gallery", place / "imported", place / "out", "--model", ZOO)
        self.assertEqual(code, 5, said)
        self.assertIn(f"{len(left_out)} rows have an error", said)
        found = []
        for name in ("built", "imported"):
            code, said = program("index", "export", "--gallery", place / name, "--out", place / f"{name}.parquet")
            self.assertEqual(code, 0, said)
            found.append(scenes.rows(place / f"{name}.parquet"))
        self.assertEqual(found[0], found[1])
        self.assertGreater(len(found[0]), 15)
        self.assertIn("caf%E9.tif", [row["id"] for row in found[0]])
        frames = [json.loads((place / name / "gallery.json").read_text())["gallery"]["photo_frame"] for name in ("built", "imported")]
        self.assertEqual(frames[0], frames[1])
        self.assertIsNotNone(frames[0])


class Photos(unittest.TestCase):
    """Data sets of every kind, in this process."""

    @classmethod
    def setUpClass(cls):
        import ray.data

        ray.init(address=cluster.address, log_to_driver=False, logging_level="warning")
        cls.addClassCleanup(ray.shutdown)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        cls.place = folder.path / "kinds"
        (cls.place / "shop").mkdir(parents=True)
        for name in ("red", "blue"):
            shutil.copy(CHECKOUT / f"runtime/tests/fixtures/photos/{name}.png", cls.place / f"shop/{name} %20.png")

    def embed(self, photos, out, **options):
        import sketchfind.ray

        return sketchfind.ray.embed(photos, out if "://" in out else self.place / out, **{"model": MEAN8, "workers": 2, **options})

    def test_a_list(self):
        """Labels, products and sources go into the gallery; what is gone is an error, and tried again once it is there."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        import sketchfind
        import sketchfind.ray

        places = ["shop/red %20.png", str(self.place / "shop/blue %20.png"), "shop/late.png"]
        pq.write_table(
            pa.table({"id": ["a", "b", "c"], "path": places, "labels": [["x", "y"], None, []], "product": ["P", None, ""],
                      "colour": [1, 2, 3]}),
            self.place / "list.parquet",
        )
        with self.assertLogs("sketchfind.ray", "WARNING") as said:
            photos = sketchfind.ray.photos(self.place / "list.parquet").materialize()
        self.assertIn("colour", said.output[0])
        done = self.embed(photos, "of a list")
        self.assertEqual((done.n_photos, done.n_before, done.n_failed), (3, 0, 1))
        self.assertEqual(done.failed, (("c", "it cannot be read: No such file or directory"),))
        shutil.copy(self.place / "shop/red %20.png", self.place / "shop/late.png")
        done = self.embed(photos, "of a list", retry_errors=True)
        self.assertEqual((done.n_photos, done.n_before, done.n_failed), (3, 2, 0))
        sketchfind.create(self.place / "gallery", MEAN8)
        with sketchfind.Retriever(self.place / "gallery", writable=True) as shop:
            self.assertEqual(shop.import_embeddings(self.place / "of a list").n_added, 3)
            self.assertEqual(shop.photo("a").labels, ("x", "y"))
            self.assertEqual(shop.photo("a").product, "P")
            self.assertEqual(shop.photo("a").source, self.place / "shop/red %20.png")
            self.assertEqual(shop.embedding("c").tolist(), shop.embedding("a").tolist())
            shop.export_embeddings(self.place / "back.parquet")
        own = {(row["id"], row["sha256"], row["model"], tuple(row["embedding"])) for row in scenes.rows(self.place / "of a list")}
        self.assertEqual(
            {(row["id"], row["sha256"], row["model"], tuple(row["embedding"])) for row in scenes.rows(self.place / "back.parquet")}, own
        )

    def test_bytes(self):
        import ray

        content = (self.place / "shop/red %20.png").read_bytes()
        items = [{"id": "a", "bytes": content}, {"id": "b", "bytes": None}, {"id": "c", "bytes": b"no picture"}]
        done = self.embed(ray.data.from_items(items), "of bytes")
        self.assertEqual([id for id, _ in sorted(done.failed)], ["b", "c"])
        first = scenes.rows(self.place / "of bytes")[0]
        self.assertEqual((first["id"], first["embedding"], first["source"]), ("a", [1.0, 0.0, 0.0], None))

    def test_a_store(self):
        """Photos out of an object store, embeddings into it; what it has is listed, and names are what they are."""
        import pyarrow.parquet as pq

        import sketchfind.ray
        from sketchfind.ray._places import Places

        s3 = store.Store()
        self.addCleanup(s3.close)
        content = (self.place / "shop/red %20.png").read_bytes()
        for name in ("red %20 caf\u00e9.png", "boots/a+b.png", "boots/late.png", "notes.txt", ".trash/red.png"):
            s3.objects[f"shop/photos/{name}"] = content
        listed = sketchfind.ray.photos(s3.uri("shop/photos"), exclude=["late.*"])
        done = self.embed(listed, s3.uri("shop/embedded"))
        self.assertEqual((done.n_photos, done.n_failed), (2, 0), done)
        names = [name for name in s3.objects if name.startswith("shop/embedded/") and name.endswith(".parquet")]
        (row, other) = pq.read_table(pyarrow.BufferReader(s3.objects[names[0]])).sort_by("id").to_pylist()
        self.assertEqual([row["id"], other["id"]], ["boots/a+b.png", "red %20 caf\u00e9.png"])
        self.assertEqual((row["embedding"], Places().read(row["source"], 10**6)), ([1.0, 0.0, 0.0], content))
        self.assertEqual(self.embed(listed, s3.uri("shop/embedded")).n_before, 2)
        self.assertFalse([name for name in s3.objects if "partial" in name])
        uri = Places().below(f"file://{self.place}/shop", "red %20.png")
        self.assertEqual(uri, f"file://{self.place}/shop/red%20%2520.png")
        self.assertEqual(Places().read(uri, 10**6), content)
        with self.assertRaisesRegex(ValueError, "'xyz://a' cannot be reached"):
            sketchfind.ray.photos("xyz://a/b")

    def test_what_is_refused(self):
        """Before any work: a data set that says too little or too much, by the id."""
        import ray

        for items, words in [
            ([{"id": "same", "path": "a"}, {"id": "x", "path": "b"}, {"id": "same", "path": "/c"}],
             r"the id 'same' stands 2 times among the photos \('.*/a', '/c'\)"),
            ([{"id": "a", "path": "a"}, {"id": None, "path": "b"}], "an id is None, expected a text"),
            ([{"id": 7, "path": "a"}], "an id is 7, expected a text"),
            ([{"id": "", "path": "a"}], "the photo '': a photo's id is empty"),
            ([{"id": "a", "path": None}], "the photo 'a': its path or URI is None"),
            ([{"id": "a", "path": "a", "labels": [""]}], "the photo 'a': a photo's label is empty"),
            ([{"id": "a"}], "expected a column path, uri or bytes, got the columns id"),
            ([{"bytes": b""}], "expected a column id"),
        ]:
            with self.subTest(words), self.assertRaisesRegex(ValueError, words):
                self.embed(ray.data.from_items(items), "refused")
        self.assertFalse((self.place / "refused").exists())

    def test_folders_of_others(self):
        import ray

        import sketchfind

        photos = ray.data.from_items([{"id": "a", "path": str(self.place / "shop/red %20.png")}])
        other = self.place / "other"
        other.mkdir()
        shutil.copy(self.place / "list.parquet", other) if (self.place / "list.parquet").exists() else (other / "a.npy").touch()
        with self.assertRaisesRegex(sketchfind.BadFile, "and no _sketchfind.json"):
            self.embed(photos, "other")
        self.embed(photos, "mine")
        for others, options, words in [
            (photos, {"frame": 0.5}, "with the frame off, and 0.5 .* was asked for"),
            (photos, {"model": ZOO}, "by the model [0-9a-f]{64}, and [0-9a-f]{64} was named"),
            (ray.data.from_items([{"id": id, "path": "a"} for id in "ab"]), {}, "of 1 photos, not these 2"),
            (ray.data.from_items([{"id": "b", "path": "a"}]), {}, "of 1 other photos"),
        ]:
            with self.subTest(words), self.assertRaisesRegex(sketchfind.BadFile, words):
                self.embed(others, "mine", **options)
        (file,) = (self.place / "mine").glob("*.parquet")
        import fcntl

        with open(self.place / "mine/.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self.assertRaisesRegex(BlockingIOError, "another job writes to it"):
                self.embed(photos, "mine")
        shutil.copy(file, self.place / "mine/again.parquet")
        with self.assertRaisesRegex(sketchfind.BadFile, "1 rows that are none of these photos, or twice there"):
            self.embed(photos, "mine")
        (self.place / "mine/again.parquet").write_bytes(b"PAR1")
        with self.assertRaisesRegex(sketchfind.BadFile, "again.parquet' cannot be read"):
            self.embed(photos, "mine")
        (self.place / "mine/_sketchfind.json").write_text("{")
        with self.assertRaisesRegex(sketchfind.BadFile, "_sketchfind.json' is damaged"):
            self.embed(photos, "mine")

    def test_work_that_was_done_twice_is_taken_once(self):
        import numpy as np
        import pyarrow as pa

        from sketchfind.ray import Embed, _job, _photos
        from sketchfind.ray._places import Places

        ids = ["a", "b", "c"]
        keys = np.sort(np.array([_photos.key(id) for id in ids], "S16"))
        place = _job._Folder(str(self.place / "twice"), Places())
        schema = Embed.schema(2)
        empty = _job._Written(np.array([], "S16"), 0, [])

        def rows(*ids):
            return pa.Table.from_pylist([{"id": id, "embedding": [1.0, 2.0]} for id in ids], schema)

        with place.locked():
            writer = _job._Writer(place, schema, keys, np.zeros(3, bool), empty, 0)
            writer.take(rows("a", "b", "a"))
            writer.take(rows("b"))
            writer.take(rows())
            writer.take(rows("c", "b"))
        self.assertEqual([row["id"] for row in scenes.rows(self.place / "twice")], ids)
        self.assertTrue(writer.is_done.all())

    def test_every_example_runs(self):
        """Everything public has one."""
        import doctest
        import inspect
        import io

        import numpy
        import ray

        import sketchfind
        import sketchfind.ray

        place = self.place / "examples"
        place.mkdir()
        (place / "photos").mkdir()
        for name in ("red", "blue"):
            shutil.copy(CHECKOUT / f"runtime/tests/fixtures/photos/{name}.png", place / "photos")
        sketchfind.create(place / "shop.gallery", MEAN8)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(place)
        for name in sketchfind.ray.__all__:
            thing = getattr(sketchfind.ray, name)
            public = [thing, *(getattr(thing, member) for member in vars(thing) if not member.startswith("_"))]
            for one in public if inspect.isclass(thing) else [thing]:
                if not inspect.isroutine(one) and not inspect.isclass(one):
                    continue
                found = doctest.DocTestParser().get_doctest(inspect.getdoc(one) or "", {}, name, None, 0)
                found.globs = {"sketchfind": sketchfind, "numpy": numpy, "ray": ray, "model": str(MEAN8)}
                said = io.StringIO()
                result = doctest.DocTestRunner(verbose=False).run(found, out=said.write)
                with self.subTest(one=one):
                    self.assertGreater(result.attempted, 0)
                    self.assertEqual(result.failed, 0, said.getvalue())

    def test_the_tutorial_runs(self):
        page = (CHECKOUT / "docs/tutorials/ray.md").read_text()
        (block,) = [block.split("```")[0] for block in page.split("```python\n")[1:]]
        place = self.place / "tutorial"
        (place / "shop/photos/boots").mkdir(parents=True)
        (place / "models").mkdir()
        (place / "models/zoo").symlink_to(CHECKOUT / "models/zoo")
        shutil.copy(CHECKOUT / "runtime/tests/fixtures/photos/red.png", place / "shop/photos/boots/17.jpg")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(place)
        exec(compile(block, "ray.md", "exec"), {})
        (row,) = scenes.rows(place / "of a program")
        self.assertEqual((row["id"], row["labels"], row["product"], row["error"]), ("boot-17", ["boots"], "boot", None))

    def test_the_page_of_exit_codes_says_what_the_program_says(self):
        from sketchfind.ray import __main__

        self.assertIn(__main__._EXIT_CODES, (CHECKOUT / "docs/exit-codes.md").read_text())


if __name__ == "__main__":
    unittest.main()
