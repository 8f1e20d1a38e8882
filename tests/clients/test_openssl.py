"""The openssl program with libp11's engine: docs/clients/openssl.md."""

import unittest

from recipe import RecipeTest

ENGINE_SET = 'Engine "pkcs11" set.\n'
MESSAGE = b"a message\n"


class OpenSslTest(RecipeTest):
    """A recipe that goes through OpenSSL's engine: it is configured, and there are two keys."""

    PROGRAMS = {"/usr/lib/*/engines-3/pkcs11.so": "libengine-pkcs11-openssl"}

    def setUp(self):
        super().setUp()
        self.follow("Configuration", page="openssl")
        self.follow("Keys", page="openssl")
        self.write("message.txt", MESSAGE)


class OpenSsl(OpenSslTest):
    PAGE = "openssl"

    def test_public_keys(self):
        self.follow("Public keys")
        shown = self.run_program(*"openssl pkey -pubin -in ec.pub -noout -text".split()).stdout
        self.assertRegex(shown, r"(?s)\APublic-Key: \(256 bit\)\n.*NIST CURVE: P-256\n\Z")
        shown = self.run_program(*"openssl pkey -pubin -in rsa.pub -noout -text".split()).stdout
        self.assertRegex(shown, r"(?s)\APublic-Key: \(2048 bit\)\n.*Exponent: 65537 .*\n\Z")

    def test_sign_and_verify(self):
        self.follow("Public keys")
        self.assertEqual(self.follow("Sign and verify").stdout, "Verified OK\n" * 2)
        self.verified("ec.pub", "ec.sig")
        self.verified("rsa.pub", "rsa.sig")
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
        self.verified("rsa.pub", "pss.sig", *pss, digest="sha384")

    def test_a_changed_message_is_refused(self):
        self.follow("Sign and verify")
        self.write("message.txt", MESSAGE + b"x")
        for key in ("ec", "rsa"):
            self.expect(
                ["openssl", "dgst", "-sha256", "-engine", "pkcs11", "-keyform", "engine"]
                + ["-verify", f"pkcs11:token=main;object={key};type=public"]
                + ["-signature", f"{key}.sig", "message.txt"],
                "Verification failure\n",
                ENGINE_SET + "<<errors=([0-9A-F]+:error:[^\n]*\n)*>>",
                status=1,
            )

    def test_agreement(self):
        self.follow("Public keys")
        self.software_ec_key()
        self.follow("Agree on a secret")
        self.run_program(
            *"openssl pkeyutl -derive -inkey peer.pem -peerkey ec.pub -out theirs.bin".split()
        )
        self.assertEqual(len(self.read("secret.bin")), 32)
        self.assertEqual(self.read("secret.bin"), self.read("theirs.bin"))

    def test_decrypt(self):
        self.follow("Public keys")
        self.follow("Decrypt")
        self.assertEqual(self.read("decrypted.txt"), MESSAGE)

    def test_messages(self):
        self.follow("Certificates")
        self.follow("Signed and encrypted messages")
        self.assertEqual(self.read("opened.txt").replace(b"\r", b""), MESSAGE)
        self.expect(
            "openssl cms -verify -in signed.cms -CAfile ec.crt -purpose any -out seen.txt".split(),
            "",
            "CMS Verification successful\n",
        )
        self.assertEqual(self.read("seen.txt").replace(b"\r", b""), MESSAGE)

    def test_certificates(self):
        self.follow("Certificates")
        for name in ("ec", "rsa"):
            self.expect(
                ["openssl", "verify", "-check_ss_sig", "-CAfile", f"{name}.crt", f"{name}.crt"],
                f"{name}.crt: OK\n",
            )

    def test_tls(self):
        self.follow("Certificates")
        server = self.serve("TLS server")
        seen = self.follow("TLS client").stderr
        self.assertIn("Protocol version: TLSv1.3\n", seen)
        self.assertIn("Signature type: ECDSA\nVerification: OK\n", seen)
        self.assertIsNone(server.poll())

    def test_a_wrong_pin_is_refused(self):
        self.env["EC_KEY"] = self.env["EC_KEY"].replace(self.env["PIN"], "not-the-pin")
        answer = self.follow("Sign and verify", status=1)
        self.assertIn("Login failed\n", answer.stderr)


if __name__ == "__main__":
    unittest.main()
