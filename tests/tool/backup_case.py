"""A token and its backups, for the tests of token backup and restore."""

import os
import subprocess

from harness import LABEL
from tool_case import ToolTest


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
