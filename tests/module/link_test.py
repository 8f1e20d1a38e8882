"""Reads the built module and checks how it was linked."""

import argparse
import json
import re
import subprocess
import sys
import unittest

# What the module may need at run time: the compiler's and the C library, nothing else.
ALLOWED_LIBRARIES = re.compile(r"(libc|libm|libstdc\+\+|libgcc_s|ld-linux[-\w]*)\.so\.\d+")


def readelf(*options):
    return subprocess.run(
        ["readelf", "--wide", *options, ARGUMENTS.module],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


class LinkTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # {tag: [values]}, e.g. {"NEEDED": ["Shared library: [libc.so.6]"]}
        cls.dynamic = {}
        for tag, value in re.findall(r"^ 0x\w+ \((\w+)\) +(.*)$", readelf("--dynamic"), re.M):
            cls.dynamic.setdefault(tag, []).append(value.strip())
        # [(type, flags)], e.g. ("GNU_STACK", "RW ")
        cls.segments = re.findall(
            r"^ +([A-Z]\w*) +0x\w+ 0x\w+ 0x\w+ 0x\w+ 0x\w+ ([R ][W ][E ])", readelf("--segments"), re.M
        )
        cls.symbols = {}
        for line in readelf("--symbols").splitlines():
            fields = line.split()
            if len(fields) >= 8 and re.fullmatch(r"\d+:", fields[0]):
                cls.symbols[fields[7]] = (fields[4], fields[6])

    def test_it_was_read(self):
        self.assertIn("SYMTAB", self.dynamic)
        self.assertIn("LOAD", [kind for kind, _ in self.segments])

    def test_needs_only_the_c_and_compiler_libraries(self):
        needed = [re.fullmatch(r"Shared library: \[(.*)\]", v)[1] for v in self.dynamic["NEEDED"]]
        self.assertIn("libc.so.6", needed)
        self.assertEqual([n for n in needed if not ALLOWED_LIBRARIES.fullmatch(n)], [])
        self.assertEqual({"RPATH", "RUNPATH"} & self.dynamic.keys(), set())

    def test_binds_everything_at_load(self):
        # A lazy stub saves vector registers, with key material in them, on the ordinary stack.
        self.assertIn("BIND_NOW", self.dynamic["FLAGS"][0].split())
        self.assertIn("NOW", self.dynamic["FLAGS_1"][0].removeprefix("Flags:").split())

    def test_stays_loaded(self):
        # Clients call in from exit handlers, after they have closed the module.
        self.assertIn("NODELETE", self.dynamic["FLAGS_1"][0].removeprefix("Flags:").split())

    def test_binds_its_own_symbols_to_itself(self):
        self.assertIn("SYMBOLIC", self.dynamic["FLAGS"][0].split())

    def test_has_no_text_relocations(self):
        self.assertNotIn("TEXTREL", self.dynamic)
        self.assertNotIn("TEXTREL", self.dynamic["FLAGS"][0].split())

    def test_relocated_data_is_read_only(self):
        self.assertEqual([flags for kind, flags in self.segments if kind == "GNU_RELRO"], ["R  "])

    def test_nothing_is_writable_and_executable(self):
        self.assertEqual([flags for kind, flags in self.segments if kind == "GNU_STACK"], ["RW "])
        self.assertEqual([s for s in self.segments if "W" in s[1] and "E" in s[1]], [])

    def test_has_stack_protectors(self):
        # Canaries are the thread's and random, so the secret stacks have them like all others.
        self.assertEqual(self.symbols.get("__stack_chk_fail@GLIBC_2.4", ("",))[0], "GLOBAL")
        self.assertEqual(self.without_flag("-fstack-protector-strong"), [])

    @unittest.skipUnless("--optimised" in sys.argv, "an unoptimised build")
    def test_is_fortified(self):
        checked = {name.partition("@")[0] for name in self.symbols}
        self.assertLessEqual({"__memcpy_chk", "__memset_chk", "__vsnprintf_chk"}, checked)
        self.assertEqual(self.without_flag("-D_FORTIFY_SOURCE=2"), [])

    def without_flag(self, flag):
        """Returns the sources of the module's own that are compiled without it."""
        with open(ARGUMENTS.commands, encoding="utf-8") as file:
            commands = json.load(file)
        ours = [
            entry
            for entry in commands
            if re.search(r" -o (vault|mechanisms|pkcs11)/", entry["command"])
            and entry["file"].endswith(".cc")
        ]
        self.assertGreater(len(ours), 100)
        return [entry["file"] for entry in ours if flag not in entry["command"].split()]

    def test_boringssl_allocates_through_our_hooks(self):
        # The references are weak: without a definition the link succeeds and malloc is used.
        for name in ("OPENSSL_memory_alloc", "OPENSSL_memory_free", "OPENSSL_memory_get_size"):
            with self.subTest(name):
                binding, section = self.symbols.get(name, ("absent", "UND"))
                self.assertEqual(binding, "LOCAL")
                self.assertRegex(section, r"^\d+$")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--module", required=True)
    parser.add_argument("--commands", required=True, help="compile_commands.json")
    parser.add_argument("--optimised", action="store_true")
    ARGUMENTS, rest = parser.parse_known_args()
    unittest.main(argv=[__file__, *rest])
