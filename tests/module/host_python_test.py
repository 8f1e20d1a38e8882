"""Loads the module into a process that uses OpenSSL, and checks that neither disturbs the other.

Python's ssl and hashlib bring OpenSSL's libcrypto and libssl in; the module brings BoringSSL, with
the same names inside. If one of those names were resolved to the other library, the answers here
would be wrong, or the process would crash.
"""

import ctypes
import hashlib
import os
import ssl
import subprocess
import tempfile
import unittest

CKR_OK = 0
CKF_OS_LOCKING_OK = 2
CKF_RW_SESSION, CKF_SERIAL_SESSION = 2, 4

CK_ULONG = ctypes.c_ulong
CK_RV = ctypes.c_ulong


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte)]


class Info(ctypes.Structure):
    _fields_ = [
        ("cryptoki_version", Version),
        ("manufacturer_id", ctypes.c_char * 32),
        ("flags", CK_ULONG),
        ("library_description", ctypes.c_char * 32),
        ("library_version", Version),
    ]


class InitializeArgs(ctypes.Structure):
    _fields_ = [
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", CK_ULONG),
        ("reserved", ctypes.c_void_p),
    ]


# Positions in CK_FUNCTION_LIST, from 1, of the functions this test calls.
POSITIONS = {
    "C_Initialize": 1,
    "C_Finalize": 2,
    "C_GetInfo": 3,
    "C_GetFunctionList": 4,
    "C_GetSlotList": 5,
    "C_InitToken": 10,
    "C_OpenSession": 13,
    "C_CloseSession": 14,
    "C_GenerateRandom": 65,
}


class FunctionList(ctypes.Structure):
    _fields_ = [("version", Version), ("functions", ctypes.c_void_p * 68)]


class Module:
    """Calls a PKCS #11 module through its function list, as clients do."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        pointer = ctypes.POINTER(FunctionList)()
        get = self.library.C_GetFunctionList
        get.restype = CK_RV
        assert get(ctypes.byref(pointer)) == CKR_OK
        self.list = pointer.contents

    def call(self, name, *arguments):
        function = ctypes.CFUNCTYPE(CK_RV)(self.list.functions[POSITIONS[name] - 1])
        function.argtypes = None
        return function(*arguments)


def make_certificate(directory):
    """Makes an EC key and a self-signed certificate for localhost with the openssl program."""
    key, certificate = os.path.join(directory, "key.pem"), os.path.join(directory, "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return key, certificate


def tls_exchange(key, certificate):
    """Runs a TLS 1.3 handshake in memory: key agreement, signing, verification, and one record."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    waiting = [client, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    client.write(b"ping")
    received = server.read(16)
    server.write(received + b" pong")
    return client.version(), client.read(16)


class HostTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.key, cls.certificate = make_certificate(cls.directory.name)
        # The module's own configuration and tokens, away from the user's.
        os.environ["HOME"] = cls.directory.name
        os.environ["XDG_DATA_HOME"] = os.path.join(cls.directory.name, "data")
        os.environ["XDG_CONFIG_HOME"] = os.path.join(cls.directory.name, "config")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def check_openssl(self):
        self.assertEqual(
            hashlib.sha256(b"abc").hexdigest(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        )
        # SHA-3 and scrypt come from OpenSSL alone; an error queue mixed up would show here too.
        self.assertEqual(
            hashlib.new("sha3_256", b"abc").hexdigest(),
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        )
        self.assertEqual(
            hashlib.scrypt(b"password", salt=b"NaCl", n=1024, r=8, p=16, dklen=64).hex(),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
            "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        )
        with self.assertRaises(ValueError):
            hashlib.new("no-such-digest")
        with self.assertRaises(ssl.SSLError):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="not a certificate")
        self.assertEqual(tls_exchange(self.key, self.certificate), ("TLSv1.3", b"ping pong"))

    def check_module(self, module, slot):
        """Runs BoringSSL inside the module: a token's keys are derived, wrapped and drawn."""
        info = Info()
        self.assertEqual(module.call("C_GetInfo", ctypes.byref(info)), CKR_OK)
        self.assertGreaterEqual(info.cryptoki_version.major, 2)
        session = CK_ULONG()
        self.assertEqual(
            module.call(
                "C_OpenSession",
                CK_ULONG(slot),
                CK_ULONG(CKF_RW_SESSION | CKF_SERIAL_SESSION),
                None,
                None,
                ctypes.byref(session),
            ),
            CKR_OK,
        )
        drawn = set()
        for _ in range(8):
            buffer = ctypes.create_string_buffer(32)
            self.assertEqual(
                module.call("C_GenerateRandom", session, buffer, CK_ULONG(32)), CKR_OK
            )
            drawn.add(buffer.raw)
        self.assertEqual(len(drawn), 8)
        self.assertNotIn(bytes(32), drawn)
        self.assertEqual(module.call("C_CloseSession", session), CKR_OK)

    def test_openssl_and_module_share_a_process(self):
        self.check_openssl()
        module = Module(os.environ["SECRETMEM_MODULE"])
        self.check_openssl()

        arguments = InitializeArgs(flags=CKF_OS_LOCKING_OK)
        self.assertEqual(module.call("C_Initialize", ctypes.byref(arguments)), CKR_OK)
        self.check_openssl()

        slots, count = (CK_ULONG * 16)(), CK_ULONG(16)
        self.assertEqual(
            module.call("C_GetSlotList", ctypes.c_ubyte(0), slots, ctypes.byref(count)), CKR_OK
        )
        self.assertGreaterEqual(count.value, 1)
        slot = slots[count.value - 1]
        pin = b"12345678"
        label = b"host test".ljust(32)
        self.assertEqual(
            module.call("C_InitToken", CK_ULONG(slot), pin, CK_ULONG(len(pin)), label), CKR_OK
        )
        for _ in range(3):
            self.check_module(module, slot)
            self.check_openssl()

        self.assertEqual(module.call("C_Finalize", None), CKR_OK)
        self.check_openssl()
        self.assertEqual(module.call("C_Initialize", None), CKR_OK)
        self.check_module(module, slot)
        self.check_openssl()
        self.assertEqual(module.call("C_Finalize", None), CKR_OK)


if __name__ == "__main__":
    unittest.main()
