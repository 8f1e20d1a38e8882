"""[mechanisms] in the configuration, as clients see it."""

import re

import mechanisms
from harness import PIN
from pykcs11_case import PyKCS11Test

WEAK = {
    "CKM_SHA1_RSA_PKCS",
    "CKM_SHA1_RSA_PKCS_PSS",
    "CKM_ECDSA_SHA1",
    "CKM_RSA_X_509",
    "CKM_AES_ECB",
}
NUMBERS = {name: number for number, name, *_ in mechanisms.TABLE}

# Every kind of Init with each of the mechanisms whose numbers are the arguments, on keys that allow
# everything, and in a session of its own, since one that works leaves an operation.
TRY = """
s = open_session(pin=sys.argv[1])
rsa = s.generateKeyPair(
    template(MODULUS_BITS=2048, PUBLIC_EXPONENT=bytes((1, 0, 1)), VERIFY=True, ENCRYPT=True),
    template(SIGN=True, DECRYPT=True))
ec = s.generateKeyPair(
    template(EC_PARAMS=bytes.fromhex("06082a8648ce3d030107"), VERIFY=True), template(SIGN=True),
    PyKCS11.Mechanism(c.CKM_EC_KEY_PAIR_GEN, None))
aes = s.generateKey(template(VALUE_LEN=16, ENCRYPT=True, DECRYPT=True),
                    PyKCS11.Mechanism(c.CKM_AES_KEY_GEN, None))
inits = {"encrypt": 0, "decrypt": 1, "sign": 1, "verify": 0}
keys = {c.CKM_AES_ECB: (aes, aes), c.CKM_AES_CBC: (aes, aes), c.CKM_ECDSA_SHA1: ec}
def attempt(number, use):
    one = lib.openSession(slot("alpha"), c.CKF_SERIAL_SESSION)
    mechanism = PyKCS11.Mechanism(number, bytes(16) if number == c.CKM_AES_CBC else None).to_native()
    function = getattr(lib.lib, f"C_{use.capitalize()}Init")
    rv = function(one.session, mechanism, keys.get(number, rsa)[inits[use]])
    one.closeSession()
    return PyKCS11.CKR[rv]
answer([[attempt(int(n), use) for use in inits] for n in sys.argv[2:]])
"""


class MechanismSwitches(PyKCS11Test):
    def configure(self, text):
        with open(self.env["SECRETMEM_PKCS11_CONF"], "a", encoding="utf-8") as f:
            f.write("\n[mechanisms]\n" + text)

    def listed(self):
        """Number and flags of everything that C_GetMechanismList tells."""
        return dict(
            self.python(
                """
                load()
                numbers = PyKCS11.LowLevel.ckintlist()
                for _ in range(2):
                    assert lib.lib.C_GetMechanismList(slot("alpha"), numbers) == c.CKR_OK
                def flags(number):
                    info = PyKCS11.LowLevel.CK_MECHANISM_INFO()
                    assert lib.lib.C_GetMechanismInfo(slot("alpha"), number, info) == c.CKR_OK
                    return info.flags
                answer([[n, flags(n)] for n in numbers])
                """
            )
        )

    def test_weak_ones_are_not_there(self):
        before = self.listed()
        self.configure("weak = false\n")
        after = self.listed()
        gone = {NUMBERS[name] for name in WEAK}
        self.assertEqual(set(before) - set(after), gone)
        changed = {n for n in after if after[n] != before[n]}
        self.assertEqual(changed, {NUMBERS["CKM_RSA_PKCS"]})
        self.assertEqual(before[1] & 0x300, 0x300)  # encrypt, decrypt
        self.assertEqual(after[1], before[1] & ~0x60300)  # and wrap, unwrap

    def test_every_init_refuses_what_is_not_there(self):
        names = ("CKM_RSA_PKCS", "CKM_RSA_X_509", "CKM_AES_ECB", "CKM_ECDSA_SHA1", "CKM_AES_CBC")
        numbers = [str(NUMBERS[name]) for name in names]
        ok, no = "CKR_OK", "CKR_MECHANISM_INVALID"
        before = [[ok] * 4, [ok] * 4, [ok, ok, no, no], [no, no, ok, ok], [ok, ok, no, no]]
        self.assertEqual(self.python(TRY, PIN, *numbers), before)
        self.configure('weak = false\ndisable = ["CKM_AES_CBC"]\n')
        after = [[no, no, ok, ok], [no] * 4, [no] * 4, [no] * 4, [no] * 4]
        self.assertEqual(self.python(TRY, PIN, *numbers), after)

    def test_every_mechanism_goes_by_its_name(self):
        self.configure(f"disable = {[name for _, name, *_ in mechanisms.TABLE]}\n")
        self.assertEqual(self.listed(), {})

    def test_inside_another(self):
        """What CKM_SECRETMEM_RESEAL is to do in one call, it does if each may be done."""
        program = """
            from key_service import *
            session = open_session(pin=sys.argv[1])
            pair = PyKCS11.Mechanism(c.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, None)
            public = template(EC_PARAMS=X25519_OID, WRAP=True)
            binding, _ = session.generateKeyPair(public, template(), pair)
            point = read(session, binding, "EC_POINT")
            bound = [(CKA_DECAPSULATE, bytes([1])), (CKA_BOUND_TO, point)]
            _, kem = session.generateKeyPair(public, bound, pair)
            answer(error(reseal, session, binding, kem, point))
        """
        self.assertEqual(self.python(program, PIN), "CKR_OK")
        with open(self.env["SECRETMEM_PKCS11_CONF"], encoding="utf-8") as f:
            before = f.read()
        for name in ("CKM_ECDH1_DERIVE", "CKM_SECRETMEM_HPKE"):
            with open(self.env["SECRETMEM_PKCS11_CONF"], "w", encoding="utf-8") as f:
                f.write(before)
            self.configure(f'disable = ["{name}"]\n')
            self.assertEqual(self.python(program, PIN), "CKR_MECHANISM_PARAM_INVALID", name)

    def test_a_name_and_a_number(self):
        before = self.listed()
        self.configure('disable = ["CKM_AES_GCM", 0x250, 0x133]\n')
        after = self.listed()
        self.assertEqual(set(before.items()) - set(after.items()),
                         {(n, before[n]) for n in (0x1087, 0x250)})

    def test_a_misspelt_name_is_told_with_its_line(self):
        self.configure('disable = ["CKM_AES_EBC"]\n')
        answer = self.run_program(*self.tool("-L"), status=1)
        path = re.escape(self.env["SECRETMEM_PKCS11_CONF"])
        self.assertRegex(
            answer.stderr,
            f"^secretmem-pkcs11: error: configuration: {path}:[0-9]+: mechanisms.disable: "
            'unknown mechanism "CKM_AES_EBC"\n',
        )
