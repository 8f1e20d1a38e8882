"""secretmem-pkcs11 token backup and token restore."""

import glob
import json
import os
import sqlite3
import stat
import threading

from backup_case import BackupCase
from harness import LABEL


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
