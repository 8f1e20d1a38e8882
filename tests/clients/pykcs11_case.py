"""What the PyKCS11 tests share: programs that use session.py, and RFC 7748's keys."""

import json
import os
import sys
import textwrap

from harness import ClientTest, module_path

# RFC 7748, section 6.1.
ALICE_PRIVATE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB_PRIVATE = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


class PyKCS11Test(ClientTest):
    def setUp(self):
        super().setUp()
        self.make_token()
        self.env["PYTHONPATH"] = os.path.dirname(os.path.realpath(__file__))
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"
        self.env["SECRETMEM_TEST_MODULE"] = module_path()

    def program(self, code, *arguments):
        code = "import sys\nfrom session import *\n" + textwrap.dedent(code)
        return [sys.executable, "-c", code, *arguments]

    def python(self, code, *arguments):
        """Runs a program with session.py's names and returns the one JSON document it prints."""
        answer = self.run_program(*self.program(code, *arguments))
        self.assertEqual(answer.stderr, "", f"\n{answer}")
        return json.loads(answer.stdout)
