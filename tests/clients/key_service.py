"""What the key service and the workload of test_key_service.py are written with: PyKCS11, and the
parameter structures of docs/hpke.md."""

import ctypes
import os

import PyKCS11

from session import *  # noqa: F403

CKM_ECDH1_DERIVE = 0x1050
CKM_HPKE = 0xD34D0001
CKM_RESEAL = 0xD34D0002
CKA_DECAPSULATE = 0x634
CKA_BOUND_TO = 0xD34D0010

Ulong, Pointer = ctypes.c_ulong, ctypes.c_void_p


class Hpke(ctypes.Structure):
    _fields_ = [
        ("mode", Ulong),
        ("kem", Ulong),
        ("kdf", Ulong),
        ("aead", Ulong),
        ("info", Pointer),
        ("info_size", Ulong),
        ("aad", Pointer),
        ("aad_size", Ulong),
        ("enc", Pointer),
        ("enc_size", Ulong),
        ("psk", Ulong),
        ("psk_id", Pointer),
        ("psk_id_size", Ulong),
        ("output", Ulong),
        ("context", Pointer),
        ("context_size", Ulong),
    ]


class Ecdh(ctypes.Structure):
    _fields_ = [
        ("kdf", Ulong),
        ("shared_size", Ulong),
        ("shared", Pointer),
        ("public_size", Ulong),
        ("public", Pointer),
    ]


class Mechanism(ctypes.Structure):
    _fields_ = [("type", Ulong), ("parameter", Pointer), ("size", Ulong)]

    @classmethod
    def of(cls, type_, parameter):
        return cls(type_, ctypes.addressof(parameter), ctypes.sizeof(parameter))


class Reseal(ctypes.Structure):
    _fields_ = [
        ("decapsulation", Pointer),
        ("ciphertext", Pointer),
        ("ciphertext_size", Ulong),
        ("secret_size", Ulong),
        ("wrapping", Pointer),
    ]


HPKE = Hpke(kem=0x20, kdf=1, aead=2)  # AES-256-GCM, base mode


def reseal(session, binding, kem, ciphertext):
    """C_WrapKey with CKM_SECRETMEM_RESEAL: what comes is sealed to the workload."""
    ecdh = Ecdh(kdf=1)
    opening = Mechanism.of(CKM_ECDH1_DERIVE, ecdh)
    sealing = Mechanism.of(CKM_HPKE, HPKE)
    received = ctypes.create_string_buffer(ciphertext, len(ciphertext))
    parameter = Reseal(
        ctypes.addressof(opening),
        ctypes.addressof(received),
        len(ciphertext),
        0,
        ctypes.addressof(sealing),
    )
    mechanism = PyKCS11.Mechanism(CKM_RESEAL, bytes(parameter))
    return bytes(session.wrapKey(binding, kem, mechanism))


def end():
    """Without C_Finalize: whoever looks at the process's end sees memory as it was in use."""
    os._exit(0)
