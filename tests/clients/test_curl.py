"""curl with a client certificate whose key is on the token: docs/clients/curl.md."""

import unittest

from test_openssl import OpenSslTest


class Curl(OpenSslTest):
    PAGE = "curl"
    PROGRAMS = OpenSslTest.PROGRAMS | {"curl": "curl"}

    def setUp(self):
        super().setUp()
        self.follow("Certificates", page="openssl")
        self.follow("A server that asks for certificates")
        self.server = self.serve("Start the server")

    def assert_known(self, page):
        """The server's page says whose certificate it was shown."""
        self.assertRegex(page, r"\nClient certificate\nCertificate:\n")
        self.assertIn("        Subject: CN=localhost\n", page)
        serial = self.run_program(*"openssl x509 -in ec.crt -noout -serial".split()).stdout
        shown = page.split("Serial Number:", 1)[1].split("Signature Algorithm", 1)[0]
        self.assertEqual(
            "".join(shown.split()).replace(":", "").upper(), serial.strip().split("=")[1]
        )

    def test_certificate_in_a_file(self):
        self.assert_known(self.follow("Certificate in a file").stdout)

    def test_certificate_on_the_token(self):
        self.assert_known(self.follow("Certificate on the token").stdout)

    def test_without_a_certificate(self):
        answer = self.run_program(
            *["curl", "--silent", "--show-error", "--cacert", "server.crt"],
            f"https://localhost:{self.port}/",
            status=56,
        )
        self.assertIn("alert certificate required", answer.stderr)
        self.assertEqual(answer.stdout, "")


if __name__ == "__main__":
    unittest.main()
