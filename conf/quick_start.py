"""The parts of conf/quick-start that are not shell.

quick_start.py kernel
    says why memfd_secret(2) cannot be used, with status 1, if that is so
quick_start.py agree MODULE LABEL PIN PEER PUBLIC
    agrees with the public key in PEER, writes its own to PUBLIC, stays until its input ends
quick_start.py read PID
    tries to read the process's secret memory, then ordinary memory
"""

import ctypes
import errno
import os
import sys

SYS_MEMFD_SECRET = 447  # the same on every architecture
SPKI_PREFIX = bytes.fromhex(
    "302a300506032b656e032100"
)  # X25519, RFC 8410; the key's 32 bytes follow


def kernel():
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(SYS_MEMFD_SECRET, 0)
    if descriptor >= 0:
        os.close(descriptor)
        return 0
    error = ctypes.get_errno()
    release = os.uname().release
    if error == errno.ENOSYS:
        print(f"Linux {release} has no memfd_secret(2), or it is not enabled.")
    elif error in (errno.EPERM, errno.EACCES):
        print("memfd_secret(2) is forbidden here, by seccomp for example (a container?).")
    else:
        print(f"memfd_secret(2) fails: {os.strerror(error)}.")
    return 1


def agree(module, label, pin, peer_file, public_file):
    import PyKCS11
    from PyKCS11 import LowLevel as c

    with open(peer_file, "rb") as f:
        peer = f.read().removeprefix(SPKI_PREFIX)
    lib = PyKCS11.PyKCS11Lib()
    lib.load(module)
    slot = next(
        s for s in lib.getSlotList(tokenPresent=True) if lib.getTokenInfo(s).label.strip() == label
    )
    session = lib.openSession(slot)
    session.login(pin)
    (private,) = session.findObjects([(c.CKA_CLASS, c.CKO_PRIVATE_KEY), (c.CKA_LABEL, "agreement")])
    (public,) = session.findObjects([(c.CKA_CLASS, c.CKO_PUBLIC_KEY), (c.CKA_LABEL, "agreement")])
    (point,) = session.getAttributeValue(public, [c.CKA_EC_POINT])
    with open(public_file, "wb") as f:
        f.write(SPKI_PREFIX + bytes(point))
    derived = session.deriveKey(
        private,
        [
            (c.CKA_CLASS, c.CKO_SECRET_KEY),
            (c.CKA_KEY_TYPE, c.CKK_GENERIC_SECRET),
            (c.CKA_TOKEN, False),
            (c.CKA_SENSITIVE, False),
            (c.CKA_EXTRACTABLE, True),
        ],
        PyKCS11.ECDH1_DERIVE_Mechanism(peer),
    )
    (secret,) = session.getAttributeValue(derived, [c.CKA_VALUE])
    print(bytes(secret).hex(), flush=True)
    for line in sys.stdin:  # the key stays in use while the caller looks at this process
        if line == "read\n":
            print(f"end {read('self')}", flush=True)
    return 0


def read(pid):
    """Reads the start of every secret region of a process, then of an ordinary one, the same way.

    The second read shows that the first could have succeeded. Returns 0 if only the second did.
    """
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        lines = f.read().splitlines()
    secret = [line for line in lines if line.endswith("/secretmem (deleted)")]
    ordinary = [line for line in lines if line.endswith("[heap]")]
    if not secret or not ordinary:
        print("no such mapping in /proc/%s/maps" % pid)
        return 1
    who = "root" if os.geteuid() == 0 else "the process itself"
    wrong = 0
    for line, readable in [(line, False) for line in secret] + [(ordinary[0], True)]:
        print(" ".join(line.split()))
        start = int(line.split("-")[0], 16)
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            try:
                memory.seek(start)
                result = f"{len(memory.read(64))} bytes read"
                wrong += not readable
            except OSError as e:
                result = f"{errno.errorcode[e.errno]} ({e.strerror})"
                wrong += readable
        print(f"    {who}, /proc/{pid}/mem: {result}")
    return 1 if wrong else 0


def main():
    commands = {"kernel": kernel, "agree": agree, "read": read}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))


main()
