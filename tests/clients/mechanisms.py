"""The one table of what the module offers, and how the clients print it.

A new mechanism is one row here. The programs name the mechanisms they know, and print a number or
a word for the others; which ones they know is read out of the programs themselves.
"""

import functools
import os
import shutil

# C_GetMechanismInfo's flags in the order in which both programs print them: the name used here,
# pkcs11-tool's, p11tool's. None: the program does not tell.
FLAGS = [
    ("encrypt", "encrypt", "encrypt"),
    ("decrypt", "decrypt", "decrypt"),
    ("digest", "digest", "digest"),
    ("sign", "sign", "sign"),
    ("sign_recover", "sign_recover", "sign_recover"),
    ("verify", "verify", "verify"),
    ("verify_recover", "verify_recover", "verify_recover"),
    ("generate", "generate", "generate"),
    ("generate_key_pair", "generate_key_pair", "generate_key_pair"),
    ("wrap", "wrap", "wrap"),
    ("unwrap", "unwrap", "unwrap"),
    ("derive", "derive", "derive"),
    ("ec_f_p", "EC F_P", "ec_f_p"),
    ("ec_namedcurve", "EC OID", "ec_namedcurve"),
    ("ec_uncompress", "EC uncompressed", "ec_uncompress"),
    ("ec_compress", "EC compressed", "ec_compress"),
    ("ec_curvename", "EC curve name", None),
]

# Flags of PKCS#11 3.0 and 3.2, which pkcs11-tool sums up as other ones and p11tool keeps to itself.
OTHER_FLAGS = {
    "message_encrypt": 0x2,
    "message_decrypt": 0x4,
    "multi_message": 0x20,
    "encapsulate": 0x10000000,
    "decapsulate": 0x20000000,
}

SECRET = (8, 524288)  # bits
NONE = (0, 0)
TLS = (48, 48)  # bytes
X25519 = (255, 255)
EC = (224, 521)
RSA = (1024, 8192)
AES = (16, 32)  # bytes
CHACHA = (32, 32)
RECOVERABLE = "sign sign_recover verify verify_recover"
MESSAGES = "message_encrypt message_decrypt multi_message"
KEM = "encapsulate decapsulate"
CURVES = "ec_f_p ec_namedcurve ec_curvename"
POINTS = f"{CURVES} ec_uncompress ec_compress"


def hashes():
    """Digest, HMAC and general-length HMAC of each hash function."""
    for first, name in (
        (0x04C, "SHA512_256"),
        (0x220, "SHA_1"),
        (0x250, "SHA256"),
        (0x255, "SHA224"),
        (0x260, "SHA384"),
        (0x270, "SHA512"),
    ):
        yield first, f"CKM_{name}", NONE, "digest"
        yield first + 1, f"CKM_{name}_HMAC", SECRET, "sign verify"
        yield first + 2, f"CKM_{name}_HMAC_GENERAL", SECRET, "sign verify"


# Number, the specification's name, key sizes, flags.
TABLE = [
    *hashes(),
    (0x000, "CKM_RSA_PKCS_KEY_PAIR_GEN", (2048, 8192), "generate_key_pair"),
    (0x001, "CKM_RSA_PKCS", RSA, f"encrypt decrypt wrap unwrap {RECOVERABLE}"),
    (0x003, "CKM_RSA_X_509", RSA, f"encrypt decrypt {RECOVERABLE}"),
    (0x006, "CKM_SHA1_RSA_PKCS", RSA, "sign verify"),
    (0x009, "CKM_RSA_PKCS_OAEP", RSA, "encrypt decrypt wrap unwrap"),
    (0x00D, "CKM_RSA_PKCS_PSS", RSA, "sign verify"),
    (0x00E, "CKM_SHA1_RSA_PKCS_PSS", RSA, "sign verify"),
    (0x040, "CKM_SHA256_RSA_PKCS", RSA, "sign verify"),
    (0x041, "CKM_SHA384_RSA_PKCS", RSA, "sign verify"),
    (0x042, "CKM_SHA512_RSA_PKCS", RSA, "sign verify"),
    (0x043, "CKM_SHA256_RSA_PKCS_PSS", RSA, "sign verify"),
    (0x044, "CKM_SHA384_RSA_PKCS_PSS", RSA, "sign verify"),
    (0x045, "CKM_SHA512_RSA_PKCS_PSS", RSA, "sign verify"),
    (0x046, "CKM_SHA224_RSA_PKCS", RSA, "sign verify"),
    (0x047, "CKM_SHA224_RSA_PKCS_PSS", RSA, "sign verify"),
    (0x04F, "CKM_SHA512_256_KEY_DERIVATION", SECRET, "derive"),
    (0x350, "CKM_GENERIC_SECRET_KEY_GEN", SECRET, "generate"),
    (0x360, "CKM_CONCATENATE_BASE_AND_KEY", SECRET, "derive"),
    (0x362, "CKM_CONCATENATE_BASE_AND_DATA", SECRET, "derive"),
    (0x363, "CKM_CONCATENATE_DATA_AND_BASE", SECRET, "derive"),
    (0x364, "CKM_XOR_BASE_AND_DATA", SECRET, "derive"),
    (0x365, "CKM_EXTRACT_KEY_FROM_KEY", SECRET, "derive"),
    (0x392, "CKM_SHA1_KEY_DERIVATION", SECRET, "derive"),
    (0x393, "CKM_SHA256_KEY_DERIVATION", SECRET, "derive"),
    (0x394, "CKM_SHA384_KEY_DERIVATION", SECRET, "derive"),
    (0x395, "CKM_SHA512_KEY_DERIVATION", SECRET, "derive"),
    (0x396, "CKM_SHA224_KEY_DERIVATION", SECRET, "derive"),
    (0x056, "CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE", TLS, "derive"),
    (0x057, "CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH", TLS, "derive"),
    (0x374, "CKM_TLS_PRE_MASTER_KEY_GEN", TLS, "generate"),
    (0x3D8, "CKM_TLS12_MAC", SECRET, "sign verify"),
    (0x3D9, "CKM_TLS12_KDF", SECRET, "derive"),
    (0x3E0, "CKM_TLS12_MASTER_KEY_DERIVE", TLS, "derive"),
    (0x3E1, "CKM_TLS12_KEY_AND_MAC_DERIVE", TLS, "derive"),
    (0x3E2, "CKM_TLS12_MASTER_KEY_DERIVE_DH", TLS, "derive"),
    (0x3E3, "CKM_TLS12_KEY_SAFE_DERIVE", TLS, "derive"),
    (0x3E4, "CKM_TLS_MAC", SECRET, "sign verify"),
    (0x3E5, "CKM_TLS_KDF", SECRET, "derive"),
    (0x3AC, "CKM_SP800_108_COUNTER_KDF", SECRET, "derive"),
    (0x3B0, "CKM_PKCS5_PBKD2", SECRET, "generate"),
    (0x1040, "CKM_ECDSA_KEY_PAIR_GEN", EC, f"generate_key_pair {POINTS}"),
    (0x1041, "CKM_ECDSA", EC, f"sign verify {POINTS}"),
    (0x1042, "CKM_ECDSA_SHA1", EC, f"sign verify {POINTS}"),
    (0x1043, "CKM_ECDSA_SHA224", EC, f"sign verify {POINTS}"),
    (0x1044, "CKM_ECDSA_SHA256", EC, f"sign verify {POINTS}"),
    (0x1045, "CKM_ECDSA_SHA384", EC, f"sign verify {POINTS}"),
    (0x1046, "CKM_ECDSA_SHA512", EC, f"sign verify {POINTS}"),
    (0x1050, "CKM_ECDH1_DERIVE", EC, f"derive {KEM} {POINTS}"),
    (0x1051, "CKM_ECDH1_COFACTOR_DERIVE", EC, f"derive {KEM} {POINTS}"),
    (0x1053, "CKM_ECDH_AES_KEY_WRAP", EC, f"wrap unwrap {POINTS}"),
    (0x4038, "CKM_ECDH_X_AES_KEY_WRAP", X25519, f"wrap unwrap {CURVES}"),
    (0x4039, "CKM_ECDH_COF_AES_KEY_WRAP", EC, f"wrap unwrap {POINTS}"),
    (0x1054, "CKM_RSA_AES_KEY_WRAP", RSA, "wrap unwrap"),
    (0x1055, "CKM_EC_EDWARDS_KEY_PAIR_GEN", X25519, f"generate_key_pair {CURVES}"),
    (0x1056, "CKM_EC_MONTGOMERY_KEY_PAIR_GEN", X25519, f"generate_key_pair {CURVES}"),
    (0x1057, "CKM_EDDSA", X25519, f"generate_key_pair sign verify {CURVES}"),
    (0x1080, "CKM_AES_KEY_GEN", AES, "generate"),
    (0x1081, "CKM_AES_ECB", AES, "encrypt decrypt"),
    (0x1082, "CKM_AES_CBC", AES, "encrypt decrypt wrap unwrap"),
    (0x1085, "CKM_AES_CBC_PAD", AES, "encrypt decrypt wrap unwrap"),
    (0x1086, "CKM_AES_CTR", AES, "encrypt decrypt"),
    (0x1087, "CKM_AES_GCM", AES, f"encrypt decrypt wrap unwrap {MESSAGES}"),
    (0x1088, "CKM_AES_CCM", AES, "encrypt decrypt"),
    (0x108A, "CKM_AES_CMAC", AES, "sign verify"),
    (0x108B, "CKM_AES_CMAC_GENERAL", AES, "sign verify"),
    (0x1225, "CKM_CHACHA20_KEY_GEN", CHACHA, "generate"),
    (0x2109, "CKM_AES_KEY_WRAP", AES, "wrap unwrap"),
    (0x210A, "CKM_AES_KEY_WRAP_PAD", AES, "wrap unwrap"),
    (0x210B, "CKM_AES_KEY_WRAP_KWP", AES, "wrap unwrap"),
    (0x402A, "CKM_HKDF_DERIVE", SECRET, "derive"),
    (0x402B, "CKM_HKDF_DATA", SECRET, "derive"),
    (0x402C, "CKM_HKDF_KEY_GEN", SECRET, "generate"),
    (0xD34D0001, "CKM_SECRETMEM_HPKE", X25519, f"encrypt decrypt wrap unwrap {KEM} {CURVES}"),
    (0xD34D0002, "CKM_SECRETMEM_RESEAL", EC, f"wrap {POINTS}"),
    (0x4021, "CKM_CHACHA20_POLY1305", CHACHA, f"encrypt decrypt {MESSAGES}"),
]
# In builds whose BoringSSL has them, says run.py. The sizes are those of public keys in bytes.
if os.environ.get("SECRETMEM_TEST_ML_KEM"):
    ML_KEM_SIZES = (1184, 1568)
    TABLE += [
        (0x00F, "CKM_ML_KEM_KEY_PAIR_GEN", ML_KEM_SIZES, "generate_key_pair"),
        (0x017, "CKM_ML_KEM", ML_KEM_SIZES, KEM),
    ]
if os.environ.get("SECRETMEM_TEST_XWING"):
    TABLE += [(0xD34D0003, "CKM_SECRETMEM_XWING_KEY_PAIR_GEN", (1216, 1216), "generate_key_pair")]


def rows():
    """The table by number, with flags as a set."""
    for number, name, sizes, flags in sorted(TABLE):
        unknown = set(flags.split()) - {flag for flag, _, _ in FLAGS} - set(OTHER_FLAGS)
        assert not unknown, f"{name}: add {unknown} to FLAGS"
        yield number, name, sizes, set(flags.split())


@functools.cache
def contents(program):
    with open(shutil.which(program), "rb") as f:
        return f.read()


def knows(program, name):
    """Whether the program has this string, be it as the end of a longer one, as linkers do it."""
    return name.encode() + b"\0" in contents(program)


def pkcs11_tool_list():
    """What `pkcs11-tool --list-mechanisms` prints."""
    lines = ["Supported mechanisms:"]
    for number, name, (least, most), flags in rows():
        short = name.removeprefix("CKM_").replace("_", "-")
        parts = [short if knows("pkcs11-tool", short) else f"mechtype-0x{number:X}"]
        if least or most:
            parts.append(f"keySize={{{least or ''},{most or ''}}}")
        parts += [printed for flag, printed, _ in FLAGS if flag in flags]
        if other := sum(OTHER_FLAGS.get(flag, 0) for flag in flags):
            parts.append(f"other flags=0x{other:x}")
        lines.append("  " + ", ".join(parts))
    return "\n".join(lines) + "\n"


def p11tool_list():
    """What `p11tool --list-mechanisms` prints."""
    lines = []
    for number, name, (least, most), flags in rows():
        parts = [f"[0x{number:04x}]", name if knows("p11tool", name) else "UNKNOWN"]
        if least or most:
            parts.append(f"keysize range ({least}, {most})")
        parts += [printed for flag, _, printed in FLAGS if printed and flag in flags]
        lines.append(" ".join(parts))
    return "\n".join(lines) + "\n"
