"""Puts the module into the openssl program, and checks that the program still works.

Once as a preloaded library, first in the order in which the loader looks names up: a single
BoringSSL name let out of the module would then replace OpenSSL's own. And once through libp11's
engine, the way users load it.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

MODULE = os.environ["SECRETMEM_MODULE"]
ENGINE_NAMES = ("pkcs11.so", "libpkcs11.so")


def engine_path():
    version = subprocess.run(
        ["openssl", "version", "-e"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    directory = pathlib.Path(re.fullmatch(r'ENGINESDIR: "(.*)"\n', version)[1])
    for name in ENGINE_NAMES:
        if (directory / name).exists():
            return directory / name
    raise FileNotFoundError(f"no pkcs11 engine in {directory}: install libengine-pkcs11-openssl")


class HostTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)
        self.environment = os.environ | {
            "HOME": temporary.name,
            "XDG_DATA_HOME": str(self.directory / "data"),
            "XDG_CONFIG_HOME": str(self.directory / "config"),
        }

    def openssl(self, *arguments, stdin=b""):
        """Runs openssl in the test's directory and returns its standard output."""
        result = subprocess.run(
            ["openssl", *arguments],
            check=False,
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.assertEqual(result.returncode, 0, (arguments, result.stderr.decode()))
        return result.stdout

    def check_openssl_works(self):
        self.assertEqual(
            self.openssl("dgst", "-sha256", "-r", stdin=b"abc").split()[0],
            b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        )
        (self.directory / "message").write_bytes(b"message")
        for name, algorithm in {
            "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "ed": ["-algorithm", "ed25519"],
        }.items():
            with self.subTest(name):
                self.openssl("genpkey", *algorithm, "-out", "key")
                self.openssl("pkey", "-in", "key", "-pubout", "-out", "public")
                self.openssl(
                    *("pkeyutl", "-sign", "-rawin", "-inkey", "key"),
                    *("-in", "message", "-out", "signature"),
                )
                verified = self.openssl(
                    *("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "public"),
                    *("-in", "message", "-sigfile", "signature"),
                )
                self.assertEqual(verified, b"Signature Verified Successfully\n")
        for side in ("a", "b"):
            self.openssl("genpkey", "-algorithm", "x25519", "-out", side)
            self.openssl("pkey", "-in", side, "-pubout", "-out", side + ".pub")
        secret = self.openssl("pkeyutl", "-derive", "-inkey", "a", "-peerkey", "b.pub")
        self.assertEqual(len(secret), 32)
        self.assertEqual(
            self.openssl("pkeyutl", "-derive", "-inkey", "b", "-peerkey", "a.pub"), secret
        )

    def module_was_loaded(self):
        """Says whether the loader ran the module's initialisers in any of the test's processes."""
        logs = list(self.directory.glob("loader.*"))
        self.assertTrue(logs)
        return any(f"calling init: {MODULE}" in log.read_text("utf-8", "replace") for log in logs)

    def test_preloaded(self):
        preload = os.environ.get("LD_PRELOAD", "").split()
        self.environment["LD_PRELOAD"] = " ".join([*preload, MODULE])
        self.environment["LD_DEBUG"] = "files"
        self.environment["LD_DEBUG_OUTPUT"] = str(self.directory / "loader")
        self.check_openssl_works()
        self.assertTrue(self.module_was_loaded())

    def test_loaded_by_the_engine(self):
        (self.directory / "openssl.cnf").write_text(
            f"""openssl_conf = main
[main]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
dynamic_path = {engine_path()}
MODULE_PATH = {MODULE}
init = 1
[req]
distinguished_name = name
[name]
""",
            "utf-8",
        )
        self.environment["OPENSSL_CONF"] = str(self.directory / "openssl.cnf")
        self.environment["LD_DEBUG"] = "files"
        self.environment["LD_DEBUG_OUTPUT"] = str(self.directory / "loader")
        # The engine looks for a key in every slot, finds none, and says so.
        lookup = subprocess.run(
            ["openssl", "pkey", "-engine", "pkcs11", "-inform", "engine"]
            + ["-in", "pkcs11:object=none", "-noout"],
            check=False,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(lookup.returncode, 1, lookup.stdout)
        self.assertIn('Engine "pkcs11" set.', lookup.stdout)
        # It got as far as reading the slots: there is one, with a token that is not initialised.
        self.assertIn("No matching initialized token was found", lookup.stdout)
        self.assertTrue(self.module_was_loaded(), lookup.stdout)
        self.check_openssl_works()


if __name__ == "__main__":
    unittest.main()
