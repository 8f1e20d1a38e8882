"""secretmem-pkcs11 doctor: each mishap it knows is brought about, and found."""

import os
import unittest

from harness import LABEL
from tool_case import ToolTest, module_path


class Doctor(ToolTest):
    def findings(self, subject, status):
        return [
            {k: v for k, v in finding.items() if k != "subject"}
            for finding in self.json("doctor", status=status)
            if finding["subject"] == subject
        ]

    def good(self, text):
        return {"verdict": "good", "text": text, "remedy": ""}

    def test_all_is_well(self):
        self.init()
        found = self.json("doctor")
        self.assertEqual([f for f in found if f["verdict"] == "bad"], [])
        self.assertEqual(
            sorted({f["subject"] for f in found} - {"hibernation", "perf"}),
            ["configuration", "libp11", "memory", "memory-lock", "module", "nss", "openssl"]
            + ["p11-kit", "ssh-agent", "tokens"],
        )

    def test_x25519_beside_keys_for_openssl(self):
        self.init()
        self.make_x25519()
        self.assertEqual(
            [f["verdict"] for f in self.findings("libp11", status=0)], ["note"], "only X25519"
        )
        self.run_program(
            *self.logged_in("--keypairgen", "--key-type", "EC:prime256v1", "--id", "02")
        )
        (finding,) = self.findings("libp11", status=1)
        self.assertEqual(finding["verdict"], "bad")
        self.assertRegex(
            finding["text"],
            f'^libp11 0[.]4[.]12\\S* gives up on the token "{LABEL}": it holds an X25519 or Ed25519 '
            "key, and RSA or EC keys that OpenSSL's engine could use$",
        )
        self.assertEqual(
            finding["remedy"],
            "Keep the two apart: secretmem-pkcs11 token init --label curves, and make the X25519 and "
            "Ed25519 keys there.",
        )

    def test_a_directory_that_others_see(self):
        self.init()
        os.chmod(self.tokens, 0o750)
        self.assertEqual(
            self.findings("tokens", status=1),
            [
                {
                    "verdict": "bad",
                    "text": f"{self.tokens} has mode 0750: others can look in",
                    "remedy": f"chmod 700 {self.tokens}",
                }
            ],
        )

    def test_a_module_path_that_ssh_agent_refuses(self):
        os.symlink(module_path(), self.path("secretmem-pkcs11.so"))
        real = os.path.realpath(module_path())
        (finding,) = self.findings("ssh-agent", status=0)
        self.assertEqual(finding["verdict"], "note")
        self.assertEqual(finding["text"], f"refuses a module at {real}")
        self.assertIn(f"ssh-agent -P '{os.path.dirname(real)}/*'", finding["remedy"])

    def test_openssl_names_a_module_that_is_gone(self):
        self.env["OPENSSL_CONF"] = self.path("openssl.cnf")
        self.write("openssl.cnf", b"[pkcs11]\nMODULE_PATH = /nowhere/secretmem-pkcs11.so\n")
        self.assertEqual(
            self.findings("openssl", status=1),
            [
                {
                    "verdict": "bad",
                    "text": f"{self.path('openssl.cnf')} names /nowhere/secretmem-pkcs11.so, which "
                    "cannot be read",
                    "remedy": f"Write the module's path there: {module_path()}",
                }
            ],
        )
        self.write("openssl.cnf", f"[pkcs11]\nMODULE_PATH = {module_path()}\n".encode())
        self.assertEqual(
            self.findings("openssl", status=0),
            [self.good(f"{self.path('openssl.cnf')} names {module_path()}")],
        )

    def test_p11_kit_and_root(self):
        folder = os.path.join(self.home, ".config/pkcs11/modules")
        os.makedirs(folder)
        file = os.path.join(folder, "s.module")
        self.write(file, b"module: /nowhere/secretmem-pkcs11.so\n")
        found = self.findings("p11-kit", status=1)
        self.assertIn(
            {
                "verdict": "bad",
                "text": f"{file} names /nowhere/secretmem-pkcs11.so, which does not exist",
                "remedy": f'Write the module\'s path after "module:" there: {module_path()}',
            },
            found,
        )
        self.write(file, f"module: {module_path()}\n".encode())
        root = os.geteuid() == 0
        found = self.findings("p11-kit", status=1 if root else 0)
        if root:
            self.assertIn(
                {
                    "verdict": "bad",
                    "text": f"{file} is passed over: p11-kit reads no user's folder for root",
                    "remedy": "For root, put it into /etc/pkcs11/modules.",
                },
                found,
            )
        else:
            self.assertIn(self.good(f"{file} registers this module"), found)

    def test_a_wrong_configuration(self):
        self.write("config.toml", b"[tokens]\ndirectory = 1\n")
        found = self.findings("configuration", status=1)
        self.assertEqual(
            [f["text"] for f in found],
            [f"{self.path('config.toml')}:2: tokens.directory: must be a string"],
        )
        (module,) = self.findings("module", status=1)
        self.assertIn("it says: configuration: ", module["text"])


if __name__ == "__main__":
    unittest.main()
