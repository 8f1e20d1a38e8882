"""OpenSSH: logging in, the agent, signatures and certificates: docs/clients/ssh.md."""

import os
import pwd
import re
import signal
import unittest

from harness import PIN
from recipe import RecipeTest

NO_SHELL = "This account is currently not available.\n"


class Ssh(RecipeTest):
    PAGE = "ssh"
    PROGRAMS = {
        "ssh": "openssh-client",
        "ssh-agent": "openssh-client",
        "sftp": "openssh-client",
        "/usr/sbin/sshd": "openssh-server",
    }

    def setUp(self):
        super().setUp()
        # Answers in the place of the user, and notes the question.
        self.write(
            "askpass", f"#!/bin/sh\necho \"$1\" >>'{self.path('asked')}'\necho {PIN}\n".encode()
        )
        os.chmod(self.path("askpass"), 0o755)
        self.env.update(SSH_ASKPASS=self.path("askpass"), SSH_ASKPASS_REQUIRE="force")
        self.follow("Keys")
        self.follow("Public keys")
        self.write("message.txt", b"a message\n")
        listed = self.run_program(*"ssh-keygen -l -f authorized_keys".split()).stdout
        self.fingerprints = [line.split()[1] for line in listed.splitlines()]

    def start_server(self):
        self.follow("A server to try it with")
        if os.geteuid() == 0:
            # sshd wants this folder if it runs as root; the service has it made at each boot.
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        return self.serve("Start the server")

    def assert_logged_in(self, server, number):
        """The server let the number-th key of the token in, by its own account."""
        key_type = ("ECDSA", "RSA")[number]
        user = pwd.getpwuid(os.geteuid()).pw_name
        self.assertRegex(
            self.log_of(server),
            rf"(?m)^Accepted publickey for {user} from 127\.0\.0\.1 port \d+ ssh2: "
            rf"{key_type} {re.escape(self.fingerprints[number])}\s*$",
        )

    def assert_asked(self, *questions):
        self.assertEqual(self.read("asked").decode().splitlines(), list(questions))

    def start_agent(self):
        self.follow("Agent")
        self.agent = int(self.env["SSH_AGENT_PID"])
        self.addCleanup(self.end_agent)
        self.follow("Give the agent the token")

    def end_agent(self):
        try:
            os.kill(self.agent, signal.SIGTERM)
        except ProcessLookupError:
            pass

    def test_public_keys(self):
        listed = self.read("authorized_keys").decode().splitlines()
        self.assertEqual(
            [(line.split()[0], line.split()[2]) for line in listed],
            [("ecdsa-sha2-nistp256", "ssh-ec"), ("ssh-rsa", "ssh-rsa")],
        )

    def test_log_in(self):
        server = self.start_server()
        shell = pwd.getpwuid(os.geteuid()).pw_shell
        if shell.endswith(("/nologin", "/false")):
            answer = self.follow("Log in", status=1)
            self.assertEqual(answer.stdout, NO_SHELL if shell.endswith("/nologin") else "")
        else:
            self.assertEqual(self.follow("Log in").stdout, "logged in\n")
        self.assert_logged_in(server, 0)
        self.assert_asked("Enter PIN for 'main': ")

    def test_copy_a_file(self):
        server = self.start_server()
        self.follow("Copy a file")
        self.assertEqual(self.read("copied"), self.read("authorized_keys"))
        self.assert_logged_in(server, 0)

    def test_copy_a_file_with_rsa(self):
        lines = self.read("authorized_keys").splitlines(True)
        self.write("authorized_keys", lines[1])
        server = self.start_server()
        self.follow("Copy a file")
        self.assertEqual(self.read("copied"), lines[1])
        self.assert_logged_in(server, 1)

    def test_a_key_that_is_not_authorized(self):
        server = self.start_server()
        self.write("authorized_keys", b"")
        answer = self.follow("Copy a file", status=255)
        self.assertEqual(answer.stderr, "Connection closed\n")
        self.wait_for(
            lambda: "Connection closed by authenticating user " in self.log_of(server),
            "sshd's word on the matter",
        )
        self.assertNotIn("Accepted", self.log_of(server))

    def test_agent(self):
        server = self.start_server()
        self.start_agent()
        self.assertEqual(self.read("agent.pub"), self.read("authorized_keys"))
        self.assert_asked("Enter passphrase for PKCS#11: ")
        self.follow("Log in through the agent")
        self.assertEqual(self.read("copied-by-agent"), self.read("authorized_keys"))
        self.assert_logged_in(server, 0)
        answer = self.follow("Stop the agent")
        self.assertIn("Card removed: ", answer.stderr)
        self.assertIn(f"Agent pid {self.agent} killed", answer.stdout)

    def test_sign_and_verify_a_file(self):
        self.start_agent()
        answer = self.follow("Sign and verify a file")
        self.assertEqual(
            answer.stdout,
            'Good "file" signature for me@example.org with ECDSA key ' f"{self.fingerprints[0]}\n",
        )
        self.write("message.txt", b"another message\n")
        verify = "ssh-keygen -Y verify -n file -I me@example.org -f allowed_signers"
        answer = self.run_program(
            "sh", "-c", verify + " -s message.txt.sig <message.txt", status=255
        )
        self.assertIn("Signature verification failed: incorrect signature\n", answer.stderr)

    def test_certificate_authority(self):
        self.follow("Certificate authority")
        shown = self.run_program(*"ssh-keygen -L -f user-cert.pub".split()).stdout
        self.assertIn(
            f"Signing CA: ECDSA {self.fingerprints[0]} (using ecdsa-sha2-nistp256)\n", shown
        )
        self.assertIn('Key ID: "a user"\n', shown)
        # ssh-keygen shows a certificate without checking it; sshd checks.
        self.write("authorized_keys", b'cert-authority,principals="login" ' + self.read("ca.pub"))
        server = self.start_server()
        self.run_program(
            *"sftp -q -F ssh_config -i user".split(),
            f"try:{self.path('authorized_keys')}",
            "copied",
        )
        self.assertEqual(self.read("copied"), self.read("authorized_keys"))
        self.assertIn("Accepted publickey", self.log_of(server))


if __name__ == "__main__":
    unittest.main()
