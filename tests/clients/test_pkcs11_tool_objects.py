"""pkcs11-tool of OpenSC: keys, certificates, data objects, and the calls it tests modules with."""

import os
import re
import unittest

from harness import PROFILES, ClientTest, fill


class Keys(ClientTest):
    X25519_PRIVATE = (
        "Private Key Object; EC_MONTGOMERY\n"
        "  label:      agreement\n"
        "  ID:         01\n"
        "  Usage:      sign, derive\n"
        "  Access:     sensitive, always sensitive, never extractable, local\n"
        "  Unique ID:  <<private_id=[!-~]+>>\n"
    )
    X25519_PUBLIC = (
        "Public Key Object; EC_MONTGOMERY  EC_POINT 255 bits\n"
        "  EC_POINT:   <<point=[0-9a-f]{64}>>\n"
        "  EC_PARAMS:  06032b656e (OID 1.3.101.110)\n"
        "  label:      agreement\n"
        "  ID:         01\n"
        "  Usage:      verify, derive\n"
        "  Access:     local\n"
        "  Unique ID:  <<public_id=[!-~]+>>\n"
    )

    def setUp(self):
        super().setUp()
        self.make_token()

    def generate(self, *arguments):
        return self.logged_in("--keypairgen", "--key-type", "EC:curve25519", *arguments)

    def test_keypairgen_x25519(self):
        made = self.expect(
            self.generate("--id", "01", "--label", "agreement"),
            "Key pair generated:\n" + self.X25519_PRIVATE + self.X25519_PUBLIC,
        )
        # Another process lists the same; what is private is there only after the login.
        private, public = (fill(text, made) for text in (self.X25519_PRIVATE, self.X25519_PUBLIC))
        self.expect(self.on_token("-O"), PROFILES + public)
        listed = self.run_program(*self.logged_in("-O")).stdout
        listed = listed[listed.index("P", listed.index("(3)")) :]
        self.assertIn(listed, (private + public, public + private), "two objects, in either order")

    def test_two_key_pairs_differ(self):
        self.assertNotEqual(self.make_x25519("01"), self.make_x25519("02"))

    def test_keypairgen_refuses_an_unknown_curve(self):
        self.expect(
            self.logged_in("--keypairgen", "--key-type", "EC:secp192k1", "--id", "01"),
            "",
            "error: PKCS11 function C_GenerateKeyPair failed: "
            "rv = unknown PKCS11 error (0x140)\nAborting.\n",
            status=1,
        )
        self.expect(self.logged_in("-O"), PROFILES)

    def test_keygen_generic(self):
        expected = (
            "Secret Key Object; Generic secret length 32\n"
            "  label:      shared\n"
            "  ID:         02\n"
            "  Usage:      encrypt, decrypt, verify\n"
            "  Access:     never extractable, local\n"
            "  Unique ID:  <<unique_id=[!-~]+>>\n"
        )
        warning = (
            "warning: PKCS11 function C_GetAttributeValue(VALUE) failed: "
            "rv = CKR_ATTRIBUTE_SENSITIVE (0x11)\n\n"
        )
        self.expect(
            self.logged_in(
                "--keygen", "--key-type", "GENERIC:32", "--id", "02", "--label", "shared"
            ),
            "Key generated:\n" + expected,
            warning,
        )
        # pkcs11-tool makes it with CKA_PRIVATE false: it is there without a login.
        self.expect(self.on_token("-O"), PROFILES + expected, warning)

    def test_delete_object(self):
        self.make_x25519()
        self.expect(self.logged_in("--delete-object", "--type", "privkey", "--id", "01"), "")
        self.expect(self.logged_in("-O"), PROFILES + self.X25519_PUBLIC)
        self.expect(self.logged_in("--delete-object", "--type", "pubkey", "--id", "01"), "")
        self.expect(self.logged_in("-O"), PROFILES)
        self.expect(
            self.logged_in("--delete-object", "--type", "privkey", "--id", "01"),
            "",
            "error: object not found\nAborting.\n",
            status=1,
        )

    def test_private_key_cannot_be_deleted_without_login(self):
        self.make_x25519()
        self.expect(
            self.on_token("--delete-object", "--type", "privkey", "--id", "01"),
            "",
            "error: object not found\nAborting.\n",
            status=1,
        )
        self.assertIn("Private Key Object", self.run_program(*self.logged_in("-O")).stdout)

    def test_set_id(self):
        self.make_x25519()
        self.run_program(*self.logged_in("--set-id", "a1b2", "--type", "privkey", "--id", "01"))
        self.expect(
            self.logged_in("-O", "--type", "privkey"),
            self.X25519_PRIVATE.replace("ID:         01", "ID:         a1b2"),
        )


class OtherObjects(ClientTest):
    def setUp(self):
        super().setUp()
        self.make_token()

    def test_certificate(self):
        self.run_program(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "key.pem",
            "-outform",
            "DER",
            "-out",
            "certificate.der",
            "-subj",
            "/CN=client test",
            "-set_serial",
            "0x1234",
            "-days",
            "30",
        )
        shown = (
            "Certificate Object; type = X.509 cert\n"
            "  label:      certificate\n"
            "  subject:    DN: CN=client test\n"
            "  serial:     1234\n"
            "  ID:         07\n"
            "  Unique ID:  <<unique_id=[!-~]+>>\n"
        )
        self.expect(
            self.logged_in(
                "-w", "certificate.der", "--type", "cert", "--id", "07", "--label", "certificate"
            ),
            "Created certificate:\n" + shown,
        )
        self.expect(self.on_token("-O"), PROFILES + shown)
        self.expect(self.on_token("-r", "--type", "cert", "--id", "07", "-o", "read.der"))
        self.assertEqual(self.read("read.der"), self.read("certificate.der"))

    def test_data_object(self):
        data = bytes(range(256)) * 4
        self.write("data.bin", data)
        shown = (
            "Data object <<handle=\\d+>>\n"
            "  label:          'note'\n"
            "  application:    'client test'\n"
            "  app_id:         1.2.3.4\n"
            "  flags:           modifiable\n"
        )
        self.expect(
            self.logged_in(
                "-w",
                "data.bin",
                "--type",
                "data",
                "--label",
                "note",
                "--application-label",
                "client test",
                "--application-id",
                "1.2.3.4",
            ),
            "Created Data Object:\n" + shown,
        )
        self.expect(self.on_token("-O"), PROFILES + shown)
        self.expect(self.on_token("-r", "--type", "data", "--label", "note", "-o", "read.bin"))
        self.assertEqual(self.read("read.bin"), data)

    def test_private_data_object(self):
        secret = b"only after a login: " + os.urandom(16).hex().encode()
        self.write("data.bin", secret)
        shown = (
            "Data object <<handle=\\d+>>\n"
            "  label:          'diary'\n"
            "  application:    ''\n"
            "  app_id:         <empty>\n"
            "  flags:           modifiable private\n"
        )
        self.expect(
            self.logged_in("-w", "data.bin", "--type", "data", "--label", "diary", "--private"),
            "Created Data Object:\n" + shown,
        )
        self.expect(self.on_token("-O"), PROFILES)
        self.expect(self.logged_in("-O"), PROFILES + shown)
        self.expect(self.logged_in("-r", "--type", "data", "--label", "diary", "-o", "read.bin"))
        self.assertEqual(self.read("read.bin"), secret)
        for folder, _, files in os.walk(self.tokens):
            for name in files:
                with open(os.path.join(folder, name), "rb") as f:
                    stored = f.read()
                self.assertNotIn(secret, stored, name)
                self.assertNotIn(b"diary", stored, name)

    def test_session_objects_of_another_process_are_not_there(self):
        self.expect(self.logged_in("-O"), PROFILES)


class Calls(ClientTest):
    def setUp(self):
        super().setUp()
        self.make_token()

    def test_generate_random(self):
        outputs = set()
        for _ in range(2):
            self.expect(self.logged_in("--generate-random", "64", "-o", "random.bin"))
            outputs.add(self.read("random.bin"))
        self.assertEqual({len(o) for o in outputs}, {64})
        self.assertEqual(len(outputs), 2)

    def test_its_own_test(self):
        self.expect(
            self.logged_in("--test"),
            "C_SeedRandom() and C_GenerateRandom():\n"
            "  seems to be OK\n"
            "Digests:\n"
            "  all 4 digest functions seem to work\n"
            "  SHA-1: OK\n"
            "  SHA256: OK\n"
            "Signatures: not implemented\n"
            "Verify (currently only for RSA)\n"
            "  No private key found for testing\n"
            "Decryption (currently only for RSA)\n"
            "No errors\n",
        )

    def test_initialize_in_a_forked_child(self):
        self.expect(
            self.tool("--test-fork"),
            "*** Calling C_Initialize in forked child process ***\n",
            "Using slot 0 with a present token (0x<<slot=[0-9a-f]+>>)\n",
        )

    def test_threads_race_to_initialize(self):
        threads = 3
        options = ["--test-threads", "IL:GI:SL:T0:T1"] * threads
        # Threads that are behind the main program when it ends cost pkcs11-tool a sleep of 30
        # seconds: the random bytes keep it busy a little longer than them.
        answer = self.run_program(
            *self.tool(
                "--use-locking", "--generate-random", "4000000", "-o", "random.bin", *options
            )
        )
        begun = re.findall(r"C_Initialize.* (?:returned|rv:)(?: )?(CKR_\w+)$", answer.stderr, re.M)
        self.assertCountEqual(
            begun,
            ["CKR_OK"] + ["CKR_CRYPTOKI_ALREADY_INITIALIZED"] * threads,
            f"one alone initialises\n{answer}",
        )
        for n in range(threads):
            own = "".join(
                line + "\n"
                for line in answer.stderr.splitlines()
                if line.startswith(f"Test thread {n} ")
            )
            t = f"Test thread {n} "
            self.assert_text(
                own,
                f"{t}started with options:IL:GI:SL:T0:T1\n"
                f"{t}C_Initialize CKF_OS_LOCKING_OK \n"
                f"{t}C_Initialize  returned <<rv=CKR_OK|CKR_CRYPTOKI_ALREADY_INITIALIZED>>\n"
                f"{t}C_GetInfo\n{t}C_GetInfo returned CKR_OK\n"
                f"{t}C_GetSlotList to get l_p11_num_slots\n"
                f"{t}C_GetSlotList returned CKR_OK\n{t}l_p11_num_slots:2\n"
                f"{t}C_GetSlotList\n{t}C_GetSlotList returned CKR_OK\n{t}l_p11_num_slots:2\n"
                f"{t}C_GetTokenInfo from slot_index 0 using show_token\n"
                f"{t}C_GetTokenInfo from slot_index 1 using show_token\n"
                f"{t}returning rv = 0\n",
                f"\n{answer}",
            )
        # The threads' lines mix, but each line is whole: every thread saw the same two slots.
        one = re.findall(r"Slot .*\n((?:  .*\n)+)", self.run_program(*self.tool("-L")).stdout)
        self.assertCountEqual(answer.stdout.splitlines(), "".join(one).splitlines() * threads)
        self.assertIn("test_threads all threads have ended with CKR_OK\n", answer.stderr)

    def test_interfaces(self):
        answer = self.run_program(*self.tool("--list-interfaces"))
        self.assertEqual(
            re.findall(r"Interface '(.*)'\n  version: (.*)\n", answer.stdout),
            [("PKCS 11", "3.2"), ("PKCS 11", "3.0"), ("PKCS 11", "2.40")],
            f"\n{answer}",
        )


if __name__ == "__main__":
    unittest.main()
