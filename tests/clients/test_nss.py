"""NSS: its database of modules, keys and certificates by certutil: docs/clients/nss.md."""

import re
import unittest

from harness import MANUFACTURER
from recipe import RecipeTest

MESSAGE = b"a message\n"


class Nss(RecipeTest):
    PAGE = "nss"
    PROGRAMS = {name: "libnss3-tools" for name in ("modutil", "certutil", "cmsutil")}

    def setUp(self):
        super().setUp()
        self.added = self.follow("Add the module")
        self.write("message.txt", MESSAGE)

    def test_module(self):
        shown = self.added.stdout
        self.assertIn('Module "secretmem" added to database.\n', shown)
        self.assertRegex(
            shown,
            rf"\nName: secretmem\nLibrary file: {re.escape(self.env['MODULE'])}\n"
            rf"Manufacturer: {MANUFACTURER} *\n",
        )
        self.assertRegex(shown, r"\n  Status: Enabled\n  Token Name: main {28}\n")

    def test_keys(self):
        self.follow("Keys and certificates")
        listed = self.follow("List keys").stdout
        self.assert_text(
            listed,
            'certutil: Checking token "main" in slot "secretmem-pkcs11 slot 0"\n'
            "< 0> ec       <<ec=[0-9a-f]{40}>>   main:ec\n"
            "< 1> rsa      <<rsa=[0-9a-f]{40}>>   main:rsa\n",
        )

    def test_certificates(self):
        self.follow("Keys and certificates")
        for name in ("ec", "rsa"):
            self.expect(
                ["openssl", "verify", "-check_ss_sig", "-CAfile", f"{name}.crt", f"{name}.crt"],
                f"{name}.crt: OK\n",
            )

    def test_request(self):
        self.follow("Request a certificate")
        self.expect(
            "openssl req -in request.csr -noout -verify -subject".split(),
            "subject=CN = request\n",
            "Certificate request self-signature verify OK\n",
        )
        shown = self.run_program(*"openssl req -in request.csr -noout -text".split()).stdout
        self.assertIn("NIST CURVE: P-384\n", shown)

    def test_signed_message(self):
        self.follow("Keys and certificates")
        self.follow("Sign a message")
        self.expect(
            "openssl cms -verify -inform DER -in message.cms -CAfile ec.crt -purpose any".split(),
            MESSAGE.decode(),
            "CMS Verification successful\n",
        )

    def test_encrypted_message(self):
        self.follow("Keys and certificates")
        self.follow("Decrypt a message")
        self.assertEqual(self.read("decrypted.txt").replace(b"\r", b""), MESSAGE)


if __name__ == "__main__":
    unittest.main()
