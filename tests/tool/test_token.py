"""secretmem-pkcs11 token."""

import errno
import os
import pty

from harness import LABEL, PIN, SO_PIN, module_path
from tool_case import ToolTest, refuse_secret_memory, tool_path


class Tokens(ToolTest):
    def test_init_makes_a_token_that_clients_use(self):
        serial = self.init()
        self.make_x25519()
        self.assertEqual(
            self.json("token", "list"),
            [
                {
                    "file": self.token_file(serial),
                    "label": LABEL,
                    "serial": serial,
                    "user_pin_set": True,
                    "user_pin_failures": 0,
                    "so_pin_failures": 0,
                    "pin_iterations": 1000,
                    "keys": 1,
                    "open_keys": 0,
                    "other_objects": 1,
                    "damaged_objects": 0,
                }
            ],
        )
        self.expect_tool(
            ["token", "list"],
            f"  + {LABEL}               1 key, 1 other object, serial number {serial}\n",
        )

    def test_no_token_yet(self):
        self.expect_tool(
            ["token", "list"],
            "  - none yet            the first slot waits for one\n"
            "                        -> Make one: secretmem-pkcs11 token init --label NAME\n",
        )

    def test_a_label_that_is_taken(self):
        serial = self.init()
        self.expect_tool(
            ["token", "init", "--label", LABEL, "--so-pin-file", "so.pin", "--pin-file", "user.pin"],
            "",
            f'secretmem-pkcs11: there is a token "{LABEL}" already\n'
            "  -> Choose another label, or remove that one: "
            f"secretmem-pkcs11 token delete {serial}.\n",
            status=1,
        )

    def test_a_pin_that_is_too_short(self):
        self.write("short.pin", b"abc\n")
        self.expect_tool(
            ["token", "init", "--label", "b", "--so-pin-file", "short.pin", "--pin-file", "user.pin"],
            "",
            "secretmem-pkcs11: making the token: the PIN is too short or too long "
            "(CKR_PIN_LEN_RANGE)\n"
            "  -> The lengths allowed are pin.min_length and pin.max_length of the configuration.\n",
            status=4,
        )
        self.assertEqual(self.json("token", "list"), [])

    def test_pins_that_cannot_be_read(self):
        init = ["token", "init", "--label", "b", "--pin-file", "user.pin"]
        self.expect_tool(
            [*init, "--so-pin-file", "nowhere"],
            "",
            "secretmem-pkcs11: nowhere: No such file or directory\n",
            status=4,
        )
        self.write("empty.pin", b"\n")
        self.expect_tool(
            [*init, "--so-pin-file", "empty.pin"],
            "",
            "secretmem-pkcs11: there is no PIN in empty.pin\n",
            status=4,
        )
        self.write("long.pin", b"x" * 300)
        self.expect_tool(
            [*init, "--so-pin-file", "long.pin"],
            "",
            "secretmem-pkcs11: the first line of long.pin is longer than any PIN\n",
            status=4,
        )
        self.assertEqual(self.json("token", "list"), [])

    def test_no_terminal_to_ask(self):
        self.expect(
            ["setsid", "-w", tool_path(), "token", "init", "--label", "b"],
            "",
            "secretmem-pkcs11: no terminal to ask for the security officer's PIN of token \"b\"\n"
            "  -> Give --so-pin-file or --so-pin-fd: a file or a descriptor with the PIN in its "
            "first line.\n",
            status=4,
        )

    def test_pins_are_no_arguments(self):
        answer = self.run_program(
            *self.command("token", "init", "--label", "b", "--pin", PIN), status=2
        )
        self.assertIn("--pin", answer.stderr)

    def test_pins_from_descriptors(self):
        self.expect(
            ["bash", "-c", f'"$@" 3<<<"{SO_PIN}" 4<<<"{PIN}"', "-", *self.command()]
            + ["token", "init", "--label", LABEL, "--so-pin-fd", "3", "--pin-fd", "4"],
            f'Made token "{LABEL}" (<<serial=[0-9a-f]{{16}}>>).\n',
        )
        self.assertEqual(self.labels(), [])

    def test_pins_from_the_terminal_are_not_shown(self):
        status, shown = self.type_at_terminal(
            ["token", "init", "--label", LABEL], [SO_PIN, SO_PIN, PIN, PIN]
        )
        self.assertEqual(status, 0, shown)
        self.assert_text(
            shown.replace("\r\n", "\n"),
            f"New security officer's PIN of token \"{LABEL}\": \nThe same again: \n"
            f'New user PIN of token "{LABEL}": \nThe same again: \n'
            f'Made token "{LABEL}" (<<serial=[0-9a-f]{{16}}>>).\n',
        )
        self.assertEqual(self.labels(), [])

    def test_pins_that_differ(self):
        status, shown = self.type_at_terminal(["token", "init", "--label", LABEL], [SO_PIN, "else"])
        self.assertEqual(status, 4, shown)
        self.assertIn("the two PINs differ", shown)
        self.assertEqual(self.json("token", "list"), [])

    def type_at_terminal(self, arguments, lines):
        """Runs the tool on a terminal and types a line whenever it asks."""
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                os.chdir(self.dir)
                os.execve(tool_path(), self.command(*arguments), self.env)
            finally:
                os._exit(127)
        shown = b""
        typed = 0
        while True:
            try:
                got = os.read(terminal, 4096)
            except OSError:  # the other side is gone
                break
            if not got:
                break
            shown += got
            if shown.endswith(b": ") and typed < len(lines):
                os.write(terminal, lines[typed].encode() + b"\n")
                typed += 1
        os.close(terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, shown.decode()

    def test_a_kernel_that_refuses(self):
        answer = self.run_confined(
            lambda: refuse_secret_memory(errno.EPERM),
            *("token", "init", "--label", "b", "--so-pin-file", self.path("so.pin")),
            *("--pin-file", self.path("user.pin")),
            status=5,
        )
        self.assertRegex(
            answer.stderr,
            rf"\nsecretmem-pkcs11: initialising {module_path()}: a seccomp filter of this container "
            r"or service forbids memfd_secret\(2\)\n  -> Allow the system call memfd_secret ",
        )
        self.assertEqual(self.json("token", "list"), [])

    def test_delete(self):
        serial = self.init()
        self.expect_tool(
            ["token", "delete", LABEL],
            "",
            f'secretmem-pkcs11: removing token "{LABEL}" ({serial}) for good needs to be confirmed\n'
            "  -> Say so: --yes.\n",
            status=2,
        )
        self.expect_tool(
            ["token", "delete", LABEL, "--yes"], f'Removed token "{LABEL}" ({serial}).\n'
        )
        self.assertEqual(os.listdir(self.tokens), [])
        self.expect_tool(
            ["token", "delete", LABEL, "--yes"],
            "",
            f'secretmem-pkcs11: there is no token "{LABEL}" in {self.tokens}\n'
            "  -> Make one: secretmem-pkcs11 token init --label NAME.\n",
            status=3,
        )

    def test_two_tokens_of_one_name(self):
        first = self.init("one")
        self.make_token("two", index=1)
        second = [t for t in self.json("token", "list") if t["serial"] != first][0]["serial"]
        self.run_program(
            *self.tool("--init-token", "--slot-index", "1", "--label", "one", "--so-pin", SO_PIN)
        )
        serials = ", ".join(sorted([first, second]))
        self.expect_tool(
            ["token", "delete", "one", "--yes"],
            "",
            'secretmem-pkcs11: 2 tokens are called "one"\n'
            f"  -> Name one by its serial number: {serials}.\n",
            status=3,
        )
        self.run_program(*self.command("token", "delete", second, "--yes"))
        self.assertEqual([t["serial"] for t in self.json("token", "list")], [first])
