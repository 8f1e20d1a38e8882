#!/usr/bin/python3
"""formats_test.py --module FILE [--make]: opens token files of every format; --make adds today's."""

import argparse
import glob
import json
import os
import pathlib
import re
import shutil
import sqlite3
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness import LABEL, PIN, SO_PIN, ClientTest  # noqa: E402

PLAIN = bytes(range(48))
AES = ["--mechanism", "AES-CBC", "--iv", "00112233445566778899aabbccddeeff"]
# Objects by their ID: what made them.
PAIRS = {"01": "EC:curve25519", "02": "EC:prime256v1", "03": "rsa:2048", "04": "EC:edwards25519"}


def version():
    text = (ROOT / "pkcs11/store_schema.h").read_text("utf-8")
    return int(re.search(r"kFormatVersion = (\d+);", text).group(1))


class FormatCase(ClientTest):
    def open(self, number):
        """Puts a format's file where the module looks for tokens; returns the file and what is known."""
        known = json.loads((HERE / f"format-{number}.json").read_text("utf-8"))
        os.mkdir(self.tokens, 0o700)
        path = os.path.join(self.tokens, known["serial"] + ".token")
        shutil.copy(HERE / f"format-{number}.token", path)
        os.chmod(path, 0o600)
        return path, known

    def listed(self, logged_in):
        """What a client sees of the kinds of objects that users make."""
        found = []
        for kind in ("privkey", "pubkey", "secrkey", "cert", "data"):
            arguments = ["--list-objects", "--type", kind]
            answer = self.run_program(
                *(self.logged_in(*arguments) if logged_in else self.on_token(*arguments))
            )
            # The number of a data object is its handle's.
            shown = re.sub(r"^Data object \d+$", "Data object", answer.stdout, flags=re.M)
            found += sorted(re.split(r"^(?=\S)", shown, flags=re.M)[1:])
        return found

    def compute(self):
        """What the token's keys compute: everything here has one right answer only."""
        self.write("plain", PLAIN)
        self.run_program(
            *self.logged_in("--encrypt", *AES, "--id", "05", "--input-file", "plain"),
            *("--output-file", "secret"),
        )
        for key_id, mechanism in (("03", "SHA256-RSA-PKCS"), ("04", "EDDSA")):
            self.run_program(
                *self.logged_in("--sign", "--mechanism", mechanism, "--id", key_id),
                *("--input-file", "plain", "--output-file", f"signature-{key_id}"),
            )
        self.run_program(
            *self.on_token("--read-object", "--type", "cert", "--id", "06"), "--output-file", "cert"
        )
        self.run_program(
            *self.logged_in("--read-object", "--type", "data", "--label", "note"),
            *("--output-file", "note"),
        )
        names = ("secret", "signature-03", "signature-04", "cert", "note")
        return {name: self.read(name).hex() for name in names}


class Formats(FormatCase):
    def test_there_is_a_file_of_every_format(self):
        numbers = sorted(int(re.search(r"(\d+)\.token$", p).group(1)) for p in FILES)
        self.assertEqual(numbers, list(range(1, version() + 1)))

    def test_every_format_opens_and_computes_the_same(self):
        for number in range(1, version() + 1):
            with self.subTest(format=number):
                shutil.rmtree(self.tokens, ignore_errors=True)
                path, known = self.open(number)
                self.assertEqual(self.listed(False), known["listed"])
                self.assertEqual(self.listed(True), known["listed_logged_in"])
                self.assertEqual(self.compute(), known["computed"])
                self.sign_by_p256()
                # And it goes on from there: as today's format, with room for more.
                self.make_x25519(key_id="0a", label="later")
                self.assertEqual(len(self.listed(True)), len(known["listed_logged_in"]) + 2)
                with sqlite3.connect(path) as database:
                    (now,) = database.execute("PRAGMA user_version").fetchone()
                database.close()
                self.assertEqual(now, version())

    def test_both_pins_are_those_that_were_set(self):
        for number in range(1, version() + 1):
            with self.subTest(format=number):
                shutil.rmtree(self.tokens, ignore_errors=True)
                self.open(number)
                self.run_program(*self.logged_in("--list-objects", pin="not-" + PIN), status=1)
                self.run_program(
                    *self.on_token("--login", "--login-type", "so", "--so-pin", SO_PIN),
                    *("--init-pin", "--new-pin", "a-new-pin"),
                )
                self.run_program(*self.logged_in("--list-objects", pin="a-new-pin"))

    def sign_by_p256(self):
        self.write("digest", PLAIN[:32])
        self.run_program(
            *self.logged_in("--sign", "--mechanism", "ECDSA", "--id", "02", "--input-file", "digest"),
            *("--signature-format", "openssl", "--output-file", "ecdsa"),
        )
        self.run_program(
            *self.on_token("--read-object", "--type", "pubkey", "--id", "02", "-o", "pub.der")
        )
        self.run_program(
            *"openssl pkeyutl -verify -pubin -keyform DER -inkey pub.der -in digest".split(),
            *("-sigfile", "ecdsa"),
        )


class Make(FormatCase):
    def test_make(self):
        number = version()
        self.make_token()
        for key_id, kind in PAIRS.items():
            self.run_program(
                *self.logged_in("--keypairgen", "--key-type", kind, "--id", key_id, "--label", kind)
            )
        self.run_program(
            *self.logged_in("--keygen", "--key-type", "AES:32", "--id", "05", "--private"),
            *("--label", "aes"),
        )
        self.run_program(
            *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem "
            "-subj /CN=format -days 36500 -outform DER -out c.der".split()
        )
        self.run_program(
            *self.logged_in("--write-object", "c.der", "--type", "cert", "--id", "06"),
            *("--label", "certificate"),
        )
        self.write("note.txt", b"a private note")
        self.run_program(
            *self.logged_in("--write-object", "note.txt", "--type", "data", "--private"),
            *("--label", "note"),
        )
        # A key that works without a login: sealed under the store's own key.
        self.run_program(
            *self.on_token("--login", "--pin", PIN, "--keygen", "--key-type", "AES:16"),
            *("--id", "07", "--label", "open"),
        )
        (path,) = glob.glob(f"{self.tokens}/*.token")
        known = {
            "serial": pathlib.Path(path).stem,
            "listed": self.listed(False),
            "listed_logged_in": self.listed(True),
            "computed": self.compute(),
        }
        shutil.copy(path, HERE / f"format-{number}.token")
        with open(HERE / f"format-{number}.json", "w", encoding="utf-8") as f:
            json.dump(known, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", required=True)
    parser.add_argument("--make", action="store_true")
    parsed, rest = parser.parse_known_args()
    os.environ["SECRETMEM_TEST_MODULE"] = os.path.realpath(parsed.module)
    FILES = glob.glob(str(HERE / "format-*.token"))
    if parsed.make and str(HERE / f"format-{version()}.token") in FILES:
        sys.exit(f"format {version()} is there, and is not made again")
    unittest.main(
        argv=[sys.argv[0], "Make" if parsed.make else "Formats", *rest], verbosity=2
    )
