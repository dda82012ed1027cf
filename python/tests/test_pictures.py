"""A picture is the same picture however it is given."""

import io
import mmap
import pathlib
import struct
import tempfile
import unittest

import numpy as np
import sketchfind
from PIL import Image, ImageCms
from support import MODEL, RED, WithGallery, noise


def with_other_colours(profile):
    """The ICC profile with its red where its blue is, and the other way round."""
    profile = bytearray(profile)
    (n_tags,) = struct.unpack_from(">I", profile, 128)
    places = {bytes(profile[at : at + 4]): at + 4 for at in range(132, 132 + 12 * n_tags, 12)}
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    profile[red : red + 8], profile[blue : blue + 8] = profile[blue : blue + 8], profile[red : red + 8]
    return bytes(profile)


class Pictures(unittest.TestCase):
    def setUp(self):
        self.embedder = sketchfind.Embedder(MODEL, threads=1)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def one(self, picture):
        return self.embedder.embed([picture])[0].tolist()

    def check_same(self, image, name="picture.png", **options):
        """The image of PIL, and its file in every form, give one embedding."""
        path = self.folder / name
        image.save(path, **options)
        expected = self.one(path)
        encoded = path.read_bytes()
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            Image.open(path) as opened,
        ):
            forms = {
                "str": str(path),
                "bytes": encoded,
                "bytearray": bytearray(encoded),
                "memoryview": memoryview(encoded),
                "part of a memoryview": memoryview(b"xx" + encoded)[2:],
                "BytesIO": io.BytesIO(encoded),
                "open file": file,
                "mmap": mapped,
                "PIL, opened": opened,
            }
            if not options:
                # What is given with the file the image itself does not know.
                forms["PIL, made"] = image
            for form, picture in forms.items():
                with self.subTest(form=form, mode=image.mode):
                    self.assertEqual(self.one(picture), expected)
        return expected

    def test_every_mode_of_pil(self):
        rgba = Image.fromarray(noise(9, 7, 4))
        for mode in ["RGB", "RGBA", "LA", "L", "1"]:
            self.check_same(rgba.convert(mode))
        deep = np.random.default_rng(1).integers(0, 65536, (9, 7)).astype(np.uint16)
        self.check_same(Image.fromarray(deep))
        self.assertEqual(self.one(Image.fromarray(deep)), self.one(deep))
        # The bytes in the other order, and as integers.
        big = Image.frombytes("I;16B", (7, 9), deep.astype(">u2").tobytes())
        integers = Image.fromarray(deep.astype(np.int32))
        floats = Image.fromarray((deep >> 8).astype(np.float32) / np.float32(255))
        self.assertEqual((big.mode, integers.mode, floats.mode), ("I;16B", "I", "F"))
        self.assertEqual(self.one(big), self.one(deep))
        self.assertEqual(self.one(integers), self.one(deep))
        self.assertEqual(self.one(floats), self.one((deep >> 8).astype(np.uint8)))
        # PIL's own arithmetic is what is left of these.
        for mode in ["YCbCr", "HSV", "RGBX"]:
            image = Image.fromarray(noise(9, 7, 3)).convert(mode)
            self.assertEqual(self.one(image), self.one(image.convert("RGB")))
        for mode, straight in [("La", "LA"), ("RGBa", "RGBA")]:
            image = rgba.convert(straight).convert(mode)
            self.assertEqual(self.one(image), self.one(image.convert(straight)))

    def test_palettes_and_colours_that_stand_for_none(self):
        palette = Image.fromarray(noise(9, 7, 3)).quantize(8)
        self.check_same(palette)
        plain = self.one(palette)
        whole = self.check_same(palette, transparency=3)
        some = self.check_same(palette, transparency=bytes([0, 40, 80, 120, 160, 200, 240, 255]))
        grey = Image.fromarray(noise(9, 7) // 64)
        rgb = Image.merge("RGB", [grey] * 3)
        keyed = [self.check_same(grey, transparency=2), self.check_same(rgb, transparency=(2, 2, 2))]
        self.assertEqual(len({tuple(found) for found in [plain, whole, some]}), 3)
        self.assertNotEqual(keyed[0], self.one(grey))
        self.check_same(palette, "picture.gif", transparency=1)

    def test_inks(self):
        cmyk = Image.merge("CMYK", [Image.fromarray(noise(9, 7, seed=seed)) for seed in range(4)])
        tiff = self.folder / "inks.tif"
        cmyk.save(tiff)
        # Its decoder rounds down.
        np.testing.assert_allclose(self.one(cmyk), self.one(tiff), atol=1 / 255)
        np.testing.assert_array_equal(self.one(cmyk), self.one(Image.open(tiff)))
        jpeg = self.folder / "inks.jpg"
        flat = Image.new("CMYK", (16, 16), (200, 100, 40, 30))
        flat.save(jpeg, quality=100)
        np.testing.assert_allclose(self.one(Image.open(jpeg)), self.one(jpeg), atol=2 / 255)

    def test_profiles_and_orientation_are_heeded(self):
        image = Image.fromarray(noise(12, 8, 3))
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        same = self.check_same(image, icc_profile=profile.tobytes())
        self.assertEqual(same, self.one(image))
        self.assertNotEqual(self.check_same(image, icc_profile=with_other_colours(profile.tobytes())), same)
        # A model that sees where things are would be needed to see a turned picture; frames of one are of another size.
        dark = np.zeros((10, 30, 3), np.uint8)
        dark[:, :5] = 255
        exif = Image.Exif()
        exif[0x0112] = 6
        path = self.folder / "turned.png"
        Image.fromarray(dark).save(path, exif=exif)
        conv = sketchfind.Embedder(MODEL.parent / "conv16", threads=1)
        turned, opened = conv.embed([path, Image.open(path)])
        upright = conv.embed([np.rot90(dark, -1)])[0]
        np.testing.assert_array_equal(turned, opened)
        np.testing.assert_array_equal(turned, upright)
        self.assertFalse(np.allclose(turned, conv.embed([dark])[0]))

    def test_arrays_of_every_kind(self):
        for shape in [(9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4)]:
            array = noise(*shape)
            path = self.folder / "array.png"
            Image.fromarray(array.squeeze()).save(path)
            expected = self.one(path)
            wide = np.zeros((18, 14, *shape[2:]), np.uint8)
            wide[::2, ::2] = array
            forms = {
                "uint8": array,
                "strides": wide[::2, ::2],
                "Fortran's order": np.asfortranarray(array),
                "backwards": array[::-1, ::-1].copy()[::-1, ::-1],
                "read-only": np.frombuffer(array.tobytes(), np.uint8).reshape(shape),
                "uint16": array.astype(np.uint16) * 257,
                "big-endian": (array.astype(np.uint16) * 257).astype(">u2"),
                "float64": array / 255,
                "float32": array.astype(np.float32) / 255,
                "big-endian floats": (array / 255).astype(">f8"),
                "rounding": array / 255 * (1 + 1e-9),
            }
            for form, picture in forms.items():
                with self.subTest(form=form, shape=shape):
                    self.assertEqual(self.one(picture), expected)
        bits = noise(9, 7) > 127
        self.assertEqual(self.one(bits), self.one(bits.astype(np.uint8) * 255))
        half = (noise(9, 7, 3) // 85).astype(np.float16) / 3
        np.testing.assert_allclose(self.one(half), self.one(half.astype(np.float64)), atol=1 / 255)

    def test_what_is_no_picture_is_one_clear_error(self):
        array = noise(9, 7, 3)
        floats = array / 255
        with_nan, over, under = floats.copy(), floats.copy(), floats.copy()
        with_nan[3, 3, 1], over[0, 0, 0], under[8, 6, 2] = np.nan, 1.5, -0.1
        for wrong, error, words in [
            (array[:, :, :2], ValueError, r"\[9, 7, 2\]"),
            (noise(9, 7, 5), ValueError, r"\[9, 7, 5\]"),
            (noise(3, 90, 70), ValueError, "moveaxis"),
            (noise(7), ValueError, r"\[7\]"),
            (noise(2, 9, 7, 3), ValueError, r"\[2, 9, 7, 3\]"),
            (noise(0, 7, 3), ValueError, r"has pixels.*\[0, 7, 3\]"),
            (array.astype(np.int64), TypeError, "not int64"),
            (array.astype(object), TypeError, "not object"),
            (array.astype(np.complex64), TypeError, "not complex64"),
            (array.astype(np.float32), ValueError, "expected 0 to 1; for numbers up to 255 give uint8"),
            (with_nan, ValueError, "NaN"),
            (over, ValueError, "has 1.5 in it"),
            (under, ValueError, "has -0.1 in it"),
            (np.full((2, 2), np.inf), ValueError, "has inf in it"),
            (memoryview(array), ValueError, "memoryview.*asarray"),
            (Image.new("I", (2, 2), 70000), ValueError, "70000.*65535"),
            (Image.new("F", (2, 2), 3.0), ValueError, "has 3 in it"),
            (7, TypeError, "not int"),
            (None, TypeError, "not NoneType"),
            (io.StringIO("text"), TypeError, "gives str.*binary"),
            (io.BytesIO(), sketchfind.BadImage, "nothing to read"),
            (b"", sketchfind.BadImage, "empty"),
            (b"no image", sketchfind.BadImage, "not a JPEG"),
            (io.BytesIO(b"no image"), sketchfind.BadImage, "not a JPEG"),
        ]:
            with self.subTest(words=words):
                with self.assertRaisesRegex(error, words) as raised:
                    self.embedder.embed([RED, wrong])
                self.assertIn("position 1" if error is not sketchfind.BadImage else "", str(raised.exception))

    def test_a_file_that_was_read_is_rewound_or_told(self):
        file = io.BytesIO(RED.read_bytes())
        expected = self.one(file)
        with self.assertRaisesRegex(sketchfind.BadImage, "seek"):
            self.one(file)
        file.seek(0)
        self.assertEqual(self.one(file), expected)

    def test_one_picture_is_no_list(self):
        encoded = RED.read_bytes()
        for wrong in [
            "abc", str(RED), RED, encoded, bytearray(encoded), memoryview(encoded), io.BytesIO(encoded),
            noise(9, 7, 3), noise(9, 7), Image.new("RGB", (3, 3)), {"red": RED}, 7, None,
        ]:
            with self.subTest(kind=type(wrong).__name__):
                with self.assertRaisesRegex(TypeError, "several pictures.*list of one|several pictures"):
                    self.embedder.embed(wrong)
        # An array of four dimensions is a list of pictures.
        stack = noise(3, 9, 7, 3)
        np.testing.assert_array_equal(self.embedder.embed(stack), self.embedder.embed(list(stack)))


class Galleries(WithGallery):
    def test_photos_with_alpha_find_themselves(self):
        """Photos with transparency, from files, find themselves when asked for by what PIL or NumPy makes of them."""
        paths = {}
        for number in range(40):
            image = noise(12, 10, 4, seed=number)
            paths[str(number)] = self.folder / f"{number}.png"
            Image.fromarray(image).save(paths[str(number)])
        with self.open(frame="off") as shop:
            shop.ingest(paths, paths.values())
            for id, path in paths.items():
                opened = Image.open(path)
                for given in [path, opened, np.asarray(opened), np.asarray(opened) / 255]:
                    found = shop.query(given, k=1)[0]
                    self.assertEqual(found.id, id)

    def test_every_verb_takes_every_form(self):
        rgba = noise(12, 10, 4)
        path = self.folder / "one.png"
        Image.fromarray(rgba).save(path)
        forms = [path, path.read_bytes(), Image.open(path), rgba, rgba / 255]
        with self.open(frame="off") as shop:
            for number, given in enumerate(forms):
                shop.add(f"add {number}", given)
            shop.add_batch([f"batch {number}" for number in range(len(forms))], forms)
            shop.ingest(["ingest"], [path])
            _, rows = shop.embeddings()
            self.assertEqual(len(np.unique(rows, axis=0)), 1)
            for found in [*shop.query_batch(forms), *(shop.query(given) for given in forms)]:
                self.assertEqual(found[0].distance, found[-1].distance)
            photos, sketches, plain = shop.embed_photos(forms), shop.embed_sketches(forms), shop.embed(forms)
            for embedded in [photos, sketches, plain]:
                self.assertEqual(len(np.unique(embedded, axis=0)), 1)

    def test_a_drawing_on_nothing_is_laid_over_what_shows_it(self):
        """White lines on a transparent ground, which are gone over white."""
        drawing = np.zeros((60, 80, 4), np.uint8)
        drawing[20:40, 30:32] = drawing[20:22, 30:50] = 255
        path = self.folder / "drawing.png"
        Image.fromarray(drawing).save(path)
        with self.open(frame=0.8) as shop:
            shop.add("grey", np.full((4, 4, 3), 128, np.uint8))
            forms = [path, Image.open(path), drawing, drawing / 255]
            distances = {shop.query(given)[0].distance for given in forms}
            distances |= {found[0].distance for found in shop.query_batch(forms)}
            self.assertEqual(len(distances), 1)


if __name__ == "__main__":
    unittest.main()
