"""nginx serving HTTPS with a token's keys, through its whole life: docs/clients/nginx.md."""

import os
import pwd
import re
import signal
import unittest

from recipe import READY_SECONDS
from test_openssl import OpenSslTest

WORKER = "www-data"  # the user that the recipe names
REQUESTS = 12


class Nginx(OpenSslTest):
    PAGE = "nginx"
    PROGRAMS = OpenSslTest.PROGRAMS | {"nginx": "nginx", "curl": "curl"}

    def setUp(self):
        super().setUp()
        self.env.update(TOKENS=self.tokens)
        self.follow("Certificates", page="openssl")
        self.follow("Configuration")
        if os.geteuid() == 0:
            os.chmod(self.dir, 0o755)  # the workers have to reach the tokens in it
            self.follow("Workers of another user")
        self.follow("Start")
        self.master = int(self.read("nginx.pid"))
        self.addCleanup(self.end)

    def running(self):
        """Whether the master is there, and no zombie."""
        try:
            with open(f"/proc/{self.master}/stat", encoding="ascii") as f:
                return f.read().rsplit(") ", 1)[1][0] != "Z"
        except FileNotFoundError:
            return False

    def end(self):
        if self.running():
            os.kill(self.master, signal.SIGTERM)
            self.wait_for(lambda: not self.running(), "nginx to end")

    def workers(self):
        """The workers' process numbers, those that shut down left out."""
        with open(f"/proc/{self.master}/task/{self.master}/children", encoding="ascii") as f:
            children = f.read().split()
        names = {}
        for child in children:
            try:
                with open(f"/proc/{child}/cmdline", encoding="utf-8") as f:
                    names[int(child)] = f.read().rstrip("\0 ")
            except FileNotFoundError:
                pass
        return {pid for pid, name in names.items() if name == "nginx: worker process"}

    def log(self):
        return self.read("error.log").decode()

    def request(self):
        """Requests by both certificates; returns the numbers of the processes that served them."""
        answer = self.follow("Request").stdout
        served = re.fullmatch(r"served by (\d+)\nserved by (\d+)\n", answer)
        self.assertIsNotNone(served, answer)
        return {int(n) for n in served.groups()}

    def test_requests_reload_and_shutdown(self):
        first = self.wait_for(lambda: len(w := self.workers()) == 2 and w, "two workers")
        for pid in first:
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                owner = int(re.search(r"^Uid:\t(\d+)", f.read(), re.M).group(1))
            worker = pwd.getpwnam(WORKER).pw_uid if os.geteuid() == 0 else os.geteuid()
            self.assertEqual(owner, worker)
            with open(f"/proc/{pid}/environ", "rb") as f:
                self.assertNotIn(b"SECRETMEM_", f.read(), "the environment was to be cleared")
        for _ in range(REQUESTS):
            self.assertLessEqual(self.request(), first)
        self.follow("Reload")
        second = self.wait_for(
            lambda: len(w := self.workers()) == 2 and not w & first and w, "two new workers"
        )
        for _ in range(REQUESTS):
            self.assertLessEqual(self.request(), second)
        self.follow("Stop")
        self.wait_for(lambda: not self.running(), "nginx to end")
        log = self.log()
        self.assertEqual(
            sorted(re.findall(r"worker process (\d+) exited with code (\d+)", log)),
            sorted((str(pid), "0") for pid in first | second),
            log,
        )
        self.assertNotRegex(log, r"\[(error|crit|alert|emerg)\]")

    def test_the_pin_must_be_right(self):
        self.follow("Stop")
        self.wait_for(lambda: not self.running(), "nginx to end")
        self.env["EC_KEY"] = self.env["EC_KEY"].replace(self.env["PIN"], "not-the-pin")
        self.follow("Configuration")
        answer = self.follow("Start", status=1, timeout=READY_SECONDS)
        self.assertIn("Login failed\n", answer.stderr)


if __name__ == "__main__":
    unittest.main()
