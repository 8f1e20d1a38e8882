"""Checks that the module exports exactly the functions of PKCS #11 3.2.

Three lists that are written or made apart from each other must agree: what the headers declare
(p11-kit's for 2.40, mechanisms/cryptoki.h for the rest), what conf/exports.map lets out, and what
the dynamic symbol table of the built module defines.
"""

import argparse
import re
import subprocess
import unittest

# How many functions the function lists of the specification's versions hold, in all.
FUNCTIONS_BY_VERSION = {"2.40": 68, "3.0": 92, "3.2": 104}


def read_map(path):
    """Returns {version: [names]} of the version script."""
    names = {}
    version = None
    with open(path, encoding="utf-8") as file:
        for line in file:
            if match := re.match(r"\s*# since (\S+)$", line):
                version = match[1]
                names[version] = []
            elif match := re.match(r"\s*(\w+);$", line):
                names[version].append(match[1])
    return names


def preprocess(header):
    """Returns the names of all functions C_* that a header mentions once it is preprocessed."""
    command = [ARGUMENTS.compiler, "-std=gnu++23", "-E", "-P", "-x", "c++", "-"]
    command += [f"-I{directory}" for directory in ARGUMENTS.include]
    text = subprocess.run(
        command, input=f"#include {header}\n", check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return set(re.findall(r"\b(C_[A-Z]\w*)\s*\(", text))


def defined_dynamic_symbols(module):
    """Returns [(name, type, visibility)] of what the module defines for others."""
    output = subprocess.run(
        ["readelf", "--dyn-syms", "--wide", module], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    symbols = []
    for line in output.splitlines():
        fields = line.split()
        if len(fields) < 8 or not re.fullmatch(r"\d+:", fields[0]):
            continue
        _, _, _, kind, _, visibility, section, name = fields[:8]
        if section != "UND":
            symbols.append((name, kind, visibility))
    return symbols


class ExportsTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.by_version = read_map(ARGUMENTS.map)
        self.mapped = [name for names in self.by_version.values() for name in names]

    def test_map_has_each_version_of_the_specification_whole(self):
        total = 0
        counted = {}
        for version, names in self.by_version.items():
            total += len(names)
            counted[version] = total
        self.assertEqual(counted, FUNCTIONS_BY_VERSION)
        self.assertEqual(len(set(self.mapped)), len(self.mapped))

    def test_map_has_what_the_system_header_declares(self):
        # p11-kit 0.24 declares 2.40, later ones more: never less, and nothing we do not know.
        declared = preprocess("<p11-kit/pkcs11.h>")
        self.assertEqual(set(self.by_version["2.40"]) - declared, set())
        self.assertEqual(declared - set(self.mapped), set())

    def test_map_is_what_our_header_declares(self):
        self.assertEqual(sorted(preprocess('"mechanisms/cryptoki.h"')), sorted(self.mapped))

    def test_module_defines_exactly_these_functions(self):
        self.assertEqual(
            sorted(defined_dynamic_symbols(ARGUMENTS.module)),
            sorted((name, "FUNC", "DEFAULT") for name in self.mapped),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--module", required=True)
    parser.add_argument("--map", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--include", action="append", default=[])
    ARGUMENTS, rest = parser.parse_known_args()
    unittest.main(argv=[__file__, *rest])
