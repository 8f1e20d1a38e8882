"""secretmem-pkcs11 token import, from a real SoftHSM2 token, as docs/from-softhsm2.md has it."""

import os
import re
import unittest

from harness import PIN, SO_PIN, module_path
from tool_case import ToolTest, tool_path

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
OLD_PIN = "old-1234"
PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "from-softhsm2.md")


class Import(ToolTest):
    def setUp(self):
        super().setUp()
        if not os.path.exists(SOFTHSM):
            self.fail(f"there is no {SOFTHSM}: install softhsm2, or all by conf/setup")
        os.mkdir(self.path("softhsm"))
        self.env["SOFTHSM2_CONF"] = self.write(
            "softhsm2.conf", f"directories.tokendir = {self.path('softhsm')}\n".encode()
        )
        self.write("old.pin", OLD_PIN.encode() + b"\n")
        self.env.update(MODULE=module_path(), PIN=PIN)
        self.env["PATH"] = f"{os.path.dirname(tool_path())}:{self.env['PATH']}"
        old = ["pkcs11-tool", "--module", SOFTHSM]
        self.run_program(
            *old, "--init-token", "--slot-index", "0", "--label", "old", "--so-pin", SO_PIN
        )
        self.old = [*old, "--token-label", "old", "--login"]
        self.run_program(
            *self.old, "--login-type", "so", "--so-pin", SO_PIN, "--init-pin", "--new-pin", OLD_PIN
        )
        self.old += ["--pin", OLD_PIN]

    def follow_the_page(self, status):
        with open(PAGE, encoding="utf-8") as f:
            section = f.read().split("## Bringing keys over")[1]
        first, second = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
        bash = ["bash", "-euo", "pipefail", "-c"]
        said = self.run_program(*bash, first, status=status).stdout
        self.run_program(*bash, second)
        return said

    def new(self, *arguments):
        return self.run_program(
            *self.tool("--token-label", "main", "--login", "--pin", PIN, *arguments)
        ).stdout

    def families(self):
        """Whether this build takes private keys of every family, as PKCS #8."""
        listed = self.run_program(*self.tool("--list-mechanisms")).stdout
        return re.search(r"^  RSA-PKCS-OAEP,.* unwrap", listed, re.M) is not None

    def test_secret_keys_certificates_and_data(self):
        self.run_program(
            *self.old, "--keygen", "--key-type", "AES:32", "--label", "aes", "--id", "0a",
            "--extractable",
        )
        self.run_program(*self.old, "--keygen", "--key-type", "AES:16", "--label", "kept", "--id", "0b")
        self.write("data", b"some data")
        self.run_program(
            *self.old, "--write-object", "data", "--type", "data", "--label", "note",
        )
        self.run_program(
            *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem "
            "-subj /CN=a -outform DER -out c.der".split()
        )
        self.run_program(
            *self.old, "--write-object", "c.der", "--type", "cert", "--label", "cert", "--id", "0c"
        )
        said = self.follow_the_page(status=1)
        self.assertEqual(
            sorted(line for line in said.splitlines() if line.startswith("  ")),
            [
                '  ! secret key          "kept" stayed behind: it is not extractable',
                '  + certificate         "cert"',
                '  + data object         "note"',
                '  + secret key          "aes"',
            ],
        )
        self.assertEqual(
            said.splitlines()[-1],
            'Brought 3 objects over to "main"; 1 object stayed behind.',
        )
        self.new("--read-object", "--type", "cert", "--id", "0c", "--output-file", "back.der")
        self.assertEqual(self.read("back.der"), self.read("c.der"))
        # The two tokens' keys are one: what the one encrypts the other decrypts.
        self.write("plain", bytes(range(32)))
        aes = ["--mechanism", "AES-CBC", "--iv", "00" * 16, "--id", "0a"]
        self.new("--encrypt", *aes, "--input-file", "plain", "--output-file", "secret")
        self.run_program(
            *self.old, "--decrypt", *aes, "--input-file", "secret", "--output-file", "again"
        )
        self.assertEqual(self.read("again"), self.read("plain"))
        self.assertNotEqual(self.read("secret"), self.read("plain"))

        # Once more: nothing comes twice.
        again = self.run_program(
            *self.command("token", "import", "main", "--pin-file", "user.pin"),
            *("--from-module", SOFTHSM, "--from-token", "old", "--from-pin-file", "old.pin"),
            status=1,
        ).stdout
        self.assertEqual(
            again.splitlines()[-1], 'Brought 0 objects over to "main"; 4 objects stayed behind.'
        )
        self.assertIn('"aes" stayed behind: there is one of that label and ID', again)

    def test_key_pairs(self):
        if not self.families():
            self.skipTest("this build unwraps X25519 private keys only")
        for number, kind in (("01", "rsa:2048"), ("02", "EC:prime256v1"), ("03", "EC:secp384r1")):
            self.run_program(
                *self.old, "--keypairgen", "--key-type", kind, "--label", kind.replace(":", "-"),
                "--id", number, "--usage-sign", "--extractable",
            )
        said = self.follow_the_page(status=0)
        self.assertEqual(said.splitlines()[-1], 'Brought 6 objects over to "main".')
        self.write("digest", bytes(range(32)))
        for number, mechanism in (("01", "SHA256-RSA-PKCS"), ("02", "ECDSA"), ("03", "ECDSA")):
            with self.subTest(number):
                use = ["--mechanism", mechanism, "--id", number, "--input-file", "digest"]
                self.new("--sign", *use, "--output-file", "signature")
                checked = self.run_program(
                    *self.old, "--verify", *use, "--signature-file", "signature"
                )
                self.assertIn("Signature is valid", checked.stdout + checked.stderr)

    def test_a_wrong_pin(self):
        self.init("main")
        self.write("old.pin", b"wrong-pin\n")
        self.expect_tool(
            ["token", "import", "main", "--pin-file", "user.pin", "--from-module", SOFTHSM]
            + ["--from-token", "old", "--from-pin-file", "old.pin"],
            "",
            'secretmem-pkcs11: logging in to "old": the PIN is wrong (CKR_PIN_INCORRECT)\n'
            "  -> Try again, but not often: after pin.max_failures wrong ones in a row it is locked. "
            "Where it is lost the security officer sets another: pkcs11-tool --init-pin --login "
            "--login-type so.\n",
            status=4,
        )

    def test_another_module_that_does_not_start(self):
        self.init("main")
        self.env["SOFTHSM2_CONF"] = "/nowhere"
        self.expect_tool(
            ["token", "import", "main", "--pin-file", "user.pin", "--from-module", SOFTHSM]
            + ["--from-token", "old", "--from-pin-file", "old.pin"],
            "",
            f"<<its=(?s:.*)>>secretmem-pkcs11: initialising {SOFTHSM}: CKR_GENERAL_ERROR\n"
            "  -> Its own documentation says what it needs, such as a configuration that this user "
            "can read.\n",
            status=1,
        )

    def test_no_such_token(self):
        self.init("main")
        self.expect_tool(
            ["token", "import", "main", "--pin-file", "user.pin", "--from-module", SOFTHSM]
            + ["--from-token", "other", "--from-pin-file", "old.pin"],
            "",
            'secretmem-pkcs11: there is no token "other"\n  -> There are: "old".\n',
            status=3,
        )


if __name__ == "__main__":
    unittest.main()
