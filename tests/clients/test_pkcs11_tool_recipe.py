"""pkcs11-tool through the whole life of every type of key: docs/clients/pkcs11-tool.md."""

import hmac
import re
import unittest

from recipe import CURVES_TOKEN, RecipeTest

MESSAGE = b"a message\n"
PSS = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
# DER of a SubjectPublicKeyInfo for P-384 (RFC 5480) up to the 97 bytes of the point.
P521_SPKI_PREFIX = bytes.fromhex("30819b301006072a8648ce3d020106052b8104002303818600")
P384_SPKI_PREFIX = bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200")
# DER of a SubjectPublicKeyInfo for Ed25519 (RFC 8410, section 4) up to the 32 bytes of the key.
ED25519_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")


class Pkcs11ToolRecipe(RecipeTest):
    PAGE = "pkcs11-tool"

    def setUp(self):
        super().setUp()
        self.follow(CURVES_TOKEN, page="README")
        self.follow("pkcs11-tool")
        self.made = self.follow("Keys")
        self.write("message.txt", MESSAGE)

    def test_keys(self):
        self.assertEqual(
            re.findall(
                r"^(\w+ Key Object; .*?) *$\n  (?:.*\n  )*?label: +(.*)$", self.made.stdout, re.M
            ),
            [
                ("Private Key Object; RSA", "rsa"),
                ("Public Key Object; RSA 2048 bits", "rsa"),
                ("Private Key Object; EC", "p256"),
                ("Public Key Object; EC  EC_POINT 256 bits", "p256"),
                ("Private Key Object; EC", "p384"),
                ("Public Key Object; EC  EC_POINT 384 bits", "p384"),
                ("Private Key Object; EC", "p521"),
                ("Public Key Object; EC  EC_POINT 528 bits", "p521"),
                ("Private Key Object; EC_EDWARDS", "ed25519"),
                ("Public Key Object; EC_EDWARDS  EC_POINT 255 bits", "ed25519"),
                ("Private Key Object; EC_MONTGOMERY", "x25519"),
                ("Public Key Object; EC_MONTGOMERY  EC_POINT 255 bits", "x25519"),
                ("Secret Key Object; AES length 32", "aes"),
                ("Secret Key Object; Generic secret length 32", "generic"),
            ],
            f"\n{self.made}",
        )

    def point(self, key_type, bits, head):
        """The point printed when a key was made, without the head of its OCTET STRING."""
        found = re.search(
            rf"; {key_type}  EC_POINT {bits} bits\n  EC_POINT:   {head}(\w+)\n", self.made.stdout
        )
        return bytes.fromhex(found.group(1))

    def test_sign_and_verify(self):
        self.follow("Public keys")
        answer = self.follow("Sign and verify")
        self.assertEqual(answer.stdout, "Signature is valid\n" * 7)
        for digest in ("sha256", "sha384", "sha512"):
            self.verified("rsa.pub", f"{digest.upper()}-RSA-PKCS.sig", digest=digest)
        self.verified("rsa.pub", "SHA256-RSA-PKCS-PSS.sig", *PSS)
        self.write("p384.der", P384_SPKI_PREFIX + self.point("EC", 384, "0461"))
        self.write("p521.der", P521_SPKI_PREFIX + self.point("EC", 528, "048185"))
        for key in ("p384", "p521"):
            self.run_program(
                *f"openssl pkey -pubin -inform DER -in {key}.der -out {key}.pub".split()
            )
        for key in ("p256", "p384", "p521"):
            self.verified(f"{key}.pub", f"{key}.sig")

    def test_a_changed_message_is_refused(self):
        self.follow("Sign and verify")
        self.write("message.txt", MESSAGE + b"x")
        for key, mechanism, signature, more in (
            ("01", "SHA256-RSA-PKCS", "SHA256-RSA-PKCS.sig", []),
            ("02", "ECDSA-SHA256", "p256.sig", ["--signature-format", "openssl"]),
        ):
            self.expect(
                self.main("--verify", "--id", key, "-m", mechanism, *more)
                + ["-i", "message.txt", "--signature-file", signature],
                "Invalid signature\n",
                f"Using signature algorithm {mechanism}\n",
            )

    def test_ed25519(self):
        answer = self.follow("Sign with Ed25519")
        self.assertEqual(answer.stdout, "Signature is valid\n")
        self.write("ed25519.der", ED25519_SPKI_PREFIX + self.point("EC_EDWARDS", 255, "0420"))
        self.expect(
            "openssl pkeyutl -verify -pubin -keyform DER -inkey ed25519.der -rawin"
            " -sigfile ed25519.sig -in message.txt".split(),
            "Signature Verified Successfully\n",
        )

    def test_authenticate(self):
        self.follow("Authenticate")
        self.assertEqual(len(self.read("message.hmac")), 32)
        # The same with a key that may be seen.
        made = self.run_program(
            *self.main("--keygen", "--key-type", "GENERIC:32", "--id", "20", "--extractable")
        ).stdout
        value = bytes.fromhex(re.search(r"\n  VALUE: +([0-9a-f]{64})\n", made).group(1))
        self.use("--sign", "20", "SHA256-HMAC", "tag.bin")
        self.assertEqual(self.read("tag.bin"), hmac.digest(value, MESSAGE, "sha256"))

    def main(self, *arguments):
        return ["pkcs11-tool", *self.env["MAIN"].split(), *arguments]

    def use(self, action, key_id, mechanism, out, *more):
        """Has a key of the token do something with the message."""
        self.run_program(
            *self.main(action, "--id", key_id, "-m", mechanism, "-i", "message.txt", "-o", out),
            *more,
        )

    def test_import(self):
        self.follow("Import")
        self.use("--sign", "11", "SHA256-RSA-PKCS", "rsa.sig")
        self.use("--sign", "12", "ECDSA-SHA256", "ec.sig", "--signature-format", "openssl")
        for name in ("rsa", "ec"):
            self.run_program(
                *f"openssl pkey -inform DER -in their-{name}.der -pubout -out {name}.pub".split()
            )
            self.verified(f"{name}.pub", f"{name}.sig")
        iv = "000102030405060708090a0b0c0d0e0f"
        self.use("--encrypt", "13", "AES-CBC-PAD", "message.aes", "--iv", iv)
        key = self.read("their-aes.bin").hex()
        self.expect(
            f"openssl enc -d -aes-256-cbc -K {key} -iv {iv} -in message.aes".split(),
            MESSAGE.decode(),
        )

    def test_encrypt_and_decrypt(self):
        self.follow("Public keys")
        self.follow("Encrypt and decrypt")
        self.assertEqual(len(self.read("message.aes")), 16)
        self.assertEqual(self.read("aes.txt"), MESSAGE)
        self.assertEqual(self.read("oaep.txt"), MESSAGE)

    def test_agreement(self):
        self.follow("Public keys")
        self.software_ec_key()
        self.run_program(*"openssl pkey -pubin -in peer.pub -outform DER -out peer.der".split())
        self.follow("Agree on a secret")
        self.run_program(
            *"openssl pkeyutl -derive -inkey peer.pem -peerkey p256.pub -out theirs.bin".split()
        )
        self.assertEqual(len(self.read("secret.bin")), 32)
        self.assertEqual(self.read("secret.bin"), self.read("theirs.bin"))

    def test_wrap_and_unwrap(self):
        self.follow("Wrap and unwrap")
        self.assertEqual(len(self.read("wrapped.bin")), 40)
        # The key that came back is the one that went: both authenticate alike.
        tags = set()
        for key_id in ("08", "09"):
            self.use("--sign", key_id, "SHA256-HMAC", "tag.bin")
            tags.add(self.read("tag.bin"))
        self.assertEqual([len(tag) for tag in tags], [32])

    def test_its_own_tests(self):
        answer = self.follow("Its own tests")
        self.assertTrue(answer.stdout.endswith("==> OK\n"), f"\n{answer}")
        self.assertIn("\nNo errors\n", answer.stdout)
        # It takes a key that signs in one part only for worth a warning.
        in_one_part = (
            "warning: PKCS11 function C_SignUpdate failed: "
            "rv = CKR_FUNCTION_NOT_SUPPORTED (0x54)\n"
        )
        self.assertEqual(answer.stderr.count(in_one_part), 1, f"\n{answer}")
        self.assertNotRegex(
            answer.stdout.replace("\nNo errors\n", "") + answer.stderr.replace(in_one_part, ""),
            "(?i)err(or|:)|fail|warning",
        )
        for tested in (
            "    RSA-X-509: OK\n    RSA-PKCS: OK\n    SHA1-RSA-PKCS: OK\n    SHA256-RSA-PKCS: OK\n",
            "    RSA-X-509: OK\n    RSA-PKCS: OK\n    SHA1-RSA-PKCS: OK\n  testing key 1",
            "    RSA-PKCS: OK\n    RSA-X-509: OK\n    RSA-PKCS-OAEP: mgf not set",
        ):
            self.assertIn(tested, answer.stdout, f"\n{answer}")


if __name__ == "__main__":
    unittest.main()
