"""secretmem-pkcs11 status."""

import errno
import os
import re
import resource
import subprocess
import unittest

from harness import LABEL
from tool_case import (
    ToolTest,
    become_nobody,
    module_path,
    no_locked_memory,
    refuse_secret_memory,
    tool_path,
)

# Makes so many session keys of 32 bytes, after a login.
MAKE_KEYS = """
import sys
import PyKCS11 as p11
library = p11.PyKCS11Lib()
library.load(sys.argv[1])
slot = library.getSlotList()[0]
library.initToken(slot, "12345678", "keys")
session = library.openSession(slot, p11.CKF_SERIAL_SESSION | p11.CKF_RW_SESSION)
session.login("12345678", p11.CKU_SO)
session.initPin("1234")
session.logout()
session.login("1234")
template = [
    (p11.CKA_CLASS, p11.CKO_SECRET_KEY),
    (p11.CKA_KEY_TYPE, p11.CKK_GENERIC_SECRET),
    (p11.CKA_TOKEN, False),
    (p11.CKA_VALUE_LEN, 32),
]
for _ in range(int(sys.argv[2])):
    session.generateKey(template, mecha=p11.Mechanism(p11.CKM_GENERIC_SECRET_KEY_GEN, None))
"""

OR_LOCKED = (
    ' Or set memory.protection = "allow-mlock": keys are then in locked memory, which root can read.'
)


class Status(ToolTest):
    def test_nothing_set_up(self):
        found = self.json("status")
        self.assertEqual(found["ok"], True)
        self.assertEqual(found["kernel"], os.uname().release)
        self.assertEqual(found["secret_memory"], {"works": True, "reason": None, "remedy": None})
        self.assertEqual(found["module"]["path"], module_path())
        self.assertEqual(found["module"]["works"], True)
        self.assertEqual(found["module"]["problem"], None)
        self.assertRegex(found["module"]["version"], r"^\d+\.\d+$")
        self.assertRegex(found["module"]["library"], r"^BoringSSL \S")
        self.assertGreater(found["module"]["mechanisms"], 0)
        self.assertEqual(
            found["configuration"],
            {
                "file": self.env["SECRETMEM_PKCS11_CONF"],
                "tokens_directory": self.tokens,
                "protection": "require",
                "isolation": "slot",
                "at_rest": "auto",
                "dumpable": True,
                "mseal": False,
            },
        )
        self.assertEqual(found["tokens"], [])

    def test_the_page(self):
        serial = self.init()
        self.make_x25519()
        # Of the files that register modules only the user's own are the test's; the system's may be
        # there or not.
        folder = os.path.join(self.home, ".config/pkcs11/modules")
        os.makedirs(folder)
        self.write(os.path.join(folder, "one.module"), f"module: {module_path()}\n".encode())
        self.write(os.path.join(folder, "two.module"), b"module: /nowhere/secretmem-pkcs11.so\n")
        self.write(os.path.join(folder, "other.module"), b"module: /nowhere/other.so\n")
        page = self.run_program(*self.command("status")).stdout
        self.assert_text(
            page,
            f"""\
Memory
    kernel              Linux {os.uname().release}
  + memfd_secret        works: keys are in memory that root cannot read
  + memory lock         <<lock=[^\n]+>>

Module
    file                {module_path()}
  + version             <<version=[0-9.]+>>, <<count=\\d+>> mechanisms
    library             BoringSSL <<library=[^\n]+>>

Configuration
    file                {self.env["SECRETMEM_PKCS11_CONF"]}
    tokens              {self.tokens}
    keys at rest        closed where protection keys do it (memory.at_rest = "auto")
    keys apart          side by side

Tokens
  + {LABEL}               1 key, 1 other object, serial number {serial}

p11-kit
<<system=(  [+!] registered.*\n)*>>\
  + registered          <<one=[^+!]*>>\
  ! registered          <<two=[^+!]*>>\
                        -> No such file: correct its line "module:", or remove the file.
""",
        )
        self.assertNotIn("other.so", page)

    def test_no_colour_but_on_a_terminal(self):
        self.assertNotIn("\x1b", self.run_program(*self.command("status")).stdout)
        shown = self.run_program("script", "-qec", f"{tool_path()} status", "/dev/null").stdout
        self.assertIn("\x1b[32m+\x1b[0m", shown)
        self.env["NO_COLOR"] = "1"
        shown = self.run_program("script", "-qec", f"{tool_path()} status", "/dev/null").stdout
        self.assertNotIn("\x1b", shown)

    def test_a_filter_that_hides_secret_memory(self):
        found = self.run_confined(
            lambda: refuse_secret_memory(errno.ENOSYS), "status", status=5
        ).stdout
        self.assertIn("  ! memfd_secret        no: ", found)
        self.assertIn("  ! does not start ", found)
        self.assertIn("  ! it says             error: secret memory: this kernel offers no", found)

    def test_a_filter_that_forbids_secret_memory(self):
        found = self.run_confined(
            lambda: refuse_secret_memory(errno.EPERM), "--json", "status", status=5
        )
        self.assertIn(
            '"reason": "a seccomp filter of this container or service forbids memfd_secret(2)",\n'
            '    "remedy": "Allow the system call memfd_secret in the container\'s seccomp profile, '
            "the unit's SystemCallFilter= or the security module's policy."
            + OR_LOCKED.replace('"', '\\"'),
            found.stdout,
        )

    def test_locked_memory_was_asked_for(self):
        with open(self.env["SECRETMEM_PKCS11_CONF"], "a", encoding="utf-8") as f:
            f.write('\n[memory]\nprotection = "allow-mlock"\n')
        page = self.run_confined(lambda: refuse_secret_memory(errno.EPERM), "status", status=0)
        self.assertIn(
            "  - instead             locked memory, which root can read "
            '(memory.protection = "allow-mlock")\n',
            page.stdout,
        )

    def test_a_memory_lock_of_nothing(self):
        os.chmod(self.dir, 0o755)
        if not readable_to_all(tool_path()) or not readable_to_all(module_path()):
            self.skipTest("the build tree is closed to ordinary users")
        page = self.run_confined(no_locked_memory, "status", status=5).stdout
        self.assertIn(
            "  ! memfd_secret        no: the memory-lock limit leaves no room for a single page\n"
            "                        -> Raise it: ulimit -l,",
            page,
        )
        self.assertIn("  ! memory lock         0 KiB: room for next to no keys of 32 bytes\n", page)

    def test_a_memory_lock_that_is_too_small_for_keys(self):
        os.chmod(self.dir, 0o755)

        def confine():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
            become_nobody()

        page = self.run_confined(confine, "status", status=5).stdout
        self.assertIn("  + memfd_secret        works: ", page)
        self.assertIn("  ! memory lock         64 KiB: room for next to no keys of 32 bytes\n", page)
        self.assertIn("-> Raise it to 8 MiB or more: ulimit -l, LimitMEMLOCK=8M", page)

    def test_the_memory_lock_holds_as_many_keys_as_it_says(self):
        if not readable_to_all(tool_path()) or not readable_to_all(module_path()):
            self.skipTest("the build tree is closed to ordinary users")
        for path, folders, files in os.walk(self.dir):
            for name in [path] + [os.path.join(path, n) for n in folders + files]:
                os.chmod(name, 0o777)
        limit = (1 << 20) + (1 << 17)

        def confine():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            become_nobody()

        page = self.run_confined(confine, "status", status=0).stdout
        (said,) = re.findall(r"1152 KiB: room for at least (\d+) keys of 32 bytes\n", page)
        done = subprocess.run(
            ["/usr/bin/python3", "-c", MAKE_KEYS, module_path(), said],
            env=self.env, preexec_fn=confine, capture_output=True, text=True, check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_configuration_that_is_wrong(self):
        self.write("config.toml", b"[memory]\nprotecton = 1\n")
        page = self.run_program(*self.command("status"), status=1).stdout
        self.assertIn('config.toml:2: unknown key "memory.protecton"', page.replace("\n   ", ""))
        self.assertIn("-> Mend that line: secretmem-pkcs11.toml(5) lists every setting.", page)

    def test_a_module_that_is_none(self):
        page = self.run_program(
            *self.command("--module", "/usr/lib/x86_64-linux-gnu/libc.so.6", "status"), status=1
        ).stdout
        self.assertIn("is no PKCS#11 module", " ".join(page.split()))
        page = self.run_program(*self.command("--module", "/nowhere.so", "status"), status=1).stdout
        self.assertIn("-> Install it, or say where it is: --module FILE.", page)

    def test_a_damaged_token(self):
        self.init()
        self.write(os.path.join(self.tokens, "0000.token"), b"no token")
        page = self.run_program(*self.command("status"), status=1).stdout
        self.assertIn("  ! damaged             ", page)
        self.assertIn("-> Put back a backup (secretmem-pkcs11 token restore FILE)", page)


def readable_to_all(path):
    while path != "/":
        if os.stat(path).st_mode & 0o005 != 0o005:
            return False
        path = os.path.dirname(path)
    return True


if __name__ == "__main__":
    unittest.main()
