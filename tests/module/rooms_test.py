"""Checks that includes point one way: tool/, pkcs11/ -> mechanisms/ -> vault/ -> BoringSSL."""

import pathlib
import re
import sys
import unittest

# Room: what its sources must not include.
FORBIDDEN = {
    "vault": r"mechanisms/|pkcs11/|p11-kit/|sqlite3\.h|toml\+\+/",
    "mechanisms": r"pkcs11/|sqlite3\.h|toml\+\+/",
    "pkcs11": r"openssl/",
    "client": r"openssl/|vault/|pkcs11/|tool/|mechanisms/(?!cryptoki\.h)",
    # A client of the module. Of its rooms only what knows no cryptography: the configuration's
    # reader and the token file's format, and the numbers of PKCS #11. What opens keys
    # (MAY) is the exception.
    "tool": r"openssl/|vault/|mechanisms/(?!cryptoki\.h|vendor\.h)"
    r"|pkcs11/(?!config\.h|descriptor\.h|row_kind\.h|store_connection\.h|store_file\.h|store_schema\.h"
    r"|token_store\.h)",
}
# Whoever looks for keys in memory has to open them, and whoever says that a backup is whole.
MAY = {
    "watched_keys": ("vault/vault.h", "mechanisms/key_family.h", "pkcs11/token.h"),
    "token_check": ("vault/sealing.h", "pkcs11/object_codec.h", "pkcs11/pin.h")
    + ("pkcs11/prepare_vault.h", "pkcs11/token_clock.h"),
}

# Comparisons that end at the first difference, in the rooms that see keys: how many a file has, all
# of public values. Tags, MACs and keys are compared by CRYPTO_memcmp.
HASTY = {
    "mechanisms/ec_params.cc": 1,  # curves' names
    "mechanisms/key_wrap.cc": 1,  # RFC 5649's initial value
    "mechanisms/rsa_sign.cc": 2,  # what a public key recovers
    "mechanisms/weierstrass.cc": 1,  # curves' names
    "vault/canary.cc": 1,  # canaries
}


def included(path):
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text("utf-8"), re.M)


class RoomsTest(unittest.TestCase):
    def test_includes_point_one_way(self):
        wrong = []
        for room, forbidden in FORBIDDEN.items():
            sources = [p for p in sorted((ROOT / room).rglob("*")) if p.suffix in (".cc", ".h")]
            self.assertTrue(sources, f"no sources in {room}/")
            for path in sources:
                names = included(path)
                wrong += [
                    f"{path.relative_to(ROOT)} includes {name}"
                    for name in names
                    if (re.match(forbidden, name) and name not in MAY.get(path.stem, ()))
                    or name.startswith("tests/")
                ]
        self.assertEqual(wrong, [])

    def test_relative_includes_do_not_get_round_it(self):
        wrong = [
            f"{path.relative_to(ROOT)} includes {name}"
            for room in FORBIDDEN
            for path in sorted((ROOT / room).rglob("*"))
            if path.suffix in (".cc", ".h")
            for name in included(path)
            if ".." in name.split("/")
        ]
        self.assertEqual(wrong, [])

    def test_secrets_are_compared_in_constant_time(self):
        hasty = re.compile(r"\b(?:memcmp|strcmp|strncmp|bcmp|equal|mismatch)\(")
        found = {}
        for room in ("vault", "mechanisms"):
            for path in sorted((ROOT / room).rglob("*")):
                if path.suffix not in (".cc", ".h"):
                    continue
                count = len(hasty.findall(path.read_text("utf-8").replace("CRYPTO_memcmp(", "")))
                if count:
                    found[str(path.relative_to(ROOT))] = count
        self.assertEqual(found, HASTY)


if __name__ == "__main__":
    ROOT = pathlib.Path(sys.argv.pop(1))
    unittest.main()
