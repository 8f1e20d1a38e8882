"""Checks that code which must not compile does not, and for the reason it names.

Usage: compile_fail_test.py SOURCE COMPILER ARGUMENT...

SOURCE says in a comment `// error: REGEX` what the compiler's message must match. As a control it
is compiled a second time with COMPILES defined: that must succeed, so that the failure comes from
the lines between `#ifndef COMPILES` and `#endif` and from nothing else.
"""

import re
import subprocess
import sys
import unittest


class CompileFailTest(unittest.TestCase):
    def compile(self, *options):
        return subprocess.run(
            [*COMPILER, *options, "-fsyntax-only", SOURCE],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )

    def test_does_not_compile(self):
        with open(SOURCE, encoding="utf-8") as file:
            expected = re.findall(r"^// error: (.+)$", file.read(), re.M)
        self.assertTrue(expected, "the source does not say what the error must be")
        result = self.compile()
        self.assertNotEqual(result.returncode, 0)
        errors = "\n".join(re.findall(r"error: .*", result.stderr))
        for pattern in expected:
            self.assertRegex(errors, pattern)

    def test_control_compiles(self):
        result = self.compile("-DCOMPILES")
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    SOURCE, *COMPILER = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
