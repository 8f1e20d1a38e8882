"""For the programs of the PyKCS11 tests: the module loaded, a session, attributes as text.

The module reads its configuration once per process, so each test's token directory needs a process
of its own. A program prints one JSON document as its answer.
"""

import json
import os
import sys

import PyKCS11
from PyKCS11 import LowLevel as c

X25519_OID = bytes.fromhex("06032b656e")

lib = PyKCS11.PyKCS11Lib()


def load():
    lib.load(os.environ["SECRETMEM_TEST_MODULE"])


def slot(label):
    """The slot of the token with this label."""
    return next(
        s for s in lib.getSlotList(tokenPresent=True) if lib.getTokenInfo(s).label.strip() == label
    )


def open_session(label="alpha", pin=None, write=True):
    load()
    session = lib.openSession(
        slot(label), c.CKF_SERIAL_SESSION | (c.CKF_RW_SESSION if write else 0)
    )
    if pin is not None:
        session.login(pin)
    return session


def private_key(value, **attributes):
    """A template that imports an X25519 private key of 32 bytes as a session object."""
    return template(
        CLASS=c.CKO_PRIVATE_KEY,
        KEY_TYPE=c.CKK_EC_MONTGOMERY,
        EC_PARAMS=X25519_OID,
        VALUE=value,
        DERIVE=True,
        **attributes,
    )


def derived_key(**attributes):
    """A template of a session key whose value may be read, unless attributes say otherwise."""
    merged = {
        "CLASS": c.CKO_SECRET_KEY,
        "KEY_TYPE": c.CKK_GENERIC_SECRET,
        "TOKEN": False,
        "SENSITIVE": False,
        "EXTRACTABLE": True,
    }
    merged.update(attributes)
    return template(**merged)


def template(**attributes):
    return [(getattr(c, "CKA_" + name), value) for name, value in attributes.items()]


def find(session, **attributes):
    return session.findObjects(template(**attributes))


def find_one(session, **attributes):
    (found,) = find(session, **attributes)
    return found


def read(session, obj, name):
    """An attribute's bytes, or the error's name where it has none to give."""
    out = c.ckattrlist(1)
    out[0].SetType(getattr(c, "CKA_" + name))
    for _ in range(2):  # the size, then the value
        rv = lib.lib.C_GetAttributeValue(session.session, obj, out)
        if rv != c.CKR_OK:
            return PyKCS11.CKR[rv]
    return bytes(out[0].GetBin())


def attributes(session, obj, names):
    """The named attributes as JSON holds them: number, boolean, text, hexadecimal or error."""
    numbers = {"CLASS", "KEY_TYPE", "VALUE_LEN", "KEY_GEN_MECHANISM"}
    text = {"LABEL", "UNIQUE_ID"}
    out = {}
    for name in names:
        value = read(session, obj, name)
        if isinstance(value, str):
            out[name] = value
        elif name in numbers:
            out[name] = int.from_bytes(value, sys.byteorder)
        elif name in text:
            out[name] = value.decode()
        elif len(value) == 1 and name != "ID":
            out[name] = value == b"\1"
        else:
            out[name] = value.hex()
    return out


def derive(session, base, peer, kdf=c.CKD_NULL, shared=None, **attributes_):
    """C_DeriveKey by CKM_ECDH1_DERIVE with the peer's 32 bytes; returns the new key."""
    mechanism = PyKCS11.ECDH1_DERIVE_Mechanism(peer, kdf, shared)
    return session.deriveKey(base, derived_key(**attributes_), mechanism)


def error(function, *arguments, **named):
    """The name of the error that a call ends with, or "CKR_OK"."""
    try:
        function(*arguments, **named)
    except PyKCS11.PyKCS11Error as e:
        return PyKCS11.CKR.get(e.value, hex(e.value))
    return "CKR_OK"


def answer(value):
    json.dump(value, sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()
