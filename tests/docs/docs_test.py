"""docs_test.py SOURCES BUILD CLASS: compares the documents with the sources, and follows them."""

import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest

CLONE_NEWNS = 0x20000
SKIP = 77
CKR_OK, CKR_NOT_INITIALIZED, CKR_ALREADY_INITIALIZED = 0, 0x190, 0x191


def page(name):
    return (ROOT / "docs" / name).read_text("utf-8")


def defaults():
    """Every setting of conf/config.toml with its default, as written. A unit test compares that file
    with the code."""
    found = {}
    section = ""
    for line in (ROOT / "conf/config.toml").read_text("utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match.group(1)
        elif match := re.fullmatch(r"#(\w+) = (.+)", line):
            found[f"{section}.{match.group(1)}"] = match.group(2)
    return found


class Reference(unittest.TestCase):
    maxDiff = None

    def test_every_setting_with_its_default(self):
        shown = dict(re.findall(r"^### `([\w.]+) = (.+)`$", page("configuration.md"), re.M))
        self.assertEqual(shown, defaults())

    def test_every_word_that_a_setting_takes(self):
        source = (ROOT / "pkcs11/config_parse.cc").read_text("utf-8")
        words = set(re.findall(r'\{"([a-z-]+)", static_cast<int>', source))
        self.assertGreater(len(words), 10)
        shown = set(re.findall(r'`"([a-z-]+)"`', page("configuration.md")))
        self.assertEqual(shown, words)

    def test_the_examples_are_toml_that_the_module_takes(self):
        settings = {tuple(name.split(".")) for name in defaults()}
        for text in re.findall(r"^```toml\n(.*?)^```$", page("configuration.md"), re.M | re.S):
            for section, values in tomllib.loads(text).items():
                for name in values:
                    self.assertIn((section, name), settings)

    def test_every_environment_variable(self):
        used = set()
        for path in (ROOT / "pkcs11").glob("*.cc"):
            used |= set(re.findall(r'"(SECRETMEM_[A-Z0-9_]+)"', path.read_text("utf-8")))
        shown = set(re.findall(r"`(SECRETMEM_PKCS11_[A-Z]+)`", page("configuration.md")))
        self.assertEqual(shown, {name for name in used if name.startswith("SECRETMEM_PKCS11_")})

    def test_the_tools_commands(self):
        """The manual, the tool's README and its own help know the same commands."""
        tool = str(BUILD / "tool/secretmem-pkcs11")

        def subcommands(*arguments):
            text = subprocess.run(
                [tool, *arguments, "--help"], capture_output=True, text=True, check=True
            ).stdout
            return re.findall(r"^  ([a-z]+)  ", text.split("Subcommands:")[1], re.M)

        names = []
        for name in subcommands():
            names += [f"token {sub}" for sub in subcommands("token")] if name == "token" else [name]
        manual = (ROOT / "conf/package/man/secretmem-pkcs11.1.in").read_text("utf-8")
        section = manual.split(".SH COMMANDS")[1].split(".SH OPTIONS")[0].replace("\\-", "-")
        in_manual = re.findall(r'^\.TP\n\.BI? "?([a-z]+(?: [a-z]+)?)', section, re.M)
        readme = (ROOT / "tool/README.md").read_text("utf-8")
        in_readme = re.findall(r"^\| `([a-z]+(?: [a-z]+)?)", readme, re.M)
        self.assertEqual(sorted(in_manual), sorted(names))
        self.assertEqual(sorted(in_readme), sorted(names))

    def test_exit_codes(self):
        source = (ROOT / "tool/exit_codes.h").read_text("utf-8")
        codes = re.findall(r"^  k\w+ = (\d+),", source, re.M)
        manual = (ROOT / "conf/package/man/secretmem-pkcs11.1.in").read_text("utf-8")
        status = manual.split('.SH "EXIT STATUS"')[1].split(".SH")[0]
        self.assertEqual(re.findall(r"^\.B (\d+)$", status, re.M), codes)
        readme = (ROOT / "tool/README.md").read_text("utf-8")
        self.assertEqual(re.findall(r"^\| (\d+) \|", readme, re.M), codes)


class Links(unittest.TestCase):
    def test_no_link_leads_nowhere(self):
        wrong = []
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]:
            text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
                if "://" not in target and not (path.parent / target).exists():
                    wrong.append(f"{path.relative_to(ROOT)}: {target}")
        self.assertEqual(wrong, [])

    def test_every_page_is_in_the_index(self):
        index = page("README.md")
        for path in (ROOT / "docs").glob("*.md"):
            if path.name != "README.md":
                self.assertIn(f"]({path.name})", index)


class Attacks(unittest.TestCase):
    """Every attack that a document names has a test, and every test that it names is there."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        text = subprocess.run(
            ["ctest", "--show-only=json-v1"], cwd=BUILD, capture_output=True, text=True, check=True
        ).stdout
        cls.tests = {test["name"] for test in json.loads(text)["tests"]}
        assert len(cls.tests) > 1000, "the tests cannot be listed"

    def there_is(self, name):
        """A test, or a suite of tests, of GoogleTest's with a prefix or parameters too."""
        return name in self.tests or any(
            test.startswith((name + ".", name + "/")) or f"/{name}." in test or f"/{name}/" in test
            for test in self.tests
        )

    def rows(self, path, heading):
        """The rows of the table that begins with |heading|, as lists of cells."""
        text = (ROOT / path).read_text("utf-8")
        self.assertEqual(text.count(heading), 1, f"{path}: {heading}")
        table = text.split(heading)[1].split("\n\n")[0]
        rows = [line.strip("|").split(" | ") for line in table.splitlines()[2:]]
        self.assertGreater(len(rows), 10)
        return [[cell.strip() for cell in row] for row in rows]

    def named(self, cell):
        """The tests that a cell names, in backticks and nothing else."""
        self.assertEqual(re.sub(r"`[^`]+`|, ", "", cell), "", cell)
        return re.findall(r"`([^`]+)`", cell)

    def test_the_audits_table(self):
        rows = self.rows("tests/audit/README.md", "| attack | gets a key | test |")
        missing = [name for row in rows for name in self.named(row[2]) if not self.there_is(name)]
        self.assertEqual(missing, [])
        for attack, gets, tests in rows:
            self.assertIn(gets, ("no", "yes"), attack)
            self.assertNotEqual(self.named(tests), [], attack)
        # What `audit attacks` tries and what it must get, one row each.
        said = subprocess.run(
            [BUILD / "audit", "attacks", "--list", "--target", "none", "--module", "none"],
            capture_output=True, text=True, check=True,
        ).stdout
        tried = dict(line.rsplit(": ", 1) for line in said.splitlines())
        words = {"reads": "yes", "reads nothing": "no"}
        self.assertEqual(
            {attack: gets for attack, gets, tests in rows if "audit.attacks" in self.named(tests)},
            {attack: words[gets] for attack, gets in tried.items()},
        )

    def test_the_threat_model(self):
        for who, gets, tests in self.rows("README.md", "| who | gets | test |"):
            names = self.named(tests)
            self.assertEqual([name for name in names if not self.there_is(name)], [], who)
            self.assertTrue(names or "**not covered**" in gets, f"neither tested nor left out: {who}")

    def test_tests_that_documents_name(self):
        missing = []
        for path in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")]:
            for name in re.findall(r"`((?:[A-Z]\w+Test|audit)\.[\w.]+|[A-Z]\w+Test)`", path.read_text("utf-8")):
                if not self.there_is(name) and not name.endswith((".svg", ".md")):
                    missing.append(f"{path.relative_to(ROOT)}: {name}")
        self.assertEqual(missing, [])


class Hosts(unittest.TestCase):
    """What docs/hosts.md says about two users of the module in one process."""

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        os.environ["SECRETMEM_PKCS11_CONF"] = f"{self.dir.name}/config.toml"
        with open(os.environ["SECRETMEM_PKCS11_CONF"], "w", encoding="utf-8") as f:
            f.write(f'[tokens]\ndirectory = "{self.dir.name}/tokens"\n')
        self.module = str(BUILD / "secretmem-pkcs11.so")

    def load(self, path):
        library = ctypes.CDLL(path)
        for name in ("C_Initialize", "C_Finalize"):
            getattr(library, name).restype = ctypes.c_ulong
        library.C_GetInfo.restype = ctypes.c_ulong
        return library

    def info(self, library):
        return library.C_GetInfo(ctypes.create_string_buffer(256))

    def test_one_module_for_all(self):
        first, second = self.load(self.module), self.load(self.module)
        self.assertEqual(first.C_Initialize(None), CKR_OK)
        self.assertEqual(second.C_Initialize(None), CKR_ALREADY_INITIALIZED)
        self.assertEqual(self.info(second), CKR_OK)
        self.assertEqual(first.C_Finalize(None), CKR_OK)
        self.assertEqual(self.info(second), CKR_NOT_INITIALIZED)

    def test_a_copy_is_another_module(self):
        copy = f"{self.dir.name}/copy.so"
        shutil.copy(self.module, copy)
        first, second = self.load(self.module), self.load(copy)
        self.assertEqual(first.C_Initialize(None), CKR_OK)
        self.assertEqual(second.C_Initialize(None), CKR_OK)
        self.assertEqual(first.C_Finalize(None), CKR_OK)
        self.assertEqual(self.info(second), CKR_OK)
        self.assertEqual(second.C_Finalize(None), CKR_OK)

    def test_a_child_begins_afresh(self):
        library = self.load(self.module)
        self.assertEqual(library.C_Initialize(None), CKR_OK)
        child = os.fork()
        if child == 0:
            seen = [self.info(library), library.C_Initialize(None), self.info(library)]
            os._exit(0 if seen == [CKR_NOT_INITIALIZED, CKR_OK, CKR_OK] else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(library.C_Finalize(None), CKR_OK)


class AddingAMechanism(unittest.TestCase):
    """Does what docs/adding-a-mechanism.md says, in a copy of sources and build tree that lies over
    them, so that only what changes is built. Nothing of it stays."""

    def test_the_page_is_followed_literally(self):
        if os.geteuid() != 0:
            print("only root can lay a copy over the tree")
            sys.exit(SKIP)
        libc = ctypes.CDLL(None, use_errno=True)
        self.assertEqual(libc.unshare(CLONE_NEWNS), 0, os.strerror(ctypes.get_errno()))
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        with tempfile.TemporaryDirectory(prefix="mechanism-") as copy:
            os.makedirs(f"{copy}/upper")
            os.makedirs(f"{copy}/work")
            subprocess.run(
                ["mount", "-t", "overlay", "overlay", str(ROOT), "-o"]
                + [f"lowerdir={ROOT},upperdir={copy}/upper,workdir={copy}/work"],
                check=True,
            )
            try:
                self.follow()
            finally:
                subprocess.run(["umount", "-l", str(ROOT)], check=True)

    def follow(self):
        text = page("adding-a-mechanism.md")
        blocks = re.findall(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", text, re.M | re.S)
        commands = []
        kinds = []
        for kind, file, body in blocks:
            kinds.append(kind)
            if kind == "sh":
                commands.append(body)
            elif kind == "diff":
                subprocess.run(["patch", "-p1", "--batch", "--no-backup-if-mismatch"], cwd=ROOT, input=body,
                               text=True, check=True)
            else:
                self.assertTrue(file, f"a block of {kind} that names no file")
                self.assertFalse((ROOT / file).exists(), f"{file} is there already")
                (ROOT / file).write_text(body, "utf-8")
        self.assertEqual(kinds.count("sh"), 1)
        self.assertGreater(kinds.count("diff"), 3)
        said = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands[0]], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )
        self.assertEqual(said.returncode, 0, said.stdout)
        self.assertIn("[  PASSED  ]", said.stdout)
        clean = re.findall(r"^clean +(SipHash \w+) ", said.stdout, re.M)
        self.assertEqual(clean, ["SipHash signing", "SipHash verification"], said.stdout)
        form = subprocess.run(
            ["clang-format", "--dry-run", "--Werror"]
            + [f for _, f, _ in blocks if f and f.endswith((".cc", ".h"))],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )
        self.assertEqual(form.returncode, 0, form.stderr)


if __name__ == "__main__":
    ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
    BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
