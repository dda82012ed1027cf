"""Everything public has a docstring with an example, and every example runs; the stubs say what the module has."""

import ast
import contextlib
import doctest
import inspect
import io
import os
import pathlib
import shutil
import unittest

import numpy
import sketchfind
from support import FIXTURES, MODEL, WithGallery, write_calibration

STUB = pathlib.Path(sketchfind.__file__).with_name("__init__.pyi")


def public():
    """Names and objects: classes and functions, and what of their own the classes have."""
    for name in sketchfind.__all__:
        thing = getattr(sketchfind, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)) or getattr(thing, "__module__", "") == "typing":
            continue
        yield name, thing
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (inspect.isroutine(value) or inspect.isdatadescriptor(value)):
                    yield f"{name}.{member}", value


class Documentation(WithGallery):
    def test_every_example_runs(self):
        shutil.copytree(FIXTURES / "photos", self.folder / "photos")
        before = pathlib.Path.cwd()
        self.addCleanup(os.chdir, before)
        model = MODEL.resolve()
        n_examples = 0
        for name, thing in public():
            parsed = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {}, name, str(STUB), 0)
            parsed.globs = {"sketchfind": sketchfind, "numpy": numpy, "pathlib": pathlib, "model": model}
            shop = self.folder / name / "shop.gallery"
            shop.parent.mkdir()
            (shop.parent / "photos").symlink_to(self.folder / "photos")
            write_calibration(shop.parent / "calibration.json")
            os.chdir(shop.parent)
            sketchfind.create(shop, model)
            with sketchfind.Retriever(shop, writable=True) as filled:
                filled.add("red", "photos/red.png", ["warm", "sale"], "shop/red.jpg")
                filled.add("blue", "photos/blue.png", ["cold"])
            said = io.StringIO()
            flags = doctest.IGNORE_EXCEPTION_DETAIL
            result = doctest.DocTestRunner(verbose=False, optionflags=flags).run(parsed, out=said.write)
            with self.subTest(name):
                self.assertEqual(result.failed, 0, said.getvalue())
                n_examples += result.attempted
        self.assertGreater(n_examples, 50)

    def test_everything_has_a_docstring_and_an_example(self):
        without = []
        for name, thing in public():
            text = inspect.getdoc(thing)
            # The properties of small values are one line, beside the class's example.
            is_small = "." in name and name.split(".")[0] in {"Recall", "Costs"}
            is_error = inspect.isclass(thing) and issubclass(thing, Exception)
            if not text or (">>>" not in text and not is_small and not is_error):
                without.append(name)
        self.assertEqual(without, [])

    def test_the_readme_runs(self):
        self.run_page(pathlib.Path(__file__).parents[1] / "README.md")

    def test_the_tutorial_runs(self):
        self.run_page(pathlib.Path(__file__).parents[2] / "docs/tutorials/python.md")

    def run_page(self, page):
        blocks = [block.split("```")[0] for block in page.read_text().split("```python\n")[1:]]
        self.assertGreater(len(blocks), 0)
        os.chdir(self.folder)
        self.addCleanup(os.chdir, pathlib.Path(__file__).parent)
        (self.folder / "models").mkdir()
        (self.folder / "models/1").symlink_to(MODEL.resolve())
        shutil.copytree(FIXTURES / "photos", self.folder / "photos")
        shutil.copy(FIXTURES / "photos/red.png", self.folder / "drawing.png")
        write_calibration(self.folder / "calibration.json")
        known = {}
        for block in blocks:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block, str(page), "exec"), known)


class Stubs(unittest.TestCase):
    def signatures(self):
        """Of each function of the stub its parameters and their defaults."""
        for node in ast.parse(STUB.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                yield node.name, node.args
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and not member.decorator_list:
                        yield f"{node.name}.{member.name}", member.args

    def test_names(self):
        names = ast.parse(STUB.read_text())
        (listed,) = (node.value for node in names.body if isinstance(node, ast.Assign))
        self.assertEqual(ast.literal_eval(listed), sketchfind.__all__)
        self.assertEqual(sorted(sketchfind.__all__, key=str.lower), sorted(set(sketchfind.__all__), key=str.lower))
        stubbed = {name for name, _ in self.signatures()}
        for name, thing in public():
            if inspect.isroutine(thing) and "sketchfind" in str(getattr(thing, "__module__", "sketchfind")):
                with self.subTest(name):
                    self.assertIn(name, stubbed)

    def test_signatures(self):
        n_compared = 0
        for name, stub in self.signatures():
            thing = sketchfind
            for part in name.split("."):
                thing = getattr(thing, part)
            if name.endswith("__new__"):
                thing = getattr(sketchfind, name.split(".")[0])
            elif name.split(".")[-1].startswith("__"):
                continue
            found = inspect.signature(thing).parameters.values()
            positional = [argument.arg for argument in stub.posonlyargs + stub.args if argument.arg not in {"self", "cls"}]
            keyword = [argument.arg for argument in stub.kwonlyargs]
            with self.subTest(name):
                own = [parameter for parameter in found if parameter.name != "self"]
                self.assertEqual([p.name for p in own if p.kind is not p.KEYWORD_ONLY], positional)
                self.assertEqual([p.name for p in own if p.kind is p.KEYWORD_ONLY], keyword)
                defaults = [ast.literal_eval(value) for value in [*stub.defaults, *filter(None, stub.kw_defaults)]]
                self.assertEqual([p.default for p in own if p.default is not p.empty], defaults)
                n_compared += 1
        self.assertGreater(n_compared, 25)


if __name__ == "__main__":
    unittest.main()
