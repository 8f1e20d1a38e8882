"""What the tool's tests share."""

import ctypes
import json
import os
import resource
import struct
import subprocess

from harness import LABEL, PIN, SO_PIN, Answer, ClientTest, module_path

MEMFD_SECRET = 447
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000


def tool_path():
    return os.environ["SECRETMEM_TEST_TOOL"]


def refuse_secret_memory(error):
    """In a child before exec: memfd_secret(2) fails with this errno from here on."""
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),  # load the number of the system call
            (0x15, 0, 1, MEMFD_SECRET),
            (0x06, 0, 0, SECCOMP_RET_ERRNO | error),
            (0x06, 0, 0, SECCOMP_RET_ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    filter_program = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_program) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


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
