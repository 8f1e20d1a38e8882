"""commands_test.py SOURCES BUILD: runs every command of the documents that no other test follows.

A command is a line of an indented block, or words in backticks that begin with a program's name. Those
of fenced sh blocks have tests of their own, which FOLLOWED names.
"""

import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from commands import FOLLOWED, HOW, NO_COMMANDS, PROGRAMS, Elsewhere, Run

SO_PIN, PIN = "87654321", "1234-user"


def documents():
    found = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if found:
        return found
    return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md")
            if path.relative_to(ROOT).parts[0] != "build"]


def indented(text):
    """The indented blocks, with lines that go on in the next joined."""
    for block in re.findall(r"(?:(?<=\n\n)|\A)((?:    [^\n]*\n|\n(?=    ))+)", text):
        joined = re.sub(r" *\\\n +", " ", block)
        yield [line.strip() for line in joined.splitlines() if line.strip()]


def commands(name):
    """The commands of a document, in its order, and the first lines of its other blocks."""
    text = (ROOT / name).read_text("utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    found, others = [], []
    for lines in indented(text):
        if lines[0].startswith(tuple(PROGRAMS)):
            found += [re.sub(r"  +#.*", "", line) for line in lines]
        else:
            others.append(lines[0])
    prose = re.sub(r"^    .*$", "", text, flags=re.M)
    for span in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose):
        span = " ".join(span.split())
        whole = span.startswith("conf/") and (ROOT / span).is_file() and os.access(ROOT / span, os.X_OK)
        program = next((p for p in PROGRAMS if span.startswith(p)), None)
        if program and (" " in span or whole or span.startswith("build/release/bench_")):
            if "…" not in span and not re.search(r"\b[A-Z]{4,}\b(?!_)", span.split("=")[0]):
                found.append(span)
    return list(dict.fromkeys(found)), others


class Commands(unittest.TestCase):
    maxDiff = None

    def test_every_command_is_known(self):
        known = {name: sorted(commands(name)[0]) for name in documents()}
        self.assertEqual(
            {name: found for name, found in known.items() if found},
            {name: sorted(how) for name, how in HOW.items()},
        )

    def test_who_else_runs_them_does(self):
        for how in (how for document in HOW.values() for how in document.values()):
            if isinstance(how, Elsewhere):
                self.assertIn(how.words, (ROOT / how.file).read_text("utf-8"))

    def test_what_else_is_indented(self):
        others = {name: commands(name)[1] for name in documents()}
        others = {name: found for name, found in others.items() if found}
        self.assertEqual(sorted(others), sorted(NO_COMMANDS))
        for name, found in others.items():
            self.assertEqual(len(found), len(NO_COMMANDS[name]))
            for line, begin in zip(found, NO_COMMANDS[name]):
                self.assertTrue(line.startswith(begin), line)

    def test_sh_blocks_are_followed(self):
        said = subprocess.run(
            ["ctest", "-N"], cwd=BUILD, capture_output=True, text=True, check=True
        ).stdout
        tests = set(re.findall(r"^ *Test +#\d+: (.+)$", said, re.M))
        for name in documents():
            if "\n```sh\n" not in (ROOT / name).read_text("utf-8"):
                continue
            prefix = next((p for p in FOLLOWED if name.startswith(p)), None)
            self.assertIsNotNone(prefix, f"nobody runs the sh blocks of {name}")
            test, file = FOLLOWED[prefix]
            self.assertTrue(test in tests, test)
            self.assertIn(pathlib.Path(name).stem if prefix == name else "PAGES",
                          (ROOT / file).read_text("utf-8"))


class Followed(unittest.TestCase):
    """A document's commands, one after another as somebody would type them, in a fresh account."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="commands-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        os.chmod(self.dir, 0o755)
        for entry in ROOT.iterdir():
            if entry.name != "build":
                (self.dir / entry.name).symlink_to(entry)
        (self.dir / "build").mkdir()
        (self.dir / "build/release").symlink_to(BUILD)
        self.home = self.dir / "home"
        self.home.mkdir()
        shutil.copy(BUILD / "secretmem-pkcs11.so", self.home)
        if os.geteuid() == 0:
            os.chown(self.home, 65534, 65534)
        root = re.search(r"^BORINGSSL_ROOT:\w+=(.+)$", (BUILD / "CMakeCache.txt").read_text(), re.M)
        sources = re.search(r"-isystem (\S+)/src/include|-isystem (\S+)/include",
                            (BUILD / "compile_commands.json").read_text())
        self.env = {
            "PATH": f"{BUILD}/tool:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "SOURCES": str(ROOT),
            "BORINGSSL": root.group(1) if root else next(filter(None, sources.groups())),
            "AS_USER": f"setpriv --reuid 65534 --regid 65534 --clear-groups env HOME={self.home}"
            if os.geteuid() == 0 else "",
        }

    def type(self, script):
        """Runs a script on a terminal, and answers whoever asks for a PIN; returns what it showed."""
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                os.chdir(self.dir)
                os.execve("/bin/bash", ["bash", "-euo", "pipefail", "-c", script], self.env)
            finally:
                os._exit(127)
        shown, answered = "", 0
        while True:
            try:
                got = os.read(terminal, 65536)
            except OSError:  # the other side is gone
                break
            if not got:
                break
            shown += got.decode(errors="replace").replace("\r\n", "\n")
            asked = shown[answered:].rsplit("\n", 1)[-1]
            if re.search(r"(PIN|again)\b[^\n]*: $", asked):
                answered = len(shown)
                of_officer = re.search(r"SO PIN|security officer", shown[-200:].splitlines()[-1]) or (
                    "again: " in asked and "security officer" in shown[-200:].splitlines()[-2]
                )
                # Whoever asks turns the echo off first, and throws away what was typed before.
                time.sleep(0.05)
                os.write(terminal, (SO_PIN if of_officer else PIN).encode() + b"\n")
        os.close(terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.assertEqual(status, 0, f"{script}\n{shown}")
        return shown

    def follow(self, name):
        marks = []
        script = ""
        for command in commands(name)[0]:
            how = HOW[name][command]
            if not isinstance(how, Run):
                continue
            marks.append((command, how))
            script += f"echo '=== {len(marks)}'\n{getattr(how, 'actual', command)}\n"
        if not marks:
            return
        shown = self.type(script)
        parts = re.split(r"^=== \d+\n", shown, flags=re.M)[1:]
        self.assertEqual(len(parts), len(marks), shown)
        for (command, how), part in zip(marks, parts):
            self.assertRegex(part.rstrip("\n"), how.then, f"{name}: {command}")


def follows(name):
    return lambda self: self.follow(name)


for document in HOW:
    title = re.sub(r"\W+", "_", document.removesuffix(".md")).lower()
    setattr(Followed, f"test_{title}", follows(document))


if __name__ == "__main__":
    ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
