"""Checks that every C++ source of the tree is as clang-format 14 would write it."""

import pathlib
import subprocess
import sys
import unittest


def sources():
    """Returns what git tracks, or, in an unpacked archive, what lies in our folders."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "*.cc", "*.h"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
        return [path for path in paths if path.exists()]
    folders = ("vault", "mechanisms", "pkcs11", "tests")
    return [p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in (".cc", ".h")]


class FormatTest(unittest.TestCase):
    def test_sources_are_formatted(self):
        paths = sources()
        self.assertTrue(paths)
        result = subprocess.run(
            [CLANG_FORMAT, "--dry-run", "-Werror", *paths],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(
            (result.returncode, result.stdout),
            (0, ""),
            "to format them: git ls-files '*.cc' '*.h' | xargs clang-format -i",
        )


if __name__ == "__main__":
    CLANG_FORMAT = sys.argv.pop(2)
    ROOT = pathlib.Path(sys.argv.pop(1))
    unittest.main()
