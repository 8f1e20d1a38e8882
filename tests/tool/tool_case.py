"""What the tool's tests share."""

import json
import os
import resource
import subprocess

from harness import (  # noqa: F401, some for the tests
    LABEL,
    PIN,
    SO_PIN,
    Answer,
    ClientTest,
    module_path,
    refuse_secret_memory,
    tool_path,
)

def no_locked_memory():
    """In a child before exec: an ordinary user who may lock nothing."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    become_nobody()


def become_nobody():
    """In a child before exec: from root to an ordinary user."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)


class ToolTest(ClientTest):
    def setUp(self):
        super().setUp()
        self.env["SECRETMEM_PKCS11_MODULE"] = module_path()
        self.write("so.pin", SO_PIN.encode() + b"\n")
        self.write("user.pin", PIN.encode() + b"\n")

    def command(self, *arguments):
        return [tool_path(), *arguments]

    def expect_tool(self, arguments, stdout="", stderr="", status=0):
        return self.expect(self.command(*arguments), stdout, stderr, status)

    def json(self, *arguments, status=0):
        return json.loads(self.run_program(*self.command("--json", *arguments), status=status).stdout)

    def run_confined(self, confine, *arguments, status):
        """Runs the tool in a process that has confined itself first."""
        done = subprocess.run(
            self.command(*arguments),
            cwd="/",
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            text=True,
            preexec_fn=confine,
        )
        answer = Answer(arguments, done.returncode, done.stdout, done.stderr)
        self.assertEqual(done.returncode, status, f"\n{answer}")
        return answer

    def init(self, label=LABEL):
        """Makes a token by the tool; returns its serial number."""
        parts = self.expect_tool(
            ["token", "init", "--label", label, "--so-pin-file", "so.pin", "--pin-file", "user.pin"],
            f'Made token "{label}" (<<serial=[0-9a-f]{{16}}>>).\n',
        )
        return parts["serial"]

    def token_file(self, serial):
        return os.path.join(self.tokens, serial + ".token")

    def labels(self, label=LABEL):
        """The labels of the private keys that a client sees after a login."""
        answer = self.run_program(*self.logged_in("--list-objects", "--type", "privkey", label=label))
        return [
            line.split(":", 1)[1].strip()
            for line in answer.stdout.splitlines()
            if line.startswith("  label:")
        ]
