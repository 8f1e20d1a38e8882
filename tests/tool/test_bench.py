"""secretmem-pkcs11 bench."""

import errno
import os
import signal
import subprocess
import tempfile
import time

from harness import LABEL, module_path
from tool_case import ToolTest, no_locked_memory, refuse_secret_memory

SOFTHSM2 = "/usr/lib/softhsm/libsofthsm2.so"
OPERATIONS = {
    "x25519-derive": "X25519 C_DeriveKey, C_DestroyObject",
    "x25519-generate": "X25519 C_GenerateKeyPair, both destroyed",
    "ed25519-sign": "Ed25519 C_SignInit, C_Sign",
    "p256-derive": "P-256 C_DeriveKey, C_DestroyObject",
    "p256-generate": "P-256 C_GenerateKeyPair, both destroyed",
    "p256-sign": "ECDSA P-256 C_SignInit, C_Sign",
    "rsa2048-sign": "RSA-2048 C_SignInit, C_Sign",
    "aes256-gcm-1m": "AES-256-GCM of 1 MiB",
    "aes256-gcm-16k": "AES-256-GCM of 16 KiB",
    "random-32": "C_GenerateRandom of 32 bytes",
    "sha256-64": "SHA-256 of 64 bytes",
    "session": "C_OpenSession, C_CloseSession",
}
EDDSA = "no mechanism 0x1057"


class Bench(ToolTest):
    def setUp(self):
        super().setUp()
        # Where the tool makes its temporary tokens: nothing may stay there.
        self.env["TMPDIR"] = self.temporary = tempfile.mkdtemp(dir=self.dir)
        os.chmod(self.temporary, 0o777)

    def tearDown(self):
        self.assertEqual(os.listdir(self.temporary), [])
        super().tearDown()

    def test_every_operation(self):
        answer = self.json("bench")
        self.assertEqual(sorted(answer), ["against", "module", "operations"])
        self.assertEqual(answer["module"]["path"], module_path())
        self.assertRegex(answer["module"]["library"], "^BoringSSL ")
        self.assertIsNone(answer["against"])
        self.assertEqual({row["id"]: row["name"] for row in answer["operations"]}, OPERATIONS)
        for row in answer["operations"]:
            self.assertEqual(sorted(row), ["id", "module", "name"])
            self.assertIsNone(row["module"]["lacking"], row)
            self.assertGreater(row["module"]["per_second"], 1, row)
        # The user's own tokens were not touched.
        self.assertEqual(self.json("token", "list"), [])

    def test_beside_softhsm2(self):
        answer = self.json("bench", "--against", SOFTHSM2, "--only", "x25519-derive,session")
        self.assertEqual(answer["against"],
                         {"path": SOFTHSM2, "library": "Implementation of PKCS11"})
        derive, session = answer["operations"]
        self.assertEqual((derive["id"], session["id"]), ("x25519-derive", "session"))
        for row in (derive, session):
            self.assertGreater(row["against"]["per_second"], 1, row)
            self.assertGreater(row["ratio"], 0, row)
        # The ratio says how many times as fast the module is.
        self.assertGreater(derive["ratio"], 2)

    def test_the_page(self):
        self.expect_tool(
            ["bench", "--only", "session", "--against", SOFTHSM2],
            "Operations in a second, one thread\n"
            "    module              <<module=(?s:.*?)>>\n"
            f"    against             {SOFTHSM2}: Implementation of PKCS11\n"
            "\n"
            "operation             module    against   ratio\n"
            "    session             <<ours=[0-9.]+( [kM])?>><<a= +>><<other=[0-9.]+( [kM])?>><<b= +>>"
            "<<ratio=[0-9]+[.][0-9]{2}>><<c= +>>C_OpenSession, C_CloseSession\n",
        )

    def test_what_a_module_lacks(self):
        self.write(
            "config.toml",
            self.read("config.toml") + b'\n[mechanisms]\ndisable = ["CKM_EDDSA"]\n',
        )
        self.init()
        named = ["bench", "--token", LABEL, "--pin-file", "user.pin",
                 "--only", "ed25519-sign,sha256-64"]
        lacks, has = self.json(*named)["operations"]
        self.assertEqual(lacks["module"], {"per_second": None, "lacking": EDDSA})
        self.assertGreater(has["module"]["per_second"], 1)
        page = self.run_program(*self.command(*named)).stdout
        self.assertRegex(
            page, rf"\n  - ed25519-sign        n/a +Ed25519 C_SignInit, C_Sign \({EDDSA}\)\n"
        )
        # Beside a module that has it there is no ratio.
        (beside,) = self.json(*named[:-1], "ed25519-sign", "--against", SOFTHSM2)["operations"]
        self.assertIsNone(beside["ratio"])
        self.assertGreater(beside["against"]["per_second"], 1)

    def test_somebodys_token_is_left_as_it_was(self):
        serial = self.init()
        before = self.read(self.token_file(serial))
        self.json("bench", "--token", LABEL, "--pin-file", "user.pin",
                  "--only", "x25519-generate,aes256-gcm-16k")
        self.assertEqual(self.read(self.token_file(serial)), before)

    def test_a_wrong_pin(self):
        self.init()
        self.write("user.pin", b"wrong-pin\n")
        self.expect_tool(
            ["bench", "--token", LABEL, "--pin-file", "user.pin"],
            "",
            f"secretmem-pkcs11: logging in to {module_path()}: the PIN is wrong "
            "(CKR_PIN_INCORRECT)\n"
            "  -> Try again, but not often: after pin.max_failures wrong ones in a row it is locked. "
            "Where it is lost the security officer sets another: pkcs11-tool --init-pin --login "
            "--login-type so.\n",
            status=4,
        )

    def test_no_such_token(self):
        self.expect_tool(
            ["bench", "--token", "nobodys", "--pin-file", "user.pin"],
            "",
            'secretmem-pkcs11: there is no token "nobodys"\n'
            "  -> Make one: secretmem-pkcs11 token init --label NAME.\n",
            status=3,
        )

    def test_no_terminal_to_ask_for_the_pin(self):
        self.init()
        for prefix, module in (("", []), ("against-", ["--against", self.copy()])):
            self.expect(
                ["setsid", "-w", *self.command("bench", f"--{prefix}token", LABEL, *module)],
                "",
                f'secretmem-pkcs11: no terminal to ask for the user PIN of "{LABEL}"\n'
                f"  -> Give --{prefix}pin-file or --{prefix}pin-fd: a file or a descriptor with the "
                "PIN in its first line.\n",
                status=4,
            )

    def copy(self):
        path = self.path("copy.so")
        with open(module_path(), "rb") as module:
            self.write("copy.so", module.read())
        return path

    def test_modules_that_are_none(self):
        nowhere = "/nowhere/module.so"
        for options in (["--module", nowhere], ["--against", nowhere]):
            self.expect_tool(
                ["bench", *options],
                "",
                f"secretmem-pkcs11: cannot load the module: {nowhere}: cannot open shared object "
                "file: No such file or directory\n"
                "  -> Install it, or say where it is: --module FILE.\n",
                status=1,
            )
        self.write("empty.so", b"")
        answer = self.run_program(*self.command("bench", "--against", "./empty.so"), status=1)
        self.assertRegex(answer.stderr, r"\Asecretmem-pkcs11: cannot load the module: .*too short\n")

    def test_the_same_module_again(self):
        link = self.path("link.so")
        os.symlink(module_path(), link)
        self.expect_tool(
            ["bench", "--against", link],
            "",
            "secretmem-pkcs11: --against names the same module again\n"
            "  -> Name another; a copy of the file counts as another.\n",
            status=2,
        )
        (row,) = self.json("bench", "--against", self.copy(), "--only", "session")["operations"]
        self.assertGreater(row["ratio"], 0)

    def test_no_token_is_made_in_a_module_that_is_not_known(self):
        """It might be hardware, with a blank token that somebody has plans for."""
        proxy = self.run_program("pkg-config", "--variable=proxy_module", "p11-kit-1").stdout.strip()
        for prefix, option in (("", "--module"), ("against-", "--against")):
            self.expect_tool(
                ["bench", option, proxy],
                "",
                f"secretmem-pkcs11: no temporary token can be made for {proxy}\n"
                f"  -> Name one of its tokens: --{prefix}token NAME.\n",
                status=3,
            )

    def test_an_operation_that_there_is_not(self):
        answer = self.run_program(*self.command("bench", "--only", "x448-derive"), status=2)
        self.assertIn("x448-derive not in {x25519-derive,", answer.stderr)

    def test_too_little_locked_memory(self):
        os.chmod(self.dir, 0o711)
        answer = self.run_confined(no_locked_memory, "bench", status=5)
        self.assertEqual(answer.stdout, "")
        self.assertRegex(answer.stderr, r"\(CKR_DEVICE_MEMORY\)\n  -> Raise the memory-lock limit: ")

    def test_a_kernel_that_refuses(self):
        answer = self.run_confined(
            lambda: refuse_secret_memory(errno.ENOSYS), "bench", status=5
        )
        self.assertRegex(
            answer.stderr,
            rf"\nsecretmem-pkcs11: initialising {module_path()}: a seccomp filter of this container "
            r"or service hides memfd_secret\(2\)\n  -> Allow the system call memfd_secret ",
        )

    def test_interrupted_it_leaves_nothing_behind(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            process = subprocess.Popen(
                self.command("bench"), env=self.env, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True,
            )
            end = time.monotonic() + 30
            # The token is there: the child is at work.
            while not any(files for _, _, files in os.walk(self.temporary + "/")
                          if any(name.endswith(".token") for name in files)):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            process.send_signal(number)
            self.assertEqual(
                process.communicate()[1],
                f"secretmem-pkcs11: the process that used the module died: "
                f"{signal.strsignal(number)}\n",
            )
            self.assertEqual(process.returncode, 1)
            self.assertEqual(os.listdir(self.temporary), [])
