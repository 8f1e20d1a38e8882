"""What client tests share: a token directory each, programs run, whole answers compared."""

import ctypes
import os
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

SO_PIN = "87654321"
PIN = "1234-user"
LABEL = "alpha"

# PBKDF2 at its default of 600,000 iterations would take most of the tests' time, and so would the
# wait after a wrong PIN.
CONFIG = """\
[tokens]
directory = "{tokens}"

[pin]
iterations = 1000
delay_ms = 0
"""
ALLOW_MLOCK = '\n[memory]\nprotection = "allow-mlock"\n'

MEMFD_SECRET = 447  # on every architecture
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000

# DER of a SubjectPublicKeyInfo for X25519 (RFC 8410, section 4) up to the 32 bytes of the key.
X25519_SPKI_PREFIX = bytes.fromhex("302a300506032b656e032100")


def module_path():
    return os.environ["SECRETMEM_TEST_MODULE"]


def tool_path():
    return os.environ["SECRETMEM_TEST_TOOL"]


def allow_mlock():
    """Whether this run sets the locked-memory mode, which takes effect without memfd_secret(2)."""
    return os.environ.get("SECRETMEM_TEST_PROTECTION") == "allow-mlock"


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


def secret_memory():
    """Whether keys must be in memfd_secret(2) memory."""
    if not allow_mlock():
        return True
    descriptor = ctypes.CDLL(None).syscall(MEMFD_SECRET, 0)
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True


# How the module describes itself; pkcs11-tool, p11tool and p11-kit print these. The model says
# where keys are.
MANUFACTURER = "secretmem-pkcs11"
MODEL = "memfd_secret" if secret_memory() else "mlock"

# What every token holds from the start: pkcs11-tool lists it with everything else.
PROFILES = "".join(
    f"Profile object <<profile_{number}=\\d+>>\n  profile_id:          {name} ({number})\n"
    for number, name in (
        (1, "CKP_BASELINE_PROVIDER"),
        (2, "CKP_EXTENDED_PROVIDER"),
        (3, "CKP_AUTHENTICATION_TOKEN"),
    )
)


class Answer:
    """A finished program: its status and everything it printed."""

    def __init__(self, argv, status, stdout, stderr):
        self.argv, self.status, self.stdout, self.stderr = argv, status, stdout, stderr

    def __str__(self):
        return (
            f"$ {' '.join(self.argv)}\n[status {self.status}]\n"
            f"--- standard output\n{self.stdout}--- standard error\n{self.stderr}"
        )


def pattern(expected):
    """A regular expression for expected text in which <<name=regex>> stands for a part that varies.

    A name used again, as <<name>>, must have the same value again.
    """
    out = []
    for i, part in enumerate(re.split(r"<<(.*?)>>", expected, flags=re.S)):
        if i % 2 == 0:
            out.append(re.escape(part))
        elif "=" in part:
            name, regex = part.split("=", 1)
            out.append(f"(?P<{name}>{regex})")
        else:
            out.append(f"(?P={part})")
    return re.compile("".join(out), re.S)


def fill(expected, parts):
    """Expected text with the parts that vary replaced by the values they had."""
    return re.sub(r"<<(\w+)(=.*?)?>>", lambda m: parts[m.group(1)], expected)


class ClientTest(unittest.TestCase):
    maxDiff = None
    longMessage = True

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="client-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.home = os.path.join(self.dir, "home")
        self.tokens = os.path.join(self.dir, "tokens")
        os.mkdir(self.home)
        config = os.path.join(self.dir, "config.toml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(tokens=self.tokens))
            if allow_mlock():
                f.write(ALLOW_MLOCK)
        # Nothing of the caller's environment reaches a client but the search path.
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": self.home,
            "TMPDIR": self.dir,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SECRETMEM_PKCS11_CONF": config,
            "SECRETMEM_PKCS11_LOG": "error",
        }

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def run_program(self, *argv, status=0, text=True, timeout=120):
        """Runs a program to its end and returns its Answer; an unexpected status fails."""
        done = subprocess.run(
            argv,
            cwd=self.dir,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
            text=text,
            encoding="utf-8" if text else None,
        )
        answer = Answer(argv, done.returncode, done.stdout, done.stderr)
        self.assertEqual(done.returncode, status, f"\n{answer}")
        return answer

    def assert_text(self, actual, expected, message=""):
        """Compares a whole text with an expected one (see pattern); returns the varying parts."""
        found = pattern(expected).fullmatch(actual)
        if found is None:
            # Show the parts that vary as they are, so that the difference reads easily.
            self.assertMultiLineEqual(actual, expected, message)
            self.fail(f"a varying part has an unexpected form\n{message}")
        return found.groupdict()

    def expect(self, argv, stdout="", stderr="", status=0, **kwargs):
        """Runs a program and compares everything it prints; returns the varying parts by name."""
        answer = self.run_program(*argv, status=status, **kwargs)
        parts = self.assert_text(answer.stdout, stdout, f"\n{answer}")
        parts.update(self.assert_text(answer.stderr, stderr, f"\n{answer}"))
        return parts

    # pkcs11-tool, which most tests need to set the scene.

    def tool(self, *arguments):
        return ["pkcs11-tool", "--module", module_path(), *arguments]

    def on_token(self, *arguments, label=LABEL):
        return self.tool("--token-label", label, *arguments)

    def logged_in(self, *arguments, label=LABEL, pin=PIN):
        return self.on_token("--login", "--pin", pin, *arguments, label=label)

    def make_token(self, label=LABEL, index=0):
        """Initialises the token in slot number index of the list, and its user PIN."""
        self.run_program(
            *self.tool(
                "--init-token", "--slot-index", str(index), "--label", label, "--so-pin", SO_PIN
            )
        )
        self.run_program(
            *self.on_token(
                "--init-pin",
                "--login",
                "--login-type",
                "so",
                "--so-pin",
                SO_PIN,
                "--new-pin",
                PIN,
                label=label,
            )
        )

    def make_x25519(self, key_id="01", label="agreement"):
        """Makes an X25519 key pair by pkcs11-tool; returns the public key's 32 bytes."""
        answer = self.run_program(
            *self.logged_in(
                "--keypairgen", "--key-type", "EC:curve25519", "--id", key_id, "--label", label
            )
        )
        return bytes.fromhex(re.search(r"EC_POINT: +([0-9a-f]{64})\n", answer.stdout).group(1))

    # The openssl program, as the other side of every agreement.

    def software_key(self, name="software.pem"):
        """Makes an X25519 key outside the token; returns its file and the public key's 32 bytes."""
        self.run_program("openssl", "genpkey", "-algorithm", "x25519", "-out", name)
        public = self.run_program(
            "openssl", "pkey", "-in", name, "-pubout", "-outform", "DER", text=False
        ).stdout
        self.assertEqual(public[:12], X25519_SPKI_PREFIX)
        return self.path(name), public[12:]

    def software_derive(self, key_file, peer):
        """What openssl computes from its own key and the 32 bytes of the token's public key."""
        spki = self.write("peer.der", X25519_SPKI_PREFIX + peer)
        return self.run_program(
            "openssl",
            "pkeyutl",
            "-derive",
            "-inkey",
            key_file,
            "-peerkey",
            spki,
            "-peerform",
            "DER",
            text=False,
        ).stdout
