"""p11tool of GnuTLS: what it lists and shows."""

import unittest

import mechanisms
from harness import LABEL, MANUFACTURER, MODEL, PIN, ClientTest, module_path

TOKEN_URL = (
    f"pkcs11:model={MODEL};manufacturer={MANUFACTURER};serial=<<serial=[0-9A-Za-z]+>>;token={LABEL}"
)


def url(rest):
    return "\tURL: " + TOKEN_URL + rest + "\n"


class P11tool(ClientTest):
    def setUp(self):
        super().setUp()
        self.make_token()

    def p11tool(self, *arguments):
        return ["p11tool", "--batch", "--provider", module_path(), *arguments]

    def assert_objects(self, answer, expected):
        """Compares the objects listed, whole, in any order: a list of (rest of URL, lines)."""
        blocks = [b.split("\n", 1)[1] for b in answer.stdout.split("\n\n") if b]
        self.assertEqual(len(blocks), len(expected), f"\n{answer}")
        for block in blocks:
            matching = [e for e in expected if e[0] + "\n" in block + "\n"]
            self.assertEqual(len(matching), 1, f"\n{answer}")
            self.assert_text(block + "\n", url(matching[0][0]) + matching[0][1], f"\n{answer}")

    PRIVATE = (
        ";id=%01;object=agreement;type=private",
        "\tType: Private key\n\tLabel: agreement\n"
        "\tFlags: CKA_PRIVATE; CKA_NEVER_EXTRACTABLE; CKA_SENSITIVE; \n\tID: 01\n",
    )
    # GnuTLS 3.7 has no word for profile objects.
    PROFILES = [
        (
            f";object={name.replace(' ', '%20')}",
            f"\tType: Unknown\n\tLabel: {name}\n\tID: \n",
        )
        for name in ("Baseline Provider", "Extended Provider", "Authentication Token")
    ]
    CERTIFICATE = (
        ";id=%07;object=certificate;type=cert",
        "\tType: X.509 Certificate (EC/ECDSA-SECP256R1)\n\tExpires: <<expires=[A-Z][^\n]+>>\n"
        "\tLabel: certificate\n\tID: 07\n",
    )

    def make_certificate(self):
        self.run_program(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "key.pem",
            "-outform",
            "DER",
            "-out",
            "certificate.der",
            "-subj",
            "/CN=client test",
            "-days",
            "30",
        )
        self.run_program(
            *self.logged_in(
                "-w", "certificate.der", "--type", "cert", "--id", "07", "--label", "certificate"
            )
        )

    def test_list_tokens(self):
        self.expect(
            self.p11tool("--list-tokens"),
            "Token 0:\n"
            + url("")
            + f"\tLabel: {LABEL}\n\tType: Generic token\n\tFlags: RNG, Requires login\n"
            f"\tManufacturer: {MANUFACTURER}\n\tModel: {MODEL}\n\tSerial: <<serial>>\n"
            "\tModule: \n\n\n",
        )

    def test_list_all_of_an_empty_token(self):
        answer = self.run_program(*self.p11tool("--list-all", f"pkcs11:token={LABEL}"))
        self.assert_objects(answer, self.PROFILES)

    def test_list_all(self):
        self.make_x25519()
        self.make_certificate()
        answer = self.run_program(*self.p11tool("--list-all", f"pkcs11:token={LABEL}"))
        # GnuTLS 3.7 passes over public keys of a type it does not know.
        self.assert_objects(answer, [*self.PROFILES, self.CERTIFICATE])
        answer = self.run_program(
            *self.p11tool("--list-all", "--login", "--set-pin", PIN, f"pkcs11:token={LABEL}")
        )
        self.assert_objects(answer, [*self.PROFILES, self.PRIVATE, self.CERTIFICATE])

    def test_info(self):
        self.make_x25519()
        answer = self.run_program(
            *self.p11tool(
                "--info",
                "--login",
                "--set-pin",
                PIN,
                f"pkcs11:token={LABEL};object=agreement;type=private",
            )
        )
        self.assert_objects(answer, [self.PRIVATE])

    def test_export_certificate(self):
        self.make_certificate()
        answer = self.run_program(
            *self.p11tool(
                "--export", "--outder", f"pkcs11:token={LABEL};object=certificate;type=cert"
            ),
            text=False,
        )
        self.assertEqual(answer.stdout, self.read("certificate.der"))

    def test_list_mechanisms(self):
        self.expect(
            self.p11tool("--list-mechanisms", f"pkcs11:token={LABEL}"),
            mechanisms.p11tool_list(),
        )


if __name__ == "__main__":
    unittest.main()
