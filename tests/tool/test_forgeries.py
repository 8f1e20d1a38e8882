"""secretmem-pkcs11 token restore, of backups that somebody has changed."""

import errno
import json
import os
import shutil
import sqlite3
import sys

from backup_case import BackupCase
from harness import LABEL, PIN, module_path
from tool_case import refuse_secret_memory

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
            if summed and column == "tags":
                # The index says the same.
                database.execute(
                    "UPDATE tag SET hash=? WHERE hash=? AND object=?",
                    (values["tags"][-16:], found["tags"][-16:], found["id"]),
                )
        database.close()

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

    def test_a_changed_index_is_refused(self):
        one = "WHERE hash=(SELECT max(hash) FROM tag)"
        for change in (
            f"UPDATE tag SET hash=zeroblob(16) {one}",
            f"UPDATE tag SET object=object+1 {one}",
            "DELETE FROM tag WHERE object=1",
        ):
            shutil.copy(self.whole, self.path("forged"))
            with sqlite3.connect(self.path("forged")) as database:
                database.execute(change)
            database.close()
            self.assertEqual(self.restores("forged"), REFUSED, change)

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
