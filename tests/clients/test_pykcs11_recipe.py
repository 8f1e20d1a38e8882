"""PyKCS11 with RSA, EC and AES keys: docs/clients/pykcs11.md."""

import unittest

from recipe import RecipeTest

MESSAGE = b"a message\n"
PSS = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]


class PyKCS11Recipe(RecipeTest):
    PAGE = "pykcs11"
    PROGRAMS = {"/usr/lib/python3/dist-packages/PyKCS11": "python3-pykcs11"}

    def test_program(self):
        self.write("message.txt", MESSAGE)
        self.follow("Program")
        answer = self.follow("Run it")
        self.assertEqual(
            answer.stdout + answer.stderr,
            "a changed message is refused: CKR_ENCRYPTED_DATA_INVALID\n",
        )
        self.verified("01.pub", "rsa.sig")
        self.verified("01.pub", "pss.sig", *PSS)


if __name__ == "__main__":
    unittest.main()
