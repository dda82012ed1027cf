"""Ray is for who asks for it: everything else does without."""

import subprocess
import sys
import unittest

WORDS = "sketchfind.ray needs Ray Data: pip install 'sketchfind[ray]'"


def ran(*words):
    # A Ray that is installed is as if it were not.
    code = "import sys; sys.modules['ray'] = None\n" + "\n".join(words)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


class WithoutRay(unittest.TestCase):
    def test_sketchfind_does_not_import_it(self):
        said = ran("import sketchfind", "assert not {'pyarrow', 'pandas', 'sketchfind.ray'} & set(sys.modules), sys.modules")
        self.assertEqual((said.returncode, said.stderr), (0, ""))

    def test_one_error_says_what_to_install(self):
        said = ran("import sketchfind.ray")
        self.assertEqual(said.returncode, 1)
        self.assertIn(f"ImportError: {WORDS}", said.stderr)
        self.assertEqual(said.stderr.count("ImportError: "), 1, said.stderr)

    def test_the_program_says_it_in_a_line(self):
        said = ran("import runpy", "runpy.run_module('sketchfind.ray', run_name='__main__')")
        self.assertEqual(said.returncode, 1)
        self.assertIn(WORDS, said.stderr)


if __name__ == "__main__":
    unittest.main()
