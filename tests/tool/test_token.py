"""secretmem-pkcs11 token."""

import errno
import glob
import json
import os
import pty
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import unittest

from harness import LABEL, PIN, SO_PIN, module_path
from tool_case import ToolTest, refuse_secret_memory, tool_path

# Makes a private secret key with a lifetime of a day.
WITH_LIFETIME = """
import sys, PyKCS11 as p11
library = p11.PyKCS11Lib()
library.load(sys.argv[1])
session = library.openSession(library.getSlotList(tokenPresent=True)[0],
                              p11.CKF_SERIAL_SESSION | p11.CKF_RW_SESSION)
session.login(sys.argv[2])
session.generateKey([(p11.CKA_CLASS, p11.CKO_SECRET_KEY), (p11.CKA_KEY_TYPE, p11.CKK_AES),
                     (p11.CKA_TOKEN, True), (p11.CKA_PRIVATE, True), (p11.CKA_VALUE_LEN, 32),
                     (0xd34d0020, (86400).to_bytes(8, "little"))])
"""


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


class BackupCase(ToolTest):
    """A token with one private key, and its public one."""

    def setUp(self):
        super().setUp()
        self.serial = self.init()
        self.make_x25519(label="kept")
        self.named = f'token "{LABEL}" ({self.serial})'

    def backup(self, name="backup"):
        self.run_program(*self.command("token", "backup", LABEL, name))
        return self.path(name)

    def restores(self, name, pin=False):
        """The exit code of restoring a file over the token; refused, it has changed nothing."""
        before = sorted(os.listdir(self.tokens))
        options = ["--pin-file", "user.pin"] if pin else []
        code = subprocess.run(
            self.command("token", "restore", "--replace", *options, name),
            cwd=self.dir, env=self.env, capture_output=True, check=False,
        ).returncode
        self.assertEqual(sorted(os.listdir(self.tokens)), before)
        return code


class Backups(BackupCase):
    def restored(self):
        return (
            f"Restored {self.named} with 1 key.\n"
            "Not opened, for want of the PIN (--ask-pin, --pin-file): 1 sealed object.\n"
        )

    def test_there_and_back(self):
        self.expect_tool(
            ["token", "backup", LABEL, "backup"], f"Wrote {self.named} with 1 key to backup.\n"
        )
        self.assertEqual(stat.S_IMODE(os.stat(self.path("backup")).st_mode), 0o600)
        before = self.read("backup")
        self.make_x25519(key_id="02", label="later")
        self.assertEqual(sorted(self.labels()), ["kept", "later"])
        self.expect_tool(
            ["token", "restore", "backup"],
            "",
            f'secretmem-pkcs11: the {self.named} is there already\n'
            "  -> With --replace it is removed, and the backup takes its place.\n",
            status=1,
        )
        self.assertEqual(sorted(self.labels()), ["kept", "later"])
        self.expect_tool(
            ["token", "restore", "--replace", "backup"], self.restored()
        )
        self.assertEqual(self.labels(), ["kept"])
        self.assertEqual(self.read("backup"), before)
        self.run_program(*self.command("token", "delete", LABEL, "--yes"))
        self.expect_tool(["token", "restore", "backup"], self.restored())
        self.assertEqual(self.labels(), ["kept"])
        self.assertEqual(os.listdir(self.tokens), [self.serial + ".token"])
        self.assertEqual(stat.S_IMODE(os.stat(self.token_file(self.serial)).st_mode), 0o600)

    def test_backups_of_every_format(self):
        """Whatever version has made a backup, this one puts it back, and opens all of it."""
        found = glob.glob(os.path.join(os.path.dirname(__file__), "../formats/format-*.token"))
        self.assertGreater(len(found), 0)
        for file in found:
            with open(file.replace(".token", ".json"), encoding="utf-8") as f:
                serial = json.load(f)["serial"]
            answer = self.json("token", "restore", "--pin-file", "user.pin", file)
            self.assertEqual((answer["serial"], answer["unopened_objects"]), (serial, 0))
            self.assertGreater(answer["opened_objects"], 5)
            self.run_program(*self.command("token", "delete", serial, "--yes"))

    def test_a_backup_writes_over_nothing(self):
        self.write("there", b"mine")
        self.expect_tool(
            ["token", "backup", LABEL, "there"],
            "",
            f'secretmem-pkcs11: no backup was made: {self.path("there")}: File exists\n'
            "  -> Name a file that does not exist yet: nothing is written over.\n",
            status=1,
        )
        self.assertEqual(self.read("there"), b"mine")

    def test_while_the_token_is_in_use(self):
        """Backups made while another process makes and destroys keys verify, each of them."""
        stop = threading.Event()
        failures = []

        def use():
            number = 2
            while not stop.is_set():
                try:
                    self.make_x25519(key_id=f"{number:02x}", label=f"k{number}")
                except AssertionError as error:
                    failures.append(error)
                    return
                number += 1

        user = threading.Thread(target=use)
        user.start()
        try:
            for i in range(10):
                self.backup(f"backup{i}")
        finally:
            stop.set()
            user.join()
        self.assertEqual(failures, [])
        counts = []
        for i in range(10):
            self.run_program(*self.command("token", "restore", "--replace", f"backup{i}"))
            labels = self.labels()
            self.assertIn("kept", labels)
            counts.append(len(labels))
        self.assertEqual(counts, sorted(counts))

    def refused(self, name, why):
        """Restoring fails, and nothing is left behind."""
        before = sorted(os.listdir(self.tokens))
        answer = self.run_program(*self.command("token", "restore", "--replace", name), status=1)
        self.assertEqual(answer.stdout, "")
        self.assertRegex(
            answer.stderr,
            r"\Asecretmem-pkcs11: nothing was restored: [^\n]*" + why + r"[^\n]*\n"
            r"  -> This file is not a whole, unchanged backup; take another one.\n\Z",
        )
        self.assertEqual(sorted(os.listdir(self.tokens)), before)
        self.assertEqual(self.labels(), ["kept"])

    def test_what_does_not_verify_is_refused(self):
        whole = bytearray(open(self.backup(), "rb").read())
        self.write("none", b"")
        self.refused("none", "not a token file")
        self.write("other", b"something else" * 1000)
        self.refused("other", "not a database")
        self.write("half", bytes(whole[: len(whole) // 2]))
        self.refused("half", "malformed|disk image")

    def test_a_changed_row_is_refused(self):
        path = self.backup()
        with sqlite3.connect(path) as database:
            database.execute("UPDATE object SET attributes=zeroblob(length(attributes))")
        database.close()
        self.refused("backup", "2 of its objects are damaged")

    def test_a_missing_row_is_refused(self):
        path = self.backup()
        with sqlite3.connect(path) as database:
            database.execute("DELETE FROM object WHERE id=(SELECT min(id) FROM object)")
        database.close()
        self.refused("backup", "")

    def test_a_newer_format_is_refused(self):
        path = self.backup()
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version=99")
        database.close()
        self.refused("backup", "written by a newer version")

    def test_every_flipped_byte_is_refused_or_changes_nothing(self):
        whole = self.read(os.path.basename(self.backup()))
        page_size = int.from_bytes(whole[16:18], "big")
        # Of each page its header, its list of cells, what is in the middle, where cells begin, and
        # its end; and bytes here and there.
        offsets = set(range(100, len(whole), 997))
        for page in range(0, len(whole), page_size):
            offsets |= {page, page + 3, page + 5, page + 8, page + page_size // 2}
            offsets |= {page + page_size - 200, page + page_size - 40, page + page_size - 1}
        accepted = {True: 0, False: 0}
        for offset in sorted(offsets):
            changed = bytearray(whole)
            changed[offset] ^= 0x5A
            self.write("flipped", bytes(changed))
            for pin in (False, True):
                if self.restores("flipped", pin) == 0:
                    accepted[pin] += 1
                    self.assertEqual(self.labels(), ["kept"], f"byte {offset}")
        # Most of a small database is free space: that some are accepted is no surprise.
        for pin in (False, True):
            self.assertLess(accepted[pin], len(offsets) * 3 // 4)
            self.assertGreater(accepted[pin], 0)


def sum_of(table, values):
    """The checksum that pkcs11/store_rows.cc puts beside a row, as SQLite keeps it."""
    value = 0xCBF29CE484222325

    def add(data):
        nonlocal value
        for byte in data:
            value = (value ^ byte) * 0x100000001B3 % 2**64

    add(table.encode())
    for each in values:
        if isinstance(each, int):
            add((each % 2**64).to_bytes(8, "little"))
        else:
            data = each.encode() if isinstance(each, str) else each
            add(len(data).to_bytes(8, "little") + data)
    return value - 2**64 if value >= 2**63 else value


# Columns in the order in which they are summed.
SUMMED = {
    "object": ("o", ["id", "uid", "kind", "version", "tags", "attributes", "secret"]),
    "pin": ("p", ["role", "salt", "iterations", "wrapped_key", "failures", "last_failure"]
            + ["version"]),
    "token": ("t", ["label", "serial", "store_key"]),
    "state": ("s", ["incarnation", "sequence", "horizon", "next_id", "objects"]),
}
PUBLIC, STORE_SEALED, PRIVATE = 0, 1, 2
REFUSED, OTHER_PIN, TAKEN = 1, 4, 0


class Forgeries(BackupCase):
    """Backups in which somebody has changed a value, and put the right checksum beside it or not."""

    def setUp(self):
        super().setUp()
        # A key with CKA_PRIVATE false: sealed under a key that lies in the file.
        self.run_program(
            *self.logged_in("--keygen", "--key-type", "AES:32", "--id", "05", "--label", "open")
        )
        self.whole = self.backup()
        with sqlite3.connect(self.whole) as database:
            kinds = [kind for (kind,) in database.execute("SELECT kind FROM object")]
        database.close()
        self.assertEqual(sorted(kinds), [PUBLIC, STORE_SEALED, PRIVATE])

    def changed(self, value):
        if isinstance(value, bytes):
            return value[:-1] + bytes([value[-1] ^ 0x40]) if value else b"x"
        return value + "x" if isinstance(value, str) else value + 1

    def forge(self, table, column, row, summed):
        """Writes a copy of the backup in which that column of the first such row is another."""
        shutil.copy(self.whole, self.path("forged"))
        with sqlite3.connect(self.path("forged")) as database:
            database.row_factory = sqlite3.Row
            (found,) = database.execute(f"SELECT rowid AS row, * FROM {table} WHERE {row}").fetchall()
            values = dict(found)
            values[column] = self.changed(values[column])
            if summed:
                letter, columns = SUMMED[table]
                self.assertEqual(sum_of(letter, [found[name] for name in columns]), found["sum"])
                values["sum"] = sum_of(letter, [values[name] for name in columns])
            database.execute(
                f"UPDATE {table} SET {column}=?, sum=? WHERE rowid=?",
                (values[column], values["sum"], found["row"]),
            )
            if column == "tags" and summed:
                # The index says what the row says.
                database.execute("DELETE FROM tag WHERE object=?", (found["row"],))
                tags = values["tags"]
                database.executemany(
                    "INSERT INTO tag VALUES(?, ?)",
                    [(tags[at : at + 16], found["row"]) for at in range(0, len(tags), 16)],
                )
        database.close()

    def test_an_index_that_hides_an_object_is_refused(self):
        shutil.copy(self.whole, self.path("forged"))
        with sqlite3.connect(self.path("forged")) as database:
            database.execute("DELETE FROM tag WHERE object=1")
        database.close()
        self.assertEqual(self.restores("forged"), REFUSED)

    def test_a_changed_value_is_refused(self):
        rows = {"object": [f"kind={kind}" for kind in (PUBLIC, STORE_SEALED, PRIVATE)],
                "pin": ["role=0", "role=1"], "token": ["id=1"], "state": ["id=1"]}
        for table, (_, columns) in SUMMED.items():
            for row in rows[table]:
                for column in columns + ["sum"]:
                    if column in ("id", "role"):
                        continue
                    self.forge(table, column, row, summed=False)
                    self.assertEqual(self.restores("forged"), REFUSED, (table, row, column))

    def test_what_is_sealed_is_opened(self):
        for row, column, without, with_pin in (
            # What a private object consists of is seen with the PIN only.
            (f"kind={PRIVATE}", "attributes", TAKEN, REFUSED),
            (f"kind={PRIVATE}", "secret", TAKEN, REFUSED),
            (f"kind={PRIVATE}", "uid", TAKEN, REFUSED),
            (f"kind={PRIVATE}", "tags", TAKEN, REFUSED),
            # The file itself opens these.
            (f"kind={STORE_SEALED}", "attributes", REFUSED, REFUSED),
            (f"kind={STORE_SEALED}", "secret", REFUSED, REFUSED),
            (f"kind={STORE_SEALED}", "uid", REFUSED, REFUSED),
            (f"kind={STORE_SEALED}", "tags", REFUSED, REFUSED),
            (f"kind={PUBLIC}", "attributes", REFUSED, REFUSED),
            (f"kind={PUBLIC}", "secret", REFUSED, REFUSED),
            (f"kind={PUBLIC}", "tags", REFUSED, REFUSED),
            # An object that was moved among those of another kind.
            (f"kind={PUBLIC}", "kind", REFUSED, REFUSED),
            (f"kind={STORE_SEALED}", "kind", TAKEN, REFUSED),
            (f"kind={PRIVATE}", "kind", REFUSED, REFUSED),
        ):
            self.forge("object", column, row, summed=True)
            found = (self.restores("forged"), self.restores("forged", pin=True))
            self.assertEqual(found, (without, with_pin), (row, column))

    def test_a_token_key_that_no_pin_opens(self):
        for column in ("salt", "iterations", "wrapped_key"):
            self.forge("pin", column, "role=1", summed=True)
            found = (self.restores("forged"), self.restores("forged", pin=True))
            self.assertEqual(found, (TAKEN, OTHER_PIN), column)
        self.forge("token", "store_key", "id=1", summed=True)
        self.assertEqual(self.restores("forged"), REFUSED)

    def test_what_is_said(self):
        named = f'token "{LABEL}" ({self.serial})'
        self.expect_tool(
            ["token", "restore", "--replace", "--pin-file", "user.pin", "backup"],
            f"Restored {named} with 2 keys.\n",
        )
        answer = self.json("token", "restore", "--replace", "backup")
        self.assertEqual((answer["opened_objects"], answer["unopened_objects"]), (2, 1))
        answer = self.json("token", "restore", "--replace", "--pin-file", "user.pin", "backup")
        self.assertEqual((answer["opened_objects"], answer["unopened_objects"]), (3, 0))
        self.forge("object", "secret", f"kind={PRIVATE}", summed=True)
        self.expect_tool(
            ["token", "restore", "--replace", "--pin-file", "user.pin", "forged"],
            "",
            "secretmem-pkcs11: nothing was restored: forged: 1 of its objects are damaged\n"
            "  -> This file is not a whole, unchanged backup; take another one.\n",
            status=1,
        )
        self.write("user.pin", b"wrong-pin\n")
        before = self.read(self.token_file(self.serial))
        self.expect_tool(
            ["token", "restore", "--replace", "--pin-file", "user.pin", "backup"],
            "",
            "secretmem-pkcs11: the PIN does not open this token\n"
            "  -> A backup is opened by the PIN that the token had when it was made.\n",
            status=4,
        )
        self.assertEqual(self.read(self.token_file(self.serial)), before)
        self.expect(
            ["setsid", "-w", *self.command("token", "restore", "--ask-pin", "backup")],
            "",
            "secretmem-pkcs11: no terminal to ask for the user PIN of the token in backup\n"
            "  -> Give --pin-file or --pin-fd: a file or a descriptor with the PIN in its first "
            "line.\n",
            status=4,
        )

    def test_without_secret_memory(self):
        """What cannot be opened here is not, unless it was asked for."""
        no_memory = lambda: refuse_secret_memory(errno.ENOSYS)  # noqa: E731
        restore = ["token", "restore", "--replace", self.path("backup")]
        answer = self.run_confined(no_memory, "--json", *restore, status=0)
        self.assertEqual(json.loads(answer.stdout)["unopened_objects"], 2)
        answer = self.run_confined(
            no_memory, *restore, "--pin-file", self.path("user.pin"), status=5
        )
        self.assertEqual(
            answer.stderr,
            "secretmem-pkcs11: the token cannot be opened: there is no secret memory\n"
            "  -> secretmem-pkcs11 status says why. Without a PIN what is sealed stays unopened.\n",
        )

    def test_lifetimes_have_clocks_that_are_opened_too(self):
        self.run_program(sys.executable, "-c", WITH_LIFETIME, module_path(), PIN)
        os.unlink(self.whole)
        self.whole = self.backup()
        self.assertEqual(self.restores("backup", pin=True), TAKEN)
        self.forge("object", "attributes", "kind=3", summed=True)
        found = (self.restores("forged"), self.restores("forged", pin=True))
        self.assertEqual(found, (TAKEN, REFUSED))


if __name__ == "__main__":
    unittest.main()
