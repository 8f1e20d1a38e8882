"""PyKCS11: X25519 keys imported, generated and derived with, against RFC 7748 and openssl."""

import hashlib
import unittest

from harness import PIN
from pykcs11_case import ALICE_PRIVATE, ALICE_PUBLIC, BOB_PRIVATE, BOB_PUBLIC, SHARED, PyKCS11Test


def x963(hash_name, secret, shared_info, length):
    """The key derivation function of ANSI X9.63 (SEC 1, section 3.6.1)."""
    out, counter = b"", 1
    while len(out) < length:
        out += hashlib.new(hash_name, secret + counter.to_bytes(4, "big") + shared_info).digest()
        counter += 1
    return out[:length]


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
            PIN,
            ALICE_PRIVATE,
            BOB_PRIVATE,
            ALICE_PUBLIC,
            BOB_PUBLIC,
        )
        self.assertEqual(got, [SHARED, SHARED])

    def test_imported_key_serves_another_process(self):
        self.python(
            """
            s = open_session(pin=sys.argv[1])
            s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=True, LABEL="alice"))
            answer(None)
            """,
            PIN,
            ALICE_PRIVATE,
        )
        got = self.python(
            """
            s = open_session(pin=sys.argv[1], write=False)
            base = find_one(s, LABEL="alice")
            answer(read(s, derive(s, base, bytes.fromhex(sys.argv[2])), "VALUE").hex())
            """,
            PIN,
            BOB_PUBLIC,
        )
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
            PIN,
            software_public.hex(),
        )
        self.assertEqual(len(token_public), 64)
        self.assertEqual(got, self.software_derive(key_file, bytes.fromhex(token_public)).hex())

    def test_x963_key_derivation_functions(self):
        hashes = {"CKD_SHA1_KDF": "sha1"}
        hashes.update({f"CKD_SHA{n}_KDF": f"sha{n}" for n in (224, 256, 384, 512)})
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            base = s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=False))
            numbers = dict(CKD_SHA1_KDF=2, CKD_SHA224_KDF=5, CKD_SHA256_KDF=6, CKD_SHA384_KDF=7,
                           CKD_SHA512_KDF=8)
            make = lambda kdf: derive(s, base, bytes.fromhex(sys.argv[3]), kdf, b"shared info",
                                      VALUE_LEN=80)
            answer({name: read(s, make(kdf), "VALUE").hex() for name, kdf in numbers.items()})
            """,
            PIN,
            ALICE_PRIVATE,
            BOB_PUBLIC,
        )
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
            PIN,
            ALICE_PRIVATE,
            BOB_PUBLIC,
        )
        self.assertEqual(got, {"CLASS": 4, "KEY_TYPE": 0x1F, "VALUE_LEN": 16, "VALUE": SHARED[32:]})

    def test_bad_peers_are_refused_and_make_no_key(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            base = s.createObject(private_key(bytes.fromhex(sys.argv[2]), TOKEN=False))
            peers = dict(zero=bytes(32), one=b"\\1" + bytes(31),
                         short=bytes(range(1, 32)), long=bytes(range(1, 34)))
            errors = {name: error(derive, s, base, peer) for name, peer in peers.items()}
            answer([errors, len(find(s, CLASS=c.CKO_SECRET_KEY))])
            """,
            PIN,
            ALICE_PRIVATE,
        )
        self.assertEqual(
            got, [{name: "CKR_PUBLIC_KEY_INVALID" for name in ("zero", "one", "short", "long")}, 0]
        )


if __name__ == "__main__":
    unittest.main()
