"""PyKCS11: sessions, and the module as a part of its process: forks, OpenSSL, memory."""

import re
import unittest

from harness import PIN, secret_memory
from pykcs11_case import ALICE_PRIVATE, BOB_PUBLIC, SHARED, PyKCS11Test


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
            [
                public,
                "CKR_PIN_INCORRECT",
                public,
                user,
                "CKR_USER_ALREADY_LOGGED_IN",
                public,
                "CKR_USER_NOT_LOGGED_IN",
            ],
        )

    def test_read_only_session_writes_no_token_object(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1], write=False)
            value = bytes.fromhex(sys.argv[2])
            answer([error(s.createObject, private_key(value, TOKEN=True)),
                    error(s.createObject, private_key(value, TOKEN=False))])
            """,
            PIN,
            ALICE_PRIVATE,
        )
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

    def test_a_forked_child_starts_afresh_and_the_parent_goes_on(self):
        self.make_x25519()
        key_file, software_public = self.software_key()
        got = self.python(
            """
            def agree(s):
                base = find_one(s, CLASS=c.CKO_PRIVATE_KEY)
                return read(s, derive(s, base, bytes.fromhex(sys.argv[2])), "VALUE").hex()
            s = open_session(pin=sys.argv[1])
            random = [bytes(s.generateRandom(16)).hex()]
            from_child, to_parent = os.pipe()
            child = os.fork()
            if child == 0:
                out = [error(s.getSessionInfo), error(lib.getInfo)]
                lib.load(os.environ["SECRETMEM_TEST_MODULE"])
                t = lib.openSession(slot("alpha"), c.CKF_SERIAL_SESSION | c.CKF_RW_SESSION)
                out.append(len(find(t, CLASS=c.CKO_PRIVATE_KEY)))  # the login was the parent's
                t.login(sys.argv[1])
                out += [agree(t), bytes(t.generateRandom(16)).hex()]
                os.write(to_parent, json.dumps(out).encode())
                os._exit(0)
            random.append(bytes(s.generateRandom(16)).hex())
            os.close(to_parent)
            with open(from_child) as f:
                told = json.load(f)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answer([status, told, agree(s), random])
            """,
            PIN,
            software_public.hex(),
        )
        public = self.python(
            """
            s = open_session()
            answer(read(s, find_one(s, CLASS=c.CKO_PUBLIC_KEY), "EC_POINT").hex())
            """
        )
        secret = self.software_derive(key_file, bytes.fromhex(public)).hex()
        status, told, after, random = got
        self.assertEqual([status, after], [0, secret])
        not_initialized = "CKR_CRYPTOKI_NOT_INITIALIZED"
        self.assertEqual(told[:4], [not_initialized, not_initialized, 0, secret])
        self.assertEqual(len(set(random + told[4:])), 3, "random output repeats")

    def test_five_thousand_keys_fit_the_default_memory_lock_limit(self):
        # 2,048 pages are the whole limit: keys must share them.
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            value = bytes.fromhex(sys.argv[2])
            keys = [s.createObject(private_key(value, TOKEN=False)) for _ in range(5000)]
            peer = bytes.fromhex(sys.argv[3])
            some = (keys[0], keys[2500], keys[-1])
            answer(sorted({read(s, derive(s, key, peer), "VALUE").hex() for key in some}))
            """,
            PIN,
            ALICE_PRIVATE,
            BOB_PUBLIC,
        )
        self.assertEqual(got, [SHARED])

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
            PIN,
            ALICE_PRIVATE,
            BOB_PUBLIC,
        )
        self.assertEqual(got, [SHARED, True, True, 16])


@unittest.skipUnless(secret_memory(), "this kernel has no memfd_secret(2)")
class Memory(PyKCS11Test):
    def test_keys_are_mapped_from_secret_memory_after_login_only(self):
        self.make_x25519()
        got = self.python(
            """
            def regions():
                with open("/proc/self/maps") as maps:
                    return [line.split()[1] for line in maps
                            if line.rstrip().endswith("/secretmem (deleted)")]
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
            PIN,
            BOB_PUBLIC,
        )
        self.assertEqual(got, [])


if __name__ == "__main__":
    unittest.main()
