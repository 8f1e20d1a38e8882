"""secretmem-pkcs11 audit of whole programs, set up as their recipes say: nginx, ssh, sshd, ssh-agent."""

import json
import os

from harness import PIN
from recipe import RecipeTest
from test_openssl import OpenSslTest
from tool_case import tool_path

UNTIL_IT_LISTENS = 'until (: <"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; do sleep 0.05; done\n'


def with_keys(seen):
    """The names of processes that had keys in secret memory."""
    return [one["name"] for one in seen if one["secret_bytes"] > 0]


class Audited:
    def audit(self, script):
        """Runs a script under the audit; returns what was seen of processes that loaded the module."""
        self.write("user.pin", PIN.encode() + b"\n")
        answer = self.run_program(
            *(tool_path(), "--json", "audit", "--pin-file", "user.pin", "--"),
            *("bash", "-euo", "pipefail", "-c", script),
        )
        found = json.loads(answer.stdout)
        self.assertEqual((found["ok"], found["findings"], found["exit_code"]), (True, [], 0), answer)
        self.assertEqual([key["kind"] for key in found["keys"]], ["EC private key", "RSA private key"])
        return [one for one in found["processes"] if one["loaded_module"]]

    def commands(self, title, page=None):
        return self.script(title, page)[-1]


class Nginx(Audited, OpenSslTest):
    PAGE = "nginx"
    PROGRAMS = OpenSslTest.PROGRAMS | {"nginx": "nginx", "curl": "curl"}

    def test_a_server_with_workers(self):
        self.env.update(TOKENS=self.tokens)
        self.follow("Certificates", page="openssl")
        self.follow("Configuration")
        if os.geteuid() == 0:
            os.chmod(self.dir, 0o755)  # the workers have to reach the tokens in it
            self.follow("Workers of another user")
        seen = self.audit(
            self.commands("Start")
            + UNTIL_IT_LISTENS
            + self.commands("Request") * 3
            + self.commands("Reload")
            + self.commands("Request") * 3
            + self.commands("Stop")
            + "while [ -e nginx.pid ]; do sleep 0.05; done\n"
        )
        # A master, two workers before and after the reload, and whoever sent the signals.
        self.assertEqual(set(with_keys(seen)), {"nginx"})
        self.assertGreaterEqual(len(with_keys(seen)), 5)


class Ssh(Audited, RecipeTest):
    PAGE = "ssh"
    PROGRAMS = {"ssh": "openssh-client", "sftp": "openssh-client", "/usr/sbin/sshd": "openssh-server"}

    def setUp(self):
        super().setUp()
        self.write("askpass", f"#!/bin/sh\necho {PIN}\n".encode())
        os.chmod(self.path("askpass"), 0o755)
        self.env.update(SSH_ASKPASS=self.path("askpass"), SSH_ASKPASS_REQUIRE="force")
        self.follow("Keys")
        self.follow("Public keys")
        self.follow("A server to try it with")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)

    def test_ssh_and_sshd(self):
        server = self.commands("Start the server").rstrip("\n") + " &\n"
        seen = self.audit(
            server + UNTIL_IT_LISTENS + self.commands("Copy a file") + "kill $!\nwait $! || true\n"
        )
        self.assertEqual(self.read("copied"), self.read("authorized_keys"))
        self.assertEqual(with_keys(seen), ["ssh"])

    def test_the_agent(self):
        self.write("message.txt", b"a message\n")
        seen = self.audit(
            self.commands("Agent")
            + self.commands("Give the agent the token")
            + self.commands("Sign and verify a file")
            + self.commands("Stop the agent")
        )
        self.assertEqual(with_keys(seen), ["ssh-pkcs11-help"])
