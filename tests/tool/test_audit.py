"""secretmem-pkcs11 audit: commands whose memory is looked into."""

import os
import re
import resource
import sys

from harness import LABEL, PIN, module_path
from tool_case import ToolTest, become_nobody

NOBODY = 65534

# Holds the bytes of a file in its memory, and then uses the token. PyKCS11 is the client.
HOLDER = """
import sys, PyKCS11
held = bytearray(open(sys.argv[2], "rb").read()) if sys.argv[2] else None
module = PyKCS11.PyKCS11Lib()
module.load(sys.argv[1])
session = module.openSession(module.getSlotList(tokenPresent=True)[0])
session.login(sys.argv[3])
key = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY)])[0]
session.sign(key, bytes(32), PyKCS11.Mechanism(PyKCS11.CKM_ECDSA))
"""


class Audit(ToolTest):
    def setUp(self):
        super().setUp()
        self.init()

    def audit(self, *command, options=()):
        return ["audit", "--pin-file", "user.pin", *options, "--", *command]

    def import_key(self):
        """A key that this test knows, on the token: returns the file with its 32 bytes."""
        self.run_program("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout",
                         "-out", "known.pem")
        self.run_program("openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER",
                         "-in", "known.pem", "-out", "known.der")
        self.run_program(*self.logged_in("--write-object", "known.der", "--type", "privkey",
                                         "--id", "07", "--label", "known", "--sensitive",
                                         "--usage-sign"))
        text = self.run_program("openssl", "ec", "-in", "known.pem", "-noout", "-text").stdout
        value = bytes.fromhex(re.sub(r"[^0-9a-f]", "", text.split("priv:")[1].split("pub:")[0]))
        return self.write("known.bin", value[-32:])

    def hold(self, file):
        return [sys.executable, "-c", HOLDER, module_path(), file, PIN]

    def test_no_key_is_readable(self):
        self.import_key()
        self.expect_tool(
            self.audit(*self.hold(""), options=["--picture", "picture.svg"]),
            "Memory audit\n"
            "  + command             done\n"
            "  + looked for          1 key, every eight bytes of each\n"
            "    looked at           1 process, <<looks=[0-9]+>> looks, <<size=[0-9.]+>> MiB of memory\n"
            "  + python3<<rest=[0-9.]*>> <<blanks= *>><<secret=[0-9.]+>> MiB of secret memory, "
            "which nobody else can read\n"
            "  + result              no eight bytes of any key could be read\n",
        )
        picture = self.read("picture.svg").decode()
        self.assertIn("memfd_secret (nobody outside can read this)", picture)
        self.assertIn("no key byte readable", picture)
        self.assertNotIn("class='leak' x='40' y='1", picture)

    def test_a_key_that_is_readable(self):
        known = self.import_key()
        answer = self.json(*self.audit(*self.hold(known), options=["--picture", "picture.svg"]),
                           status=1)
        self.assertFalse(answer["ok"])
        self.assertEqual(answer["problem"], "key bytes were readable")
        self.assertEqual(answer["exit_code"], 0)
        self.assertEqual(answer["keys"], [{"label": "known", "kind": "EC private key"}])
        self.assertEqual(
            {(found["key"], found["form"]) for found in answer["findings"]},
            {('EC private key "known"', "as it is stored")},
        )
        self.assertIn("key bytes that anyone could read", self.read("picture.svg").decode())

    def test_children_are_watched(self):
        known = self.import_key()
        child = self.hold(known)
        runner = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
        answer = self.json(*self.audit(sys.executable, "-c", runner, *child), status=1)
        self.assertEqual(answer["problem"], "key bytes were readable")
        self.assertEqual([one["loaded_module"] for one in answer["processes"]], [False, True])
        users = [one["pid"] for one in answer["processes"] if one["loaded_module"]]
        self.assertEqual({found["pid"] for found in answer["findings"]}, set(users))

    def refused(self, command, problem, options=(), status=1):
        self.make_x25519()
        answer = self.json(*self.audit(*command, options=options), status=status)
        self.assertEqual((answer["ok"], answer["problem"]), (False, problem))
        return answer

    def test_a_command_without_the_module(self):
        self.refused(["true"], "the command never loaded the module")

    def test_a_command_that_opens_no_key(self):
        self.refused(self.tool("--list-slots"), "the command opened no key")

    def test_a_command_that_fails(self):
        answer = self.refused(
            ["sh", "-c", '"$@" >/dev/null; exit 3', "sh", *self.logged_in("--list-objects")],
            "the command failed",
        )
        self.assertEqual(answer["exit_code"], 3)

    def test_no_such_command(self):
        self.make_x25519()
        self.expect_tool(
            self.audit("no-such-command"),
            "",
            "secretmem-pkcs11: no-such-command: No such file or directory\n",
            status=1,
        )

    def test_a_wrong_pin(self):
        self.make_x25519()
        self.write("user.pin", b"wrong-pin\n")
        self.expect_tool(
            self.audit("true"),
            "",
            "secretmem-pkcs11: logging in to the token: <<text=.*>>\n<<more=(?s:.*)>>",
            status=4,
        )

    def test_too_little_locked_memory(self):
        self.make_x25519()
        for path, _, files in os.walk(self.dir):
            for name in [path, *(os.path.join(path, file) for file in files)]:
                os.chown(name, NOBODY, NOBODY)

        def confine():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (64 << 10, 64 << 10))
            become_nobody()

        command = ["audit", "--pin-file", self.path("user.pin"), "--", "true"]
        answer = self.run_confined(confine, *command, status=5)
        self.assertEqual(answer.stdout, "")
        self.assertEqual(
            answer.stderr.splitlines()[-2:],
            [
                "secretmem-pkcs11: the memory-lock limit is reached: raise RLIMIT_MEMLOCK (ulimit "
                "-l, LimitMEMLOCK=)",
                "  -> The keys that are looked for must lie in secret memory themselves: "
                "secretmem-pkcs11 status says whether there is enough.",
            ],
        )

    def test_which_token(self):
        self.init("beta")
        self.expect_tool(
            self.audit("true"),
            "",
            "secretmem-pkcs11: there is more than one token\n  -> Name one: --token LABEL.\n",
            status=3,
        )
        self.refused(["true"], "the command never loaded the module", ["--token", LABEL])

    def test_a_token_without_keys(self):
        self.expect_tool(
            self.audit("true"),
            "",
            "secretmem-pkcs11: the token has no key to look for\n"
            "  -> Have the command use a key that is on the token already.\n",
            status=1,
        )
