"""What the user is told, by pkcs11-tool and the log, where the kernel keeps secret memory from us."""

import os
import unittest

from harness import CONFIG, PROFILES, ClientTest, allow_mlock

TOOL_FAILED = (
    "Main C_Initialize(NULL) rv:CKR_FUNCTION_FAILED\n"
    "error: PKCS11 function C_Initialize failed: rv = CKR_FUNCTION_FAILED (0x6)\n"
    "Aborting.\n"
)
NO_SYSTEM_CALL = (
    "secretmem-pkcs11: error: secret memory: this kernel offers no memfd_secret(2): "
    "use Linux 6.5 or newer, or boot 5.14 to 6.4 with secretmem.enable=1, "
    'or set memory.protection = "allow-mlock"\n'
)
FORBIDDEN = (
    "secretmem-pkcs11: error: secret memory: memfd_secret(2) is forbidden to this process, "
    'by a seccomp filter for example: allow the call, or set memory.protection = "allow-mlock"\n'
)
NO_RANDOM = (
    "secretmem-pkcs11: error: secret memory: getrandom(2) does not work in this process: "
    "allow the call\n"
)


class Refusals(ClientTest):
    def configure(self, more=""):
        with open(self.env["SECRETMEM_PKCS11_CONF"], "w", encoding="utf-8") as f:
            f.write(CONFIG.format(tokens=self.tokens) + more)

    def failing(self, call, error, *argv):
        """A command line that runs argv where a system call fails."""
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}")
        return ["strace", "-f", "-qq", "-o", os.devnull, *inject, *argv]

    def test_kernel_without_memfd_secret(self):
        self.configure()
        command = self.failing("memfd_secret", "ENOSYS", *self.tool("-L"))
        self.expect(command, "", NO_SYSTEM_CALL + TOOL_FAILED, status=1)

    def test_memfd_secret_forbidden(self):
        self.configure()
        command = self.failing("memfd_secret", "EPERM", *self.tool("-L"))
        self.expect(command, "", FORBIDDEN + TOOL_FAILED, status=1)

    def test_getrandom_forbidden(self):
        command = self.failing("getrandom", "EPERM", *self.tool("-L"))
        self.expect(command, "", NO_RANDOM + TOOL_FAILED, status=1)

    def test_locked_memory_is_visible(self):
        self.configure('\n[memory]\nprotection = "allow-mlock"\n')
        self.make_token()
        command = self.failing("memfd_secret", "ENOSYS", *self.tool("-L"))
        self.assertIn("  token model        : mlock\n", self.run_program(*command).stdout)

    @unittest.skipIf(os.geteuid() == 0, "root is exempt from the memory-lock limit")
    @unittest.skipIf(allow_mlock(), "the run is of the locked-memory mode")
    def test_memory_lock_limit_reached(self):
        self.make_token()
        self.expect(
            ["prlimit", "--memlock=4096:4096", *self.logged_in("-O")],
            "",
            "secretmem-pkcs11: error: C_Login: no secret memory or no disk space is left: raise "
            "RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=) or make room for the token's file\n"
            "error: PKCS11 function C_Login failed: rv = CKR_DEVICE_MEMORY (0x31)\nAborting.\n",
            status=1,
        )
        self.expect(self.logged_in("-O"), PROFILES)


if __name__ == "__main__":
    unittest.main()
