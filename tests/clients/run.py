#!/usr/bin/python3
"""Runs client tests, as the user who calls or as an ordinary user.

run.py --module PATH --tool PATH [--ordinary-user] [--ml-kem] [--xwing] [TEST...]

TEST is a unittest name such as test_pkcs11_tool.Slots; without one, everything runs. With
--ordinary-user the tests run under the default memory-lock limit of 8 MiB, and a caller who is root
becomes the user nobody first: no capability, no supplementary group, nothing of root's but copies
of the module, of the tool and of these files that the user can read.
"""

import argparse
import os
import pwd
import resource
import shutil
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
RECIPES = os.path.join(HERE, "..", "..", "docs", "clients")
MEMORY_LOCK_LIMIT = 8 << 20  # bytes; what Linux 5.16 and later give every user


def become_ordinary():
    """Takes the limit and, from root, the identity of an ordinary user. There is no way back."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    limit = MEMORY_LOCK_LIMIT
    if hard != resource.RLIM_INFINITY and os.geteuid() != 0:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
        os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    # A capability that stayed would exempt the tests from the very limit they are to meet.
    assert int(fields["CapEff"], 16) == 0 and int(fields["CapPrm"], 16) == 0, fields["CapEff"]
    assert os.geteuid() != 0
    assert resource.getrlimit(resource.RLIMIT_MEMLOCK) == (limit, limit)


def run_tests(directory, module, tool, names):
    """Runs the named tests from a directory; returns whether all passed and at least one ran."""
    os.environ["SECRETMEM_TEST_MODULE"] = module
    os.environ["SECRETMEM_TEST_TOOL"] = tool
    sys.path.insert(0, directory)
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(names) if names else loader.discover(directory)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    return result.wasSuccessful() and result.testsRun > 0


def run_as_ordinary_user(module, tool, names):
    stage = tempfile.mkdtemp(prefix="secretmem-clients-")
    try:
        tests = os.path.join(stage, "tests")
        shutil.copytree(HERE, tests, ignore=shutil.ignore_patterns("__pycache__"))
        staged = [shutil.copy(file, stage) for file in (module, tool)]
        recipes = shutil.copytree(RECIPES, os.path.join(stage, "recipes"))
        scratch = os.path.join(stage, "scratch")
        os.mkdir(scratch)
        for path, folders, files in os.walk(stage):
            for name in folders + files:
                os.chmod(os.path.join(path, name), 0o755)
        os.chmod(stage, 0o755)
        os.chmod(scratch, 0o1777)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            passed = False
            try:
                become_ordinary()
                os.environ["TMPDIR"] = scratch
                os.environ["SECRETMEM_TEST_RECIPES"] = recipes
                os.chdir(scratch)
                passed = run_tests(tests, *staged, names)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0 if passed else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(stage)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", required=True, help="the PKCS#11 module to test")
    parser.add_argument("--tool", required=True, help="the command line tool, for its audit")
    parser.add_argument(
        "--ordinary-user", action="store_true", help="run without root's rights and exemptions"
    )
    parser.add_argument("--ml-kem", action="store_true", help="the module has ML-KEM")
    parser.add_argument("--xwing", action="store_true", help="the module has X-Wing")
    parser.add_argument("tests", nargs="*", metavar="TEST")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    # A child has it too.
    os.environ["SECRETMEM_TEST_ML_KEM"] = "1" if arguments.ml_kem else ""
    os.environ["SECRETMEM_TEST_XWING"] = "1" if arguments.xwing else ""
    files = [os.path.realpath(file) for file in (arguments.module, arguments.tool)]
    for file in files:
        if not os.path.isfile(file):
            parser.error(f"no file at {file}")
    if arguments.ordinary_user:
        passed = run_as_ordinary_user(*files, arguments.tests)
    else:
        passed = run_tests(HERE, *files, arguments.tests)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
