"""PyKCS11: X25519 keys imported, generated, found, read and derived with.

What they derive is compared with RFC 7748 and with the openssl program on the other side.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import unittest

from harness import PIN, ClientTest, module_path, secret_memory

# RFC 7748, section 6.1.
ALICE_PRIVATE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB_PRIVATE = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def x963(hash_name, secret, shared_info, length):
    """The key derivation function of ANSI X9.63 (SEC 1, section 3.6.1)."""
    out, counter = b"", 1
    while len(out) < length:
        out += hashlib.new(hash_name, secret + counter.to_bytes(4, "big") + shared_info).digest()
        counter += 1
    return out[:length]


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


class Agreement(PyKCS11Test):
    def test_rfc_7748_keys_imported(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            alice, bob, alice_public, bob_public = (bytes.fromhex(a) for a in sys.argv[2:6])
            a = s.createObject(private_key(alice, TOKEN=False, SENSITIVE=True, EXTRACTABLE=False))
            b = s.createObject(private_key(bob, TOKEN=True, SENSITIVE=True, EXTRACTABLE=False))
            answer([read(s, derive(s, a, bob_public), "VALUE").hex(),
                    read(s, derive(s, b, alice_public), "VALUE").hex()])
            """,
            PIN, ALICE_PRIVATE, BOB_PRIVATE, ALICE_PUBLIC, BOB_PUBLIC,
        )  # fmt: skip
        self.assertEqual(got, [SHARED, SHARED])

    def test_imported_key_serves_another_process(self):
        self.python(
            """
            s = open_session(pin=sys.argv[1])
            s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=True, LABEL="alice"))
            answer(None)
            """,
            PIN, ALICE_PRIVATE,
        )  # fmt: skip
        got = self.python(
            """
            s = open_session(pin=sys.argv[1], write=False)
            base = find_one(s, LABEL="alice")
            answer(read(s, derive(s, base, bytes.fromhex(sys.argv[2])), "VALUE").hex())
            """,
            PIN, BOB_PUBLIC,
        )  # fmt: skip
        self.assertEqual(got, SHARED)

    DERIVE = """
        s = open_session(pin=sys.argv[1])
        base = find_one(s, CLASS=c.CKO_PRIVATE_KEY, KEY_TYPE=c.CKK_EC_MONTGOMERY)
        answer(read(s, derive(s, base, bytes.fromhex(sys.argv[2])), "VALUE").hex())
        """

    def test_pkcs11_tool_key_agrees_with_openssl(self):
        token_public = self.make_x25519()
        key_file, software_public = self.software_key()
        got = self.python(self.DERIVE, PIN, software_public.hex())
        self.assertEqual(got, self.software_derive(key_file, token_public).hex())

    def test_generated_key_agrees_with_openssl(self):
        key_file, software_public = self.software_key()
        token_public, got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            public, private = s.generateKeyPair(
                template(EC_PARAMS=X25519_OID, TOKEN=False, PRIVATE=False),
                template(TOKEN=False, PRIVATE=True, SENSITIVE=True, DERIVE=True),
                PyKCS11.Mechanism(c.CKM_EC_MONTGOMERY_KEY_PAIR_GEN))
            answer([read(s, public, "EC_POINT").hex(),
                    read(s, derive(s, private, bytes.fromhex(sys.argv[2])), "VALUE").hex()])
            """,
            PIN, software_public.hex(),
        )  # fmt: skip
        self.assertEqual(len(token_public), 64)
        self.assertEqual(got, self.software_derive(key_file, bytes.fromhex(token_public)).hex())

    def test_x963_key_derivation_functions(self):
        hashes = {"CKD_SHA1_KDF": "sha1"}
        hashes.update({f"CKD_SHA{n}_KDF": f"sha{n}" for n in (224, 256, 384, 512)})
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            base = s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=False))
            numbers = dict(CKD_SHA1_KDF=2, CKD_SHA224_KDF=5, CKD_SHA256_KDF=6, CKD_SHA384_KDF=7, CKD_SHA512_KDF=8)
            answer({name: read(s, derive(s, base, bytes.fromhex(sys.argv[3]), kdf, b"shared info", VALUE_LEN=80),
                               "VALUE").hex() for name, kdf in numbers.items()})
            """,
            PIN, ALICE_PRIVATE, BOB_PUBLIC,
        )  # fmt: skip
        secret = bytes.fromhex(SHARED)
        self.assertEqual(
            got, {name: x963(h, secret, b"shared info", 80).hex() for name, h in hashes.items()}
        )

    def test_aes_key_of_16_bytes_keeps_the_last_bytes(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            base = s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=False))
            key = derive(s, base, bytes.fromhex(sys.argv[3]), KEY_TYPE=c.CKK_AES, VALUE_LEN=16)
            answer(attributes(s, key, ["CLASS", "KEY_TYPE", "VALUE_LEN", "VALUE"]))
            """,
            PIN, ALICE_PRIVATE, BOB_PUBLIC,
        )  # fmt: skip
        self.assertEqual(got, {"CLASS": 4, "KEY_TYPE": 0x1F, "VALUE_LEN": 16, "VALUE": SHARED[32:]})

    def test_bad_peers_are_refused_and_make_no_key(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            base = s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=False))
            peers = dict(zero=bytes(32), one=b"\\1" + bytes(31), short=bytes(range(1, 32)), long=bytes(range(1, 34)))
            errors = {name: error(derive, s, base, peer) for name, peer in peers.items()}
            answer([errors, len(find(s, CLASS=c.CKO_SECRET_KEY))])
            """,
            PIN, ALICE_PRIVATE,
        )  # fmt: skip
        self.assertEqual(got, [{name: "CKR_PUBLIC_KEY_INVALID" for name in ("zero", "one", "short", "long")}, 0])


class Attributes(PyKCS11Test):
    FLAGS = [
        "TOKEN", "PRIVATE", "MODIFIABLE", "COPYABLE", "DESTROYABLE", "SENSITIVE", "EXTRACTABLE", "LOCAL",
        "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "ALWAYS_AUTHENTICATE", "WRAP_WITH_TRUSTED", "DERIVE",
    ]  # fmt: skip

    def test_private_key_made_by_pkcs11_tool(self):
        self.make_x25519()
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            key = find_one(s, CLASS=c.CKO_PRIVATE_KEY)
            answer(attributes(s, key, ["CLASS", "KEY_TYPE", "LABEL", "ID", "EC_PARAMS", "VALUE",
                                       "KEY_GEN_MECHANISM"] + sys.argv[2].split()))
            """,
            PIN, " ".join(self.FLAGS),
        )  # fmt: skip
        self.assertEqual(
            got,
            {
                "CLASS": 3, "KEY_TYPE": 0x41, "LABEL": "agreement", "ID": True, "EC_PARAMS": "06032b656e",
                "VALUE": "CKR_ATTRIBUTE_SENSITIVE", "KEY_GEN_MECHANISM": 0x1056,
                "TOKEN": True, "PRIVATE": True, "MODIFIABLE": True, "COPYABLE": True, "DESTROYABLE": True,
                "SENSITIVE": True, "EXTRACTABLE": False, "LOCAL": True, "ALWAYS_SENSITIVE": True,
                "NEVER_EXTRACTABLE": True, "ALWAYS_AUTHENTICATE": False, "WRAP_WITH_TRUSTED": False, "DERIVE": True,
            },
        )  # fmt: skip

    def test_public_key_made_by_pkcs11_tool(self):
        point = self.make_x25519()
        got = self.python(
            """
            s = open_session()
            key = find_one(s, CLASS=c.CKO_PUBLIC_KEY)
            answer(attributes(s, key, ["CLASS", "KEY_TYPE", "LABEL", "EC_PARAMS", "EC_POINT", "KEY_GEN_MECHANISM",
                                       "TOKEN", "PRIVATE", "LOCAL", "DERIVE", "VERIFY", "VALUE"]))
            """
        )
        self.assertEqual(
            got,
            {
                "CLASS": 2, "KEY_TYPE": 0x41, "LABEL": "agreement", "EC_PARAMS": "06032b656e",
                "EC_POINT": point.hex(), "KEY_GEN_MECHANISM": 0x1056, "TOKEN": True, "PRIVATE": False,
                "LOCAL": True, "DERIVE": True, "VERIFY": True, "VALUE": "CKR_ATTRIBUTE_TYPE_INVALID",
            },
        )  # fmt: skip

    def test_imported_key_is_not_local_and_was_not_always_sensitive(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            value = bytes.fromhex(sys.argv[2])
            sensitive = s.createObject(private_key(value, TOKEN=True, SENSITIVE=True, EXTRACTABLE=False))
            open_ = s.createObject(private_key(value, TOKEN=False, SENSITIVE=False, EXTRACTABLE=True))
            names = ["VALUE", "SENSITIVE", "EXTRACTABLE", "LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE"]
            answer([attributes(s, sensitive, names), attributes(s, open_, names)])
            """,
            PIN, ALICE_PRIVATE,
        )  # fmt: skip
        never = {"LOCAL": False, "ALWAYS_SENSITIVE": False, "NEVER_EXTRACTABLE": False}
        self.assertEqual(
            got,
            [
                {"VALUE": "CKR_ATTRIBUTE_SENSITIVE", "SENSITIVE": True, "EXTRACTABLE": False, **never},
                {"VALUE": ALICE_PRIVATE, "SENSITIVE": False, "EXTRACTABLE": True, **never},
            ],
        )

    def test_unique_ids_differ(self):
        self.make_x25519("01")
        self.make_x25519("02")
        # PyKCS11 1.5.12 does not know CKA_UNIQUE_ID (0x00000004) by name.
        program = """
            c.CKA_UNIQUE_ID = 4
            s = open_session(pin=sys.argv[1])
            answer([attributes(s, o, ["UNIQUE_ID"])["UNIQUE_ID"] for o in s.findObjects()])
            """
        ids = self.python(program, PIN)
        self.assertEqual(len(ids), 4)
        self.assertEqual(len(set(ids)), 4)
        self.assertNotIn("", ids)
        self.assertCountEqual(self.python(program, PIN), ids, "another process reads the same")

    def test_set_label_lasts(self):
        self.make_x25519()
        self.python(
            """
            s = open_session(pin=sys.argv[1])
            s.setAttributeValue(find_one(s, CLASS=c.CKO_PRIVATE_KEY), template(LABEL="renamed"))
            answer(None)
            """,
            PIN,
        )
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            answer([len(find(s, LABEL="renamed")), len(find(s, CLASS=c.CKO_PRIVATE_KEY, LABEL="agreement")),
                    error(s.setAttributeValue, find_one(s, LABEL="renamed"), template(SENSITIVE=False)),
                    error(s.setAttributeValue, find_one(s, LABEL="renamed"), template(EXTRACTABLE=True))])
            """,
            PIN,
        )
        self.assertEqual(got, [1, 0, "CKR_ATTRIBUTE_READ_ONLY", "CKR_ATTRIBUTE_READ_ONLY"])


class Searches(PyKCS11Test):
    def test_private_objects_are_there_while_logged_in(self):
        self.make_x25519()
        got = self.python(
            """
            s = open_session()
            counts = [len(s.findObjects())]
            s.login(sys.argv[1])
            counts.append(len(s.findObjects()))
            key = find_one(s, CLASS=c.CKO_PRIVATE_KEY)
            s.logout()
            counts.append(len(s.findObjects()))
            # The specification ends the handles of private objects with the login.
            answer([counts, read(s, key, "LABEL")])
            """,
            PIN,
        )
        self.assertEqual(got, [[1, 2, 1], "CKR_OBJECT_HANDLE_INVALID"])

    def test_templates_choose(self):
        self.make_x25519("01", "one")
        self.make_x25519("02", "two")
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            answer([len(found) for found in (
                find(s), find(s, CLASS=c.CKO_PRIVATE_KEY), find(s, LABEL="one"), find(s, ID=b"\\2"),
                find(s, ID=b"\\2", CLASS=c.CKO_PUBLIC_KEY), find(s, KEY_TYPE=c.CKK_EC_MONTGOMERY),
                find(s, LABEL="on"), find(s, LABEL="one", ID=b"\\2"), find(s, TOKEN=False),
                find(s, EC_PARAMS=X25519_OID, CLASS=c.CKO_PRIVATE_KEY))])
            """,
            PIN,
        )
        self.assertEqual(got, [4, 2, 2, 2, 1, 4, 0, 0, 0, 2])

    def test_another_process_sees_what_is_committed(self):
        watcher = subprocess.Popen(
            self.program(
                """
                s = open_session(pin=sys.argv[1])
                for _ in sys.stdin:
                    answer(sorted(read(s, o, "LABEL").decode() for o in s.findObjects()))
                """,
                PIN,
            ),
            env=self.env, cwd=self.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with watcher:
            try:

                def look():
                    watcher.stdin.write("look\n")
                    watcher.stdin.flush()
                    return json.loads(watcher.stdout.readline())

                self.assertEqual(look(), [])
                self.make_x25519("01", "one")
                self.assertEqual(look(), ["one", "one"])
                self.run_program(*self.logged_in("--delete-object", "--type", "privkey", "--id", "01"))
                self.assertEqual(look(), ["one"])
                watcher.stdin.close()
                self.assertEqual(watcher.wait(timeout=60), 0)
            finally:
                watcher.kill()


class Sessions(PyKCS11Test):
    def test_login_belongs_to_the_application(self):
        got = self.python(
            """
            s = open_session()
            other = lib.openSession(slot("alpha"), c.CKF_SERIAL_SESSION)
            states = lambda: [x.getSessionInfo().state2text() for x in (s, other)]
            out = [states(), error(s.login, "not the PIN"), states()]
            s.login(sys.argv[1])
            out += [states(), error(other.login, sys.argv[1])]
            other.logout()
            out += [states(), error(s.logout)]
            answer(out)
            """,
            PIN,
        )
        public = ["CKS_RW_PUBLIC_SESSION", "CKS_RO_PUBLIC_SESSION"]
        user = ["CKS_RW_USER_FUNCTIONS", "CKS_RO_USER_FUNCTIONS"]
        self.assertEqual(
            got,
            [public, "CKR_PIN_INCORRECT", public, user, "CKR_USER_ALREADY_LOGGED_IN", public, "CKR_USER_NOT_LOGGED_IN"],
        )  # fmt: skip

    def test_read_only_session_writes_no_token_object(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1], write=False)
            value = bytes.fromhex(sys.argv[2])
            answer([error(s.createObject, private_key(value, TOKEN=True)),
                    error(s.createObject, private_key(value, TOKEN=False))])
            """,
            PIN, ALICE_PRIVATE,
        )  # fmt: skip
        self.assertEqual(got, ["CKR_SESSION_READ_ONLY", "CKR_OK"])

    def test_random(self):
        got = self.python(
            """
            s = open_session()
            answer([bytes(s.generateRandom(n)).hex() for n in (0, 1, 32, 32, 100000)])
            """
        )
        self.assertEqual([len(h) // 2 for h in got], [0, 1, 32, 32, 100000])
        self.assertNotEqual(got[2], got[3])
        self.assertEqual(len(set(re.findall("..", got[4]))), 256)

    def test_openssl_of_the_same_process_is_undisturbed(self):
        got = self.python(
            """
            import hashlib, ssl
            before = hashlib.new("sha256", b"abc").hexdigest()
            s = open_session(pin=sys.argv[1])
            key = s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=False))
            secret = read(s, derive(s, key, bytes.fromhex(sys.argv[3])), "VALUE").hex()
            context = ssl.create_default_context()
            answer([secret, hashlib.new("sha256", b"abc").hexdigest() == before,
                    ssl.OPENSSL_VERSION.startswith("OpenSSL 3"), len(ssl.RAND_bytes(16))])
            """,
            PIN, ALICE_PRIVATE, BOB_PUBLIC,
        )  # fmt: skip
        self.assertEqual(got, [SHARED, True, True, 16])


@unittest.skipUnless(secret_memory(), "this run allows locked memory")
class Memory(PyKCS11Test):
    def test_keys_are_mapped_from_secret_memory_after_login_only(self):
        self.make_x25519()
        got = self.python(
            """
            def regions():
                with open("/proc/self/maps") as maps:
                    return [line.split()[1] for line in maps if line.rstrip().endswith("/secretmem (deleted)")]
            s = open_session()
            before = regions()
            s.login(sys.argv[1])
            find_one(s, CLASS=c.CKO_PRIVATE_KEY)
            answer([before, sorted(set(regions()))])
            """,
            PIN,
        )
        # No region before the first login: while one exists the machine cannot hibernate.
        self.assertEqual(got, [[], ["rw-s"]])

    def test_no_descriptor_stays_open(self):
        self.make_x25519()
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            key = find_one(s, CLASS=c.CKO_PRIVATE_KEY)
            derive(s, key, bytes.fromhex(sys.argv[2]))
            links = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                     if os.path.lexists(f"/proc/self/fd/{n}")]
            answer([link for link in links if "secretmem" in link and not link.endswith(".token")])
            """,
            PIN, BOB_PUBLIC,
        )  # fmt: skip
        self.assertEqual(got, [])


if __name__ == "__main__":
    unittest.main()
