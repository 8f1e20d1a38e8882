"""The worked example of docs/hpke.md: a client's secret goes through a key service to a workload.

The workload owns a binding key. The key service owns a KEM key that is bound to it: what it
decapsulates it can seal to the workload, and do nothing else with. The client encapsulates a secret
to the KEM key. The tool's audit watches both processes from outside, from their first system call to
their last, for the secret and for either key.
"""

import hashlib
import hmac
import json
import os
import sys
import unittest

from harness import ALLOW_MLOCK, PIN, secret_memory, tool_path
from pykcs11_case import PyKCS11Test

# Once: each makes its key, on a token of its own.
BINDING_KEY = """
    session = open_session(pin="1234-user")
    public, private = session.generateKeyPair(
        template(CLASS=c.CKO_PUBLIC_KEY, EC_PARAMS=X25519_OID),
        template(CLASS=c.CKO_PRIVATE_KEY, LABEL="binding", UNWRAP=True, TOKEN=True),
        PyKCS11.Mechanism(c.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, None),
    )
    answer(read(session, public, "EC_POINT").hex())
"""

KEM_KEY = """
    from key_service import *
    session = open_session("beta", pin="1234-user")
    public, kem = session.generateKeyPair(
        template(CLASS=c.CKO_PUBLIC_KEY, EC_PARAMS=X25519_OID),
        template(CLASS=c.CKO_PRIVATE_KEY, LABEL="KEM", TOKEN=True) +
            [(CKA_DECAPSULATE, bytes([1])), (CKA_BOUND_TO, bytes.fromhex(sys.argv[1]))],
        PyKCS11.Mechanism(c.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, None),
    )
    answer(read(session, public, "EC_POINT").hex())
"""

# For each secret: what the service prints is what the workload reads.
SERVICE = """
    from key_service import *
    session = open_session("beta", pin="1234-user")
    point, received = (bytes.fromhex(argument) for argument in sys.argv[1:])
    binding = session.createObject(template(
        CLASS=c.CKO_PUBLIC_KEY, KEY_TYPE=c.CKK_EC_MONTGOMERY, EC_PARAMS=X25519_OID, EC_POINT=point,
        WRAP=True))
    kem = find_one(session, CLASS=c.CKO_PRIVATE_KEY)
    answer([error(derive, session, kem, point), reseal(session, binding, kem, received).hex()])
    end()
"""

WORKLOAD = """
    from key_service import *
    session = open_session(pin="1234-user")
    derived, sealed = json.loads(sys.stdin.readline())
    secret = session.unwrapKey(
        find_one(session, CLASS=c.CKO_PRIVATE_KEY),
        bytes.fromhex(sealed),
        template(CLASS=c.CKO_SECRET_KEY, KEY_TYPE=c.CKK_GENERIC_SECRET, SENSITIVE=True,
                 EXTRACTABLE=False, SIGN=True),
        PyKCS11.Mechanism(CKM_HPKE, bytes(HPKE)),
    )
    mac = session.sign(secret, b"message", PyKCS11.Mechanism(c.CKM_SHA256_HMAC, None))
    answer([derived, len(sealed) // 2, bytes(mac).hex(), read(session, secret, "VALUE")])
    end()
"""

# Before either: keys go to ordinary memory then.
WITHOUT_SECRET_MEMORY = """
    import errno, harness
    harness.refuse_secret_memory(errno.ENOSYS)
"""

# The client's own token, from which the audit knows what to look for.
CLIENT = """
    session = open_session("gamma", pin="1234-user")
    session.createObject(template(
        CLASS=c.CKO_SECRET_KEY, KEY_TYPE=c.CKK_GENERIC_SECRET, LABEL="secret", TOKEN=True,
        PRIVATE=True, SENSITIVE=True, EXTRACTABLE=False, VALUE=bytes.fromhex(sys.argv[1])))
    answer("kept")
"""

# Each token by what the audit says of the key on it.
WATCHED = {
    "alpha": {"label": "binding", "kind": "X25519 private key"},
    "beta": {"label": "KEM", "kind": "X25519 private key"},
    "gamma": {"label": "secret", "kind": "secret key"},
}


class KeyService(PyKCS11Test):
    def setUp(self):
        super().setUp()
        self.make_token("beta", index=1)
        self.make_token("gamma", index=2)
        self.write("user.pin", PIN.encode() + b"\n")
        for name in ("service", "workload"):  # as which the audit tells them apart
            os.symlink(sys.executable, self.path(name))
        self.point = self.python(BINDING_KEY)
        kem_key = bytes.fromhex(self.python(KEM_KEY, self.point))
        # The client, with the openssl program: X25519 of a key made for this once.
        key_file, ephemeral = self.software_key()
        self.secret = self.software_derive(key_file, kem_key)
        self.ciphertext = ephemeral.hex()
        self.python(CLIENT, self.secret.hex())

    def exchange(self, token, sent, status, first=""):
        """Service and workload, watched for the key on a token: what the audit and they print."""
        service = self.program(first + SERVICE, self.point, sent)
        workload = self.program(first + WORKLOAD)
        audit = [tool_path(), "--json", "audit", "--pin-file", "user.pin", "--token", token, "--"]
        pipe = ["sh", "-c", './service "$1" "$2" "$3" "$4" | ./workload "$5" "$6"', "sh"]
        answer = self.run_program(*audit, *pipe, *service[1:], *workload[1:], status=status)
        watched = json.loads(answer.stdout)
        self.assertEqual(watched["keys"], [WATCHED[token]])
        self.assertEqual(watched["exit_code"], 0)
        users = {one["pid"]: one for one in watched["processes"] if one["loaded_module"]}
        self.assertEqual(sorted(one["name"] for one in users.values()), ["service", "workload"])
        return watched, users.values(), json.loads(answer.stderr)

    def holders(self, token, sent, first=""):
        """Which processes were seen to hold the key on a token in memory that can be read."""
        watched, _, _ = self.exchange(token, sent, 1, first)
        self.assertEqual(watched["problem"], "key bytes were readable")
        return {found["process"] for found in watched["findings"]}

    @unittest.skipUnless(secret_memory(), "the run is of the locked-memory mode")
    def test_secret_goes_to_the_workload_only(self):
        mac = hmac.new(self.secret, b"message", hashlib.sha256).hexdigest()
        for token in WATCHED:
            with self.subTest(token=token):
                watched, users, answer = self.exchange(token, self.ciphertext, 0)
                self.assertEqual(
                    answer,
                    ["CKR_KEY_FUNCTION_NOT_PERMITTED", 32 + 32 + 16, mac, "CKR_ATTRIBUTE_SENSITIVE"],
                )
                self.assertEqual(watched["findings"], [])
                self.assertTrue(watched["ok"])
                for one in users:
                    self.assertGreater(one["secret_bytes"], 0)

    def test_what_is_readable_is_found(self):
        """The same exchange where keys are in ordinary memory, and with a client that sends the
        secret itself: the watcher sees each of them in the process that has it."""
        with open(self.env["SECRETMEM_PKCS11_CONF"], "a", encoding="utf-8") as config:
            config.write(ALLOW_MLOCK)
        for token, process in (("alpha", "workload"), ("beta", "service"), ("gamma", "workload")):
            with self.subTest(token=token):
                found = self.holders(token, self.ciphertext, WITHOUT_SECRET_MEMORY)
                self.assertEqual(found, {process})
        self.assertEqual(self.holders("gamma", self.secret.hex()), {"service"})


if __name__ == "__main__":
    unittest.main()
