"""This module and SoftHSM2 in one process: what one makes, the other takes.

The two share no code: SoftHSM2 computes with OpenSSL or Botan.
"""

import os
import unittest

from harness import PIN, SO_PIN
from pykcs11_case import PyKCS11Test

SOFTHSM2 = next(
    (
        path
        for path in (
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib64/pkcs11/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        )
        if os.path.exists(path)
    ),
    None,
)

# Two sessions, `mine` and `theirs`; each program answers with a list of [what, from whom, outcome].
BOTH = """
import itertools
mine = open_session(pin=sys.argv[1])
other = PyKCS11.PyKCS11Lib()
other.load(sys.argv[2])
there = next(s for s in other.getSlotList(tokenPresent=True)
             if other.getTokenInfo(s).label.strip() == "other")
theirs = other.openSession(there, c.CKF_SERIAL_SESSION | c.CKF_RW_SESSION)
theirs.login(sys.argv[1])
pairs = (("mine", mine, theirs), ("theirs", theirs, mine))
data = bytes(range(256)) * 3
M = PyKCS11.Mechanism
out = []
def value(session, key, name="VALUE"):
    return bytes(session.getAttributeValue(key, [getattr(c, "CKA_" + name)])[0])
def tell(what, whose, outcome):
    out.append([what, whose, outcome])
"""

PUBLIC = """
def copy_public(source, target, key, names, **more):
    return target.createObject(template(
        CLASS=c.CKO_PUBLIC_KEY, TOKEN=False, PRIVATE=False, VERIFY=True,
        **{name: value(source, key, name) for name in names}, **more))
def check(what, whose, signer, verifier, private, public, mechanism, message=data):
    signature = bytes(signer.sign(private, message, mechanism))
    bad = bytes([signature[0] ^ 1]) + signature[1:]
    tell(what, whose, [verifier.verify(public, message, signature, mechanism),
                       verifier.verify(public, message, bad, mechanism)])
"""

RSA = """
def hashed(name):
    return getattr(c, "CKM_" + name), getattr(c, "CKG_MGF1_" + name.replace("SHA_1", "SHA1"))
for whose, a, b in pairs:
    public, private = a.generateKeyPair(
        template(MODULUS_BITS=2048, PUBLIC_EXPONENT=bytes((1, 0, 1)), VERIFY=True, ENCRYPT=True),
        template(SIGN=True, DECRYPT=True, PRIVATE=True))
    copy = copy_public(a, b, public, ("MODULUS", "PUBLIC_EXPONENT"), KEY_TYPE=c.CKK_RSA,
                       ENCRYPT=True)
    check("RSA_PKCS", whose, a, b, private, copy, M(c.CKM_RSA_PKCS, None), data[:200])
    check("RSA_X_509", whose, a, b, private, copy, M(c.CKM_RSA_X_509, None), data[:256])
    for name in ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512"):
        full = name + "_RSA_PKCS"
        check(full, whose, a, b, private, copy, M(getattr(c, "CKM_" + full), None))
        number, mgf = hashed(name.replace("SHA1", "SHA_1"))
        full += "_PSS"
        check(full, whose, a, b, private, copy,
              PyKCS11.RSA_PSS_Mechanism(getattr(c, "CKM_" + full), number, mgf, 20))
    check("RSA_PKCS_PSS", whose, a, b, private, copy,
          PyKCS11.RSA_PSS_Mechanism(c.CKM_RSA_PKCS_PSS, c.CKM_SHA256, c.CKG_MGF1_SHA256, 32),
          data[:32])
    for name, mechanism in (
            ("RSA_PKCS", M(c.CKM_RSA_PKCS, None)),
            ("RSA_PKCS_OAEP", PyKCS11.RSAOAEPMechanism(c.CKM_SHA_1, c.CKG_MGF1_SHA1))):
        sealed = bytes(b.encrypt(copy, data[:100], mechanism))
        tell(name + " encrypt", whose, bytes(a.decrypt(private, sealed, mechanism)) == data[:100])
answer(out)
"""

CURVES = """
P = {"256": "06082a8648ce3d030107", "384": "06052b81040022", "521": "06052b81040023"}
for whose, a, b in pairs:
    for bits, oid in P.items():
        public, private = a.generateKeyPair(
            template(EC_PARAMS=bytes.fromhex(oid), VERIFY=True), template(SIGN=True, DERIVE=True),
            M(c.CKM_EC_KEY_PAIR_GEN, None))
        copy = copy_public(a, b, public, ("EC_PARAMS", "EC_POINT"), KEY_TYPE=c.CKK_EC)
        check("ECDSA P-" + bits, whose, a, b, private, copy, M(c.CKM_ECDSA, None), data[:32])
        # Each derives from its own key and the other's point.
        public_b, private_b = b.generateKeyPair(
            template(EC_PARAMS=bytes.fromhex(oid)), template(DERIVE=True),
            M(c.CKM_EC_KEY_PAIR_GEN, None))
        raw = lambda s, k: value(s, k, "EC_POINT")[3 if bits == "521" else 2:]
        secrets = {value(s, s.deriveKey(k, derived_key(), PyKCS11.ECDH1_DERIVE_Mechanism(p)))
                   for s, k, p in ((a, private, raw(b, public_b)), (b, private_b, raw(a, public)))}
        tell("ECDH1 P-" + bits, whose, len(secrets))
    # SoftHSM2 knows the curve by its name or the OID, and has the point as an OCTET STRING.
    public, private = a.generateKeyPair(
        template(EC_PARAMS=bytes.fromhex("06032b6570"), VERIFY=True, KEY_TYPE=c.CKK_EC_EDWARDS),
        template(SIGN=True, KEY_TYPE=c.CKK_EC_EDWARDS), M(c.CKM_EC_EDWARDS_KEY_PAIR_GEN, None))
    point = value(a, public, "EC_POINT")
    if len(point) == 32:
        point = bytes((4, 32)) + point
    copy = b.createObject(template(
        CLASS=c.CKO_PUBLIC_KEY, KEY_TYPE=c.CKK_EC_EDWARDS, EC_POINT=point, VERIFY=True,
        EC_PARAMS=bytes.fromhex("06032b6570")))
    check("EDDSA", whose, a, b, private, copy, M(c.CKM_EDDSA, None))
answer(out)
"""

SYMMETRIC = """
def imported(session, kind, key):
    return session.createObject(template(
        CLASS=c.CKO_SECRET_KEY, KEY_TYPE=kind, VALUE=key, TOKEN=False, PRIVATE=False,
        SENSITIVE=False, EXTRACTABLE=True, ENCRYPT=True, DECRYPT=True, SIGN=True, VERIFY=True,
        WRAP=True, UNWRAP=True))
iv = bytes(range(16))
for size, (whose, a, b) in itertools.product((16, 24, 32), pairs):
    key = bytes(range(100, 100 + size))
    ka, kb = imported(a, c.CKK_AES, key), imported(b, c.CKK_AES, key)
    for name, mechanism, message in (
            ("ECB", M(c.CKM_AES_ECB, None), data),
            ("CBC", M(c.CKM_AES_CBC, iv), data),
            ("CBC_PAD", M(c.CKM_AES_CBC_PAD, iv), data[:-3]),
            ("CTR", M(c.CKM_AES_CTR, (64).to_bytes(8, sys.byteorder) + iv), data[:-3]),
            ("GCM", PyKCS11.AES_GCM_Mechanism(iv[:12], b"more", 128), data[:-3])):
        sealed = bytes(a.encrypt(ka, message, mechanism))
        tell(f"AES-{size * 8} {name}", whose,
             [bytes(b.decrypt(kb, sealed, mechanism)) == message,
              sealed == bytes(b.encrypt(kb, message, mechanism))])
    tag = bytes(a.sign(ka, data, M(c.CKM_AES_CMAC, None)))
    tell(f"AES-{size * 8} CMAC", whose, b.verify(kb, data, tag, M(c.CKM_AES_CMAC, None)))
    for name, number, sizes in (("KEY_WRAP", 0x2109, (16, 24, 32, 64)),
                                ("KEY_WRAP_PAD", 0x210A, (1, 7, 16, 20, 33))):
        for length in sizes:
            secret = bytes(range(length))
            wrapped = bytes(a.wrapKey(ka, imported(a, c.CKK_GENERIC_SECRET, secret),
                                      M(number, None)))
            back = b.unwrapKey(kb, wrapped, derived_key(), M(number, None))
            if whose == "theirs":  # SoftHSM2 2.6 fills keys with zeros before it wraps them
                secret += bytes(-length % 8)
            tell(f"AES-{size * 8} {name} {length}", whose, value(b, back) == secret)
for whose, a, b in pairs:
    for name in ("SHA_1", "SHA224", "SHA256", "SHA384", "SHA512"):
        mechanism = M(getattr(c, f"CKM_{name}_HMAC"), None)
        ka, kb = (imported(s, c.CKK_GENERIC_SECRET, bytes(range(64))) for s in (a, b))
        tag = bytes(a.sign(ka, data, mechanism))
        tell("HMAC " + name, whose, b.verify(kb, data, tag, mechanism))
        tell(name, whose, bytes(a.digest(data, M(getattr(c, f"CKM_{name}"), None)))
             == bytes(b.digest(data, M(getattr(c, f"CKM_{name}"), None))))
answer(out)
"""

WRAPPED = """
def aes(session, key):
    return session.createObject(template(
        CLASS=c.CKO_SECRET_KEY, KEY_TYPE=c.CKK_AES, VALUE=key, TOKEN=False, PRIVATE=False,
        WRAP=True, UNWRAP=True))
P256 = bytes.fromhex("06082a8648ce3d030107")
# SoftHSM2 2.6 neither wraps nor unwraps Ed25519 keys, and nothing by CKM_AES_CBC_PAD. It fills
# PKCS#8 with zeros, and leaves the public key out of an EC key's.
KINDS = (("RSA", c.CKK_RSA, c.CKM_RSA_PKCS_KEY_PAIR_GEN, dict(MODULUS_BITS=2048),
          M(c.CKM_SHA256_RSA_PKCS, None)),
         ("P-256", c.CKK_EC, c.CKM_EC_KEY_PAIR_GEN, dict(EC_PARAMS=P256), M(c.CKM_ECDSA, None)))
# A private key goes from one to the other, and signs there for the public key it left behind.
for size, (whose, a, b) in itertools.product((16, 24, 32), pairs):
    key = bytes(range(100, 100 + size))
    ka, kb = aes(a, key), aes(b, key)
    for name, kind, generate, more, sign in KINDS:
        public, private = a.generateKeyPair(
            template(VERIFY=True, KEY_TYPE=kind, **more),
            template(SIGN=True, PRIVATE=True, EXTRACTABLE=True, SENSITIVE=True, KEY_TYPE=kind),
            M(generate, None))
        for number, wrap in ((0x2109, "KEY_WRAP"), (0x210A, "KEY_WRAP_PAD")):
            wrapped = bytes(a.wrapKey(ka, private, M(number, None)))
            back = b.unwrapKey(kb, wrapped, template(
                CLASS=c.CKO_PRIVATE_KEY, KEY_TYPE=kind, TOKEN=False, PRIVATE=True, SIGN=True,
                SENSITIVE=True, EXTRACTABLE=False), M(number, None))
            signature = bytes(b.sign(back, data[:32], sign))
            bad = bytes([signature[0] ^ 1]) + signature[1:]
            tell(f"{name} AES-{size * 8} {wrap}", whose,
                 [a.verify(public, data[:32], signature, sign),
                  a.verify(public, data[:32], bad, sign)])
# A secret key under RSA.
for whose, a, b in pairs:
    public, private = b.generateKeyPair(
        template(MODULUS_BITS=2048, PUBLIC_EXPONENT=bytes((1, 0, 1)), WRAP=True),
        template(UNWRAP=True, PRIVATE=True))
    copy = a.createObject(template(
        CLASS=c.CKO_PUBLIC_KEY, KEY_TYPE=c.CKK_RSA, TOKEN=False, PRIVATE=False, WRAP=True,
        MODULUS=value(b, public, "MODULUS"), PUBLIC_EXPONENT=bytes((1, 0, 1))))
    for name, mechanism in (
            ("RSA_PKCS", M(c.CKM_RSA_PKCS, None)),
            ("RSA_PKCS_OAEP", PyKCS11.RSAOAEPMechanism(c.CKM_SHA_1, c.CKG_MGF1_SHA1))):
        for kind, length in (("GENERIC_SECRET", 1), ("GENERIC_SECRET", 33), ("AES", 32)):
            kind = getattr(c, "CKK_" + kind)
            secret = bytes(range(7, 7 + length))
            wrapped = bytes(a.wrapKey(copy, a.createObject(template(
                CLASS=c.CKO_SECRET_KEY, KEY_TYPE=kind, VALUE=secret, TOKEN=False, PRIVATE=False,
                EXTRACTABLE=True)), mechanism))
            back = b.unwrapKey(private, wrapped, derived_key(KEY_TYPE=kind), mechanism)
            tell(f"{name} {length}", whose, value(b, back) == secret)
answer(out)
"""


@unittest.skipUnless(SOFTHSM2, "SoftHSM2 is not installed")
class SoftHsm2(PyKCS11Test):
    def setUp(self):
        super().setUp()
        tokens = os.path.join(self.dir, "softhsm2")
        os.mkdir(tokens)
        config = self.write("softhsm2.conf", f"directories.tokendir = {tokens}\n".encode())
        self.env["SOFTHSM2_CONF"] = config
        self.run_program(
            *("pkcs11-tool", "--module", SOFTHSM2, "--init-token", "--slot-index", "0"),
            *("--label", "other", "--so-pin", SO_PIN),
        )
        self.run_program(
            *("pkcs11-tool", "--module", SOFTHSM2, "--token-label", "other", "--init-pin"),
            *("--login", "--login-type", "so", "--so-pin", SO_PIN, "--new-pin", PIN),
        )

    def assert_all(self, program, good, count):
        """Every outcome is the good one of its kind, and there are so many."""
        told = self.python(BOTH + program, PIN, SOFTHSM2)
        wrong = [row for row in told if row[2] != good(row[0])]
        self.assertEqual(wrong, [])
        self.assertEqual(len(told), count)
        self.assertEqual(len({(what, whose) for what, whose, _ in told}), count)

    def test_rsa(self):
        self.assert_all(
            PUBLIC + RSA, lambda what: True if "encrypt" in what else [True, False], 2 * 15
        )

    def test_curves(self):
        self.assert_all(PUBLIC + CURVES, lambda what: 1 if "ECDH" in what else [True, False], 2 * 7)

    def test_symmetric(self):
        ciphers = ("ECB", "CBC", "CBC_PAD", "CTR", "GCM")
        self.assert_all(
            SYMMETRIC,
            lambda what: [True, True] if what.split()[-1] in ciphers else True,
            2 * (3 * 15 + 10),
        )

    def test_wrapped(self):
        self.assert_all(
            WRAPPED,
            lambda what: True if what.startswith("RSA_PKCS") else [True, False],
            2 * (3 * 2 * 2 + 2 * 3),
        )


if __name__ == "__main__":
    unittest.main()
