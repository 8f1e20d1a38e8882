"""GnuTLS: p11tool, certtool, gnutls-serv and gnutls-cli: docs/clients/gnutls.md."""

import unittest

from recipe import CURVES_TOKEN, RecipeTest

SIGNED = "Signing using {}... ok\n"
CHECKED = (
    "Verifying against private key parameters... ok\n"
    "Verifying against public key in the token... ok\n"
)


class GnuTls(RecipeTest):
    PAGE = "gnutls"
    PROGRAMS = {"p11tool": "gnutls-bin", "certtool": "gnutls-bin", "gnutls-serv": "gnutls-bin"}

    def setUp(self):
        super().setUp()
        self.follow(CURVES_TOKEN, page="README")
        self.follow("GnuTLS")
        self.follow("Keys")

    def test_certificates(self):
        self.follow("Certificates")
        for token, name in (("main", "ecdsa"), ("main", "rsa"), ("curves", "ed25519")):
            self.expect(
                ["openssl", "verify", "-check_ss_sig", "-CAfile", f"{name}.crt", f"{name}.crt"],
                f"{name}.crt: OK\n",
            )
            stored = self.run_program(
                *["p11tool", "--batch", "--provider", self.env["MODULE"], "--export"],
                f"pkcs11:token={token};object={name};type=cert",
            ).stdout
            with open(self.path(f"{name}.crt"), encoding="ascii") as f:
                self.assertEqual(stored.strip(), f.read().strip())

    def test_sign(self):
        answer = self.follow("Try a key")
        self.assertEqual(
            answer.stdout + answer.stderr,
            SIGNED.format("ECDSA-SHA256") + CHECKED + SIGNED.format("RSA-SHA256") + CHECKED,
        )

    def serves(self, title, certificate, signature):
        self.follow("Certificates")
        server = self.serve(title)
        self.env["CERTIFICATE"] = certificate
        seen = self.follow("TLS client").stdout
        self.assertIn("- Status: The certificate is trusted. \n", seen)
        self.assertIn(f"- Description: (TLS1.3-X.509)-(ECDHE-SECP256R1)-({signature})-", seen)
        self.assertIn("- Handshake was completed\n", seen)
        self.assertIsNone(server.poll())

    def test_tls_with_ecdsa(self):
        self.serves("TLS server with ECDSA", "ecdsa.crt", "ECDSA-SECP256R1-SHA256")

    def test_tls_with_rsa(self):
        self.serves("TLS server with RSA", "rsa.crt", "RSA-PSS-RSAE-SHA256")

    def test_tls_with_ed25519(self):
        self.serves("TLS server with Ed25519", "ed25519.crt", "EdDSA-Ed25519")


if __name__ == "__main__":
    unittest.main()
