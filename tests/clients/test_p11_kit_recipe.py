"""p11-kit's server and client, a token used through a socket: docs/clients/p11-kit.md."""

import os
import unittest

from recipe import RecipeTest


class P11KitRecipe(RecipeTest):
    PAGE = "p11-kit"
    PROGRAMS = {
        "/usr/lib/*/pkcs11/p11-kit-client.so": "p11-kit-modules",
        "/usr/libexec/p11-kit/p11-kit-server": "p11-kit",
    }

    def test_server_and_client(self):
        self.write("message.txt", b"a message\n")
        server = self.serve("Serve a token", ready=lambda: os.path.exists(self.path("token.sock")))
        self.follow("Use it")
        self.verified("ec.pub", "ec.sig")
        self.verified("rsa.pub", "rsa.sig")
        self.assertIsNone(server.poll())
        # The keys are the token's, whoever asks.
        listed = self.run_program(*self.on_token("-O", "--type", "pubkey", label="main")).stdout
        self.assertEqual(listed.count("Public Key Object; EC  EC_POINT 256 bits\n"), 1)
        self.assertEqual(listed.count("Public Key Object; RSA 2048 bits\n"), 1)


if __name__ == "__main__":
    unittest.main()
