"""What the wheel says of itself."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import sketchfind

ROOT = pathlib.Path(__file__).parents[2]


class Metadata(unittest.TestCase):
    def setUp(self):
        self.wheel = importlib.metadata.distribution("sketchfind")

    def test_pythons(self):
        self.assertEqual(self.wheel.metadata["Requires-Python"], ">=3.11")
        tags = re.findall(r"^Tag: (.*)$", self.wheel.read_text("WHEEL"), re.MULTILINE)
        self.assertTrue(tags)
        for tag in tags:
            self.assertRegex(tag, r"^cp311-abi3-(manylinux|linux|macosx|win)")
        (native,) = pathlib.Path(sketchfind.__file__).parent.glob("_native*")
        self.assertIn(".abi3." if sys.platform != "win32" else ".pyd", native.name)
        self.assertEqual(self.wheel.version, sketchfind.__version__)

    def test_onnx_runtime_is_a_choice(self):
        required = self.wheel.requires
        self.assertEqual([name for name in required if "extra" not in name], ["numpy>=1.26"])
        for extra, package in [("cpu", "onnxruntime>="), ("gpu", "onnxruntime-gpu>=")]:
            self.assertIn(extra, self.wheel.metadata.get_all("Provides-Extra"))
            self.assertTrue(any(name.startswith(package) and extra in name for name in required), required)

    def test_licences_are_inside(self):
        held = {pathlib.Path(file).name: file for file in self.wheel.files if "licenses" in str(file)}
        for name in ["LICENSE-MIT", "LICENSE-APACHE"]:
            self.assertEqual(held[name].locate().read_text(), (ROOT / name).read_text())
            self.assertIn(name, " ".join(self.wheel.metadata.get_all("License-File")))
        self.assertEqual(self.wheel.metadata["License-Expression"], "MIT OR Apache-2.0")

    def test_licences_of_what_is_linked_are_inside(self):
        folder = pathlib.Path(sketchfind.__file__).parent / "licences"
        table = (folder / "README.md").read_text()
        for name in ["pyo3", "numpy", "ort", "image", "parquet"]:
            (version,) = re.findall(rf"^\| {name} \| (\S+) \| [^|]+ \|$", table, re.MULTILINE)
            texts = list((folder / f"{name}-{version}").iterdir())
            self.assertTrue(texts and all(text.stat().st_size > 0 for text in texts), name)

    def test_stubs_and_their_mark_are_inside(self):
        held = {pathlib.Path(file).name for file in self.wheel.files}
        self.assertLessEqual({"py.typed", "__init__.pyi", "_types.py", "_values.py"}, held)

    def find(self, *names):
        """What is found where a folder of ONNX Runtime holds these files."""
        script = "import sys; sys.path.insert(0, sys.argv[1]); import sketchfind._onnx_runtime as o; print(o.library())"
        with tempfile.TemporaryDirectory() as folder:
            capi = pathlib.Path(folder, "onnxruntime/capi")
            capi.mkdir(parents=True)
            # Importing it would be an error: it is only looked for.
            (capi.parent / "__init__.py").write_text("raise SystemExit('was imported')")
            for name in names:
                (capi / name).touch()
            said = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
            return pathlib.Path(said.stdout.strip()).name

    def test_the_library_is_found_in_every_package_of_onnx_runtime(self):
        providers = ["libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"]
        self.assertEqual(self.find("libonnxruntime.so.1.30.0", providers[1]), "libonnxruntime.so.1.30.0")
        # As onnxruntime-gpu has it.
        self.assertEqual(self.find(*providers, "libonnxruntime.so.1.30.0"), "libonnxruntime.so.1.30.0")
        self.assertEqual(self.find("libonnxruntime.1.30.0.dylib"), "libonnxruntime.1.30.0.dylib")
        self.assertEqual(self.find("onnxruntime.dll", "onnxruntime_providers_shared.dll"), "onnxruntime.dll")
        self.assertEqual(self.find(*providers), "None")

    def test_without_onnx_runtime_it_says_what_to_install(self):
        script = """
import sys
sys.modules["onnxruntime"] = None
import sketchfind
try:
    sketchfind.verify(sys.argv[1])
except sketchfind.Native as error:
    print(error.code, error)
"""
        model = ROOT / "runtime/tests/fixtures/mean8"
        with tempfile.TemporaryDirectory() as folder:
            said = subprocess.run([sys.executable, "-c", script, model], capture_output=True, text=True, check=True, cwd=folder)
        self.assertRegex(said.stdout, r"NATIVE found no ONNX Runtime.*sketchfind\[cpu\].*sketchfind\[gpu\]")


if __name__ == "__main__":
    unittest.main()
