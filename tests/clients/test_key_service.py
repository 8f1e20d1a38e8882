"""The worked example of docs/hpke.md: a client's secret goes through a key service to a workload.

The workload owns a binding key. The key service owns a KEM key that is bound to it: what it
decapsulates it can seal to the workload, and do nothing else with. The client encapsulates a secret
to the KEM key. Both processes are then searched for the secret, from outside.
"""

import hashlib
import hmac
import json
import os
import subprocess
import unittest

from pykcs11_case import PyKCS11Test

WORKLOAD = """
    from key_service import *
    session = open_session(pin="1234-user")
    public, private = session.generateKeyPair(
        template(CLASS=c.CKO_PUBLIC_KEY, EC_PARAMS=X25519_OID),
        template(CLASS=c.CKO_PRIVATE_KEY, UNWRAP=True, TOKEN=True),
        PyKCS11.Mechanism(c.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, None),
    )
    answer(read(session, public, "EC_POINT").hex())
    sealed = bytes.fromhex(sys.stdin.readline())
    secret = session.unwrapKey(
        private,
        sealed,
        template(CLASS=c.CKO_SECRET_KEY, KEY_TYPE=c.CKK_GENERIC_SECRET, SENSITIVE=True,
                 EXTRACTABLE=False, SIGN=True),
        PyKCS11.Mechanism(CKM_HPKE, bytes(HPKE)),
    )
    mac = session.sign(secret, b"message", PyKCS11.Mechanism(c.CKM_SHA256_HMAC, None))
    answer([bytes(mac).hex(), read(session, secret, "VALUE")])
    wait()
"""

SERVICE = """
    from key_service import *
    session = open_session("beta", pin="1234-user")
    point = bytes.fromhex(sys.stdin.readline())
    binding = session.createObject(template(
        CLASS=c.CKO_PUBLIC_KEY, KEY_TYPE=c.CKK_EC_MONTGOMERY, EC_PARAMS=X25519_OID, EC_POINT=point,
        WRAP=True))
    public, kem = session.generateKeyPair(
        template(CLASS=c.CKO_PUBLIC_KEY, EC_PARAMS=X25519_OID),
        template(CLASS=c.CKO_PRIVATE_KEY, TOKEN=True) +
            [(CKA_DECAPSULATE, bytes([1])), (CKA_BOUND_TO, point)],
        PyKCS11.Mechanism(c.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, None),
    )
    answer(read(session, public, "EC_POINT").hex())
    sealed = reseal(session, binding, kem, bytes.fromhex(sys.stdin.readline()))
    answer([sealed.hex(), error(derive, session, kem, point)])
    wait()
"""


def holds(pid, value):
    """Whether this value is in memory of the process that can be read."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            area, rights = line.split()[:2]
            start, end = (int(part, 16) for part in area.split("-"))
            if not rights.startswith("r"):
                continue
            try:
                mem.seek(start)
                if value in mem.read(end - start):
                    return True
            except (OSError, ValueError, OverflowError):
                continue  # secret memory, and the kernel's own pages
    return False


class KeyService(PyKCS11Test):
    def start(self, code):
        process = subprocess.Popen(
            self.program(code),
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        return process

    def tell(self, process, line):
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def hear(self, process):
        return json.loads(process.stdout.readline())

    def test_secret_goes_to_the_workload_only(self):
        self.make_token("beta", index=1)
        workload, service = self.start(WORKLOAD), self.start(SERVICE)
        self.tell(service, self.hear(workload))
        kem_key = bytes.fromhex(self.hear(service))

        # The client, with the openssl program: X25519 of a key made for this once.
        key_file, ephemeral = self.software_key()
        secret = self.software_derive(key_file, kem_key)
        self.tell(service, ephemeral.hex())
        sealed, derived = self.hear(service)
        self.assertEqual(derived, "CKR_KEY_FUNCTION_NOT_PERMITTED")
        self.assertEqual(len(bytes.fromhex(sealed)), 32 + 32 + 16)
        self.tell(workload, sealed)
        mac, value = self.hear(workload)
        expected = hmac.new(secret, b"message", hashlib.sha256).hexdigest()
        self.assertEqual((mac, value), (expected, "CKR_ATTRIBUTE_SENSITIVE"))

        for process in (workload, service):
            # That the search finds what is there is shown by what both know.
            self.assertTrue(holds(process.pid, bytes.fromhex(sealed)[:40]))
            self.assertFalse(holds(process.pid, secret))


if __name__ == "__main__":
    unittest.main()
