"""Tests that follow a recipe: the commands are read out of a page of docs/clients.

A page's commands are its fenced sh blocks. Those under one heading are run together, as one script
of bash that stops at the first command that fails. The variables that the pages ask the reader to
set are in the environment: MODULE, PIN, SO_PIN and PORT.
"""

import glob
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

from harness import PIN, SO_PIN, Answer, ClientTest, module_path

PAGES = os.environ.get("SECRETMEM_TEST_RECIPES") or os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "..", "..", "docs", "clients"
)
TOKEN = "What every recipe begins with"
CURVES_TOKEN = "A second token for X25519 and Ed25519"
READY_SECONDS = 30


def scripts(page):
    """The scripts of a page of docs/clients by their heading."""
    with open(os.path.join(PAGES, page + ".md"), encoding="utf-8") as f:
        text = f.read()
    found = {}
    for heading, block in re.findall(r"^#+ ([^\n]+)$|^```sh\n(.*?)^```$", text, re.M | re.S):
        if heading:
            title = heading
        else:
            found[title] = found.get(title, "") + block
    return found


# Below what Linux gives to clients (net.ipv4.ip_local_port_range), so that none takes it meanwhile.
PORTS = range(20000, 32000)


def reserve_port():
    """A TCP port that nobody listens on, and a socket that keeps other tests from choosing it."""
    for port in random.sample(PORTS, len(PORTS)):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0secretmem-test-port-{port}")
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("", port))
            return port, reservation
        except OSError:
            reservation.close()
    raise RuntimeError("every port is taken")


class RecipeTest(ClientTest):
    PAGE = ""  # the page's name without .md
    PROGRAMS = {}  # what it needs beside pkcs11-tool and openssl, to its package

    def setUp(self):
        super().setUp()
        # Where ordinary users do not look, but servers are.
        self.env["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
        for program, package in self.PROGRAMS.items():
            if not glob.glob(program) and not shutil.which(program, path=self.env["PATH"]):
                self.fail(f"there is no {program}: install {package}, or all by conf/setup")
        self.port, reservation = reserve_port()
        self.addCleanup(reservation.close)
        self.env.update(MODULE=module_path(), PIN=PIN, SO_PIN=SO_PIN, PORT=str(self.port))
        self.follow(TOKEN, page="README")

    def script(self, title, page=None):
        found = scripts(page or self.PAGE)
        self.assertIn(title, found, f"no commands under that heading of {page or self.PAGE}.md")
        return ["bash", "-euo", "pipefail", "-c", found[title]]

    def follow(self, title, page=None, **kwargs):
        """Runs the commands under a heading and returns their Answer (see run_program).

        What they export is in the environment of those that follow.
        """
        exported = self.path("exported")
        script = self.script(title, page)
        script[-1] += f"env --null >'{exported}'\n"
        answer = self.run_program(*script, **kwargs)
        if answer.status == 0:
            with open(exported, encoding="utf-8") as f:
                self.env = dict(line.split("=", 1) for line in f.read().split("\0")[:-1])
        return answer

    def serve(self, title, page=None, ready=None):
        """Starts the server that is under a heading and waits until it listens on its port.

        Or until ready() is true.

        Returns its process, whose output is in its `log`. It is ended with the test.
        """
        log = self.path("server.log")
        with open(log, "wb") as out:
            server = subprocess.Popen(
                self.script(title, page),
                cwd=self.dir,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server.log = log
        self.addCleanup(self.stop, server)

        def is_ready():
            status = server.poll()
            if status is not None:
                self.fail(f"{Answer(server.args, status, self.log_of(server), '')}")
            return ready() if ready else is_listening(self.port)

        self.wait_for(is_ready, f"the server under '{title}'")
        return server

    def stop(self, server):
        """Ends a server, and what it started in its own session; returns its status."""
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        try:
            return server.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            raise

    def log_of(self, server):
        with open(server.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_for(self, condition, what):
        """Polls until a condition holds and returns what it returned."""
        end = time.monotonic() + READY_SECONDS
        while not (result := condition()):
            self.assertLess(time.monotonic(), end, f"waited in vain for {what}")
            time.sleep(0.01)
        return result

    def software_ec_key(self, name="peer"):
        """Makes a P-256 key outside the token: NAME.pem, and NAME.pub with its public half."""
        make = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out"
        self.run_program(*make.split(), f"{name}.pem")
        self.run_program(*f"openssl pkey -in {name}.pem -pubout -out {name}.pub".split())

    def verified(self, public, signature, *options, digest="sha256", message="message.txt"):
        """Fails unless the openssl program, without any token, takes the signature for good."""
        self.expect(
            ["openssl", "dgst", f"-{digest}", *options]
            + ["-verify", public, "-signature", signature, message],
            "Verified OK\n",
        )


def is_listening(port):
    """Whether somebody listens on the TCP port, found without connecting."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    return True
    return False
