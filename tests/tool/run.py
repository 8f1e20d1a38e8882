#!/usr/bin/python3
"""Runs the tool's tests: run.py --tool FILE --module FILE TEST..."""

import argparse
import os
import sys
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("tests", nargs="+", metavar="TEST")
    arguments = parser.parse_args()
    os.environ["SECRETMEM_TEST_TOOL"] = os.path.realpath(arguments.tool)
    os.environ["SECRETMEM_TEST_MODULE"] = os.path.realpath(arguments.module)
    sys.path[:0] = [HERE, os.path.join(HERE, "..", "clients")]
    suite = unittest.TestLoader().loadTestsFromNames(arguments.tests)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)


if __name__ == "__main__":
    main()
