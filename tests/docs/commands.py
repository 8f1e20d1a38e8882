"""Every command that a document shows, and how it is tried: see commands_test.py."""

PROGRAMS = ("apt build/ cmake conf/ cpack ctest echo export git grep mkdir module= openssl p11-kit "
            "pkcs11-tool reboot secretmem-pkcs11 sed tests/ update-grub").split()

# Documents whose sh blocks a test reads and runs.
FOLLOWED = {
    "docs/adding-a-mechanism.md": ("docs.AddingAMechanism", "tests/docs/docs_test.py"),
    "docs/from-softhsm2.md": ("tool.import", "tests/tool/test_import.py"),
    "docs/clients/": ("clients.recipes.Recipes.caller", "tests/clients/test_recipes.py"),
}
# First lines of indented blocks that are no commands.
NO_COMMANDS = {
    "README.md": ["tests, unit:                 "],
    "docs/hosts.md": ["[Service]"],
    "docs/hpke.md": ["CK_SECRETMEM_HPKE_PARAMS hpke = {"],
    "docs/lifetimes.md": ["CK_ULONG day = "],
}


class Run:
    """It is run as it stands."""

    def __init__(self, then=r"\A"):
        self.then = then  # what shows that it did what the document says


class As(Run):
    """This is run in its place: the same with less to wait for, or somewhere else."""

    def __init__(self, actual, then=r"\A"):
        super().__init__(then)
        self.actual = actual


class Not:
    """Nobody runs it."""

    def __init__(self, reason):
        self.reason = reason


class Elsewhere:
    """Another test runs it."""

    def __init__(self, file, words):
        self.file, self.words = file, words  # which stand in it


PACKAGED = Elsewhere("tests/package/package_test.py", 'run(\n        *(CPACK, "--config"')
THIS_TREE = Not("made the tree in which this runs")
BENCH = "build/release/bench_modules --module build/release/secretmem-pkcs11.so"
AGREE = ("pkcs11-tool --module $module --token-label keys --login --derive --mechanism ECDH1-DERIVE "
         "--id 02 --input-file peer.der --output-file secret")
QUICK = "conf/quick-start --no-setup --module build/release/secretmem-pkcs11.so"


def listed(command):
    """The tests that a ctest command would run: there are some."""
    return As(command + " -N", r"Total Tests: [1-9]")


HOW = {
    "README.md": {
        "conf/quick-start": As(QUICK),
        "conf/setup && conf/test": Not("installs packages, and runs every test, this one too"),
        "conf/quick-start --allow-mlock": As(QUICK + " --allow-mlock"),
        "conf/figures": Not("runs every test, this one too"),
        "conf/coverage": Not("builds a tree of its own, and runs every test in it"),
        "cmake --preset release && cmake --build --preset release": THIS_TREE,
        "module=$PWD/build/release/secretmem-pkcs11.so": Run(),
        "pkcs11-tool --module $module --init-token --slot-index 0 --label mine": Run(),
        "pkcs11-tool --module $module --token-label mine --init-pin --login --login-type so": Run(),
        "pkcs11-tool --module $module --token-label mine --login --keypairgen --key-type "
        "EC:curve25519 --id 01 --label key": Run("Public Key Object; EC_MONTGOMERY"),
        "pkcs11-tool --module $module --token-label mine --login --list-objects": Run(
            "label: +key"
        ),
        "cpack --config build/release/CPackConfig.cmake": PACKAGED,
        "apt install ./build/release/packages/*.deb": Elsewhere(
            "tests/package/package_test.py", '"apt-get", "-q", "-y", "install"'
        ),
        "module=/usr/lib/$(uname -m)-linux-gnu/pkcs11/secretmem-pkcs11.so": As(
            "module=$PWD/build/release/secretmem-pkcs11.so"
        ),
        "secretmem-pkcs11 status": Run("mine +1 key, 1 other object"),
        "secretmem-pkcs11 token init --label keys": Run('Made token "keys"'),
        "pkcs11-tool --module $module --token-label keys --login --keypairgen --key-type "
        "EC:prime256v1 --id 02 --label agreement": Run(),
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out peer.pem": Run(),
        "openssl pkey -in peer.pem -pubout -outform DER -out peer.der": Run(),
        AGREE: As(AGREE + " && stat -c %s secret", r"\b32$"),
        "secretmem-pkcs11 audit --token keys --picture where.svg -- " + AGREE: As(
            "secretmem-pkcs11 audit --token keys --picture where.svg -- " + AGREE
            + " && grep -c 'no key byte readable' where.svg",
            r"no eight bytes of any key could be read\n1$",
        ),
        "secretmem-pkcs11 bench --against /usr/lib/softhsm/libsofthsm2.so": Run(
            "against +/usr/lib/softhsm"
        ),
        # On a machine where something is not in order it says so, by its exit code too.
        "secretmem-pkcs11 doctor": As("secretmem-pkcs11 doctor || true", "configuration"),
        "pkcs11-tool --unlock-pin": Elsewhere(
            "tests/clients/test_pkcs11_tool_tokens.py", "--unlock-pin"
        ),
        "ctest --preset release -R audit.picture": listed("ctest --preset release -R audit.picture"),
        BENCH + ":ours --module /usr/lib/softhsm/libsofthsm2.so:softhsm2 --part alone --rounds 21": As(
            BENCH + ":ours --module /usr/lib/softhsm/libsofthsm2.so:softhsm2 --part alone --rounds 1"
            " --turn-ms 1", "ours, speed of softhsm2"
        ),
        BENCH + " --part start --token-objects 100000 --budget 300": As(
            BENCH + " --part start --token-objects 10 --rounds 1", "times that with one object"
        ),
        BENCH + ":ours --module /usr/lib/softhsm/libsofthsm2.so:softhsm2 --part threads --svg "
        "docs/threads.svg": As(
            BENCH + ":ours --module /usr/lib/softhsm/libsofthsm2.so:softhsm2 --part threads --svg "
            "threads.svg --rounds 1 --thread-ms 2 && grep -c '</svg>' threads.svg", r"\b1$"
        ),
        BENCH + ":ours --part present --objects 1,100000,1000000 --budget 120": As(
            BENCH + ":ours --part present --objects 1,100 --rounds 1",
            "0 bytes of secret memory more than before"
        ),
        "build/release/bench_protections": Run("signals blocked"),
        "build/release/bench_waits": Run(),
    },
    "client/README.md": {
        "secretmem-pkcs11 bench": As("secretmem-pkcs11 bench --only session", "session +[0-9]"),
    },
    "conf/README.md": {
        "cmake --install": Not("the command's name; below it is whole"),
        "cmake --preset release": THIS_TREE,
        "cmake --build --preset release": THIS_TREE,
        "ctest --preset release": listed("ctest --preset release"),
        "cmake --install build/release": As(
            "cmake --install build/release --prefix $PWD/prefix", "prefix/bin/secretmem-pkcs11"
        ),
        "cpack --config build/release/CPackConfig.cmake": PACKAGED,
        "cmake --preset release -DBORINGSSL_ROOT=/path/to/boringssl": As(
            "cmake --preset release -S $SOURCES -B $PWD/other -DBORINGSSL_ROOT=$BORINGSSL",
            "Configuring done",
        ),
        "conf/test release -DBORINGSSL_ROOT=/path/to/boringssl": Not("runs every test"),
        "conf/fetch-boringssl --refresh": Not("needs the archive, and changes what builds use"),
    },
    "docs/README.md": {"ctest --preset release -L docs": listed("ctest --preset release -L docs")},
    "docs/boringssl.md": {
        "git clone https://boringssl.googlesource.com/boringssl": Not("needs the network"),
        "cmake --preset release -DBORINGSSL_ROOT=$PWD/boringssl": As(
            "cmake --preset release -S $SOURCES -B $PWD/other -DBORINGSSL_ROOT=$BORINGSSL",
            "Configuring done",
        ),
        "cmake --build --preset release": THIS_TREE,
        "ctest --preset release": listed("ctest --preset release"),
        "secretmem-pkcs11 status": Run("library +BoringSSL "),
        "conf/fetch-boringssl --refresh": Not("needs the archive, and changes what builds use"),
        "conf/test release": Not("runs every test, this one too"),
        "cpack --config build/release/CPackConfig.cmake": PACKAGED,
        "grep -l secretmem-pkcs11.so /proc/[0-9]*/maps": As(
            "python3 -c 'import ctypes; ctypes.CDLL(\"build/release/secretmem-pkcs11.so\"); "
            "import os; os.system(\"grep -l secretmem-pkcs11.so /proc/[0-9]*/maps | "
            "grep -x /proc/%d/maps\" % os.getpid())'",
            r"/proc/[0-9]+/maps$",
        ),
    },
    "docs/configuration.md": {"secretmem-pkcs11 status": Run("keys at rest")},
    "docs/hosts.md": {
        "secretmem-pkcs11 status": Run("memfd_secret +(works|no)"),
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&secretmem.enable=1 /' /etc/default/grub": As(
            "echo 'GRUB_CMDLINE_LINUX=\"quiet\"' >grub && "
            "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&secretmem.enable=1 /' grub && cat grub",
            'GRUB_CMDLINE_LINUX="secretmem.enable=1 quiet"',
        ),
        "update-grub": Not("the machine's own boot loader"),
        "reboot": Not("ends the test"),
        "apt install -t bookworm-backports linux-image-amd64": Not("another kernel"),
    },
    "docs/from-softhsm2.md": {
        "secretmem-pkcs11 token init": As("secretmem-pkcs11 token init --help", "--label"),
    },
    "docs/clients/README.md": {
        "export MODULE=/usr/lib/x86_64-linux-gnu/pkcs11/secretmem-pkcs11.so": Run(),
        "export SO_PIN=87654321": Run(),
        "export PIN=1234-user": Run(),
        "export PORT=8443": Run(),
    },
    "docs/clients/p11-kit.md": {
        # As a user who is not root: for root p11-kit passes that folder over.
        "mkdir -p ~/.config/pkcs11/modules": As("$AS_USER mkdir -p ~/.config/pkcs11/modules"),
        'echo "module: $MODULE" >~/.config/pkcs11/modules/secretmem-pkcs11.module': As(
            "$AS_USER sh -c 'echo module: $HOME/secretmem-pkcs11.so "
            ">~/.config/pkcs11/modules/secretmem-pkcs11.module'"
        ),
        "p11-kit list-modules": As("$AS_USER p11-kit list-modules", "secretmem-pkcs11: "),
        "cmake --install": Not("conf/README.md has it whole"),
    },
    "docs/hpke.md": {
        "secretmem-pkcs11 audit": Elsewhere("tests/clients/test_key_service.py", '"audit"'),
    },
    "tests/README.md": {
        "conf/coverage": Not("builds a tree of its own, and runs every test in it"),
    },
    "tests/bench/README.md": {
        BENCH + " --module /usr/lib/softhsm/libsofthsm2.so:softhsm2 --svg curves.svg --json "
        "results.json": As(
            BENCH + " --module /usr/lib/softhsm/libsofthsm2.so:softhsm2 --svg curves.svg --json "
            "results.json --rounds 1 --turn-ms 1 --thread-ms 2 --objects 1,100 --token-objects 10 "
            "&& grep -c '</svg>' curves.svg", r"\b1$"
        ),
        "ctest -L bench": listed("ctest --test-dir build/release -L bench"),
    },
    "tests/clients/README.md": {"conf/setup": Not("installs packages")},
    "tests/conformance/README.md": {
        "ctest -L '^conformance$'": listed("ctest --test-dir build/release -L '^conformance$'"),
        "ctest -L conformance-softhsm2": listed(
            "ctest --test-dir build/release -L conformance-softhsm2"
        ),
        "build/release/conformance --module build/release/secretmem-pkcs11.so": As(
            "build/release/conformance --module build/release/secretmem-pkcs11.so "
            "--gtest_filter='Info*'", r"\[  PASSED  \] [1-9]",
        ),
        "build/release/conformance --module /usr/lib/softhsm/libsofthsm2.so --x25519-as-edwards "
        "--expected-differences tests/conformance/softhsm2-differences.txt": As(
            "build/release/conformance --module /usr/lib/softhsm/libsofthsm2.so "
            "--x25519-as-edwards --expected-differences "
            "tests/conformance/softhsm2-differences.txt --gtest_filter='Info*'",
            r"\[  PASSED  \] [1-9]|differences",
        ),
    },
    "tests/formats/README.md": {
        "tests/formats/formats_test.py --module build/release/secretmem-pkcs11.so --make": Not(
            "writes into the sources, once for each format"
        ),
    },
    "tests/fuzz/README.md": {
        "cmake --preset fuzz && cmake --build --preset fuzz": Not("conf/test fuzz builds that tree"),
        "ctest --preset fuzz": Not("needs the other build tree"),
        "build/fuzz/fuzz_calls -max_total_time=3600 FOUND tests/fuzz/corpus/calls": Not(
            "needs the other build tree, and an hour"
        ),
    },
    "tests/kernels/README.md": {
        "apt-get install qemu-system-x86 busybox-static cpio kmod": Not("installs packages"),
    },
    "tests/model/README.md": {
        f"build/release/model --module build/release/secretmem-pkcs11.so {option}": As(
            f"build/release/model --module build/release/secretmem-pkcs11.so {actual}",
            " 0 differences",
        )
        for option, actual in (
            ("--seconds 3600", "--seconds 1"),
            ("--turns 5", "--turns 5 --seconds 1"),
            ("--at-once 4", "--at-once 4 --seconds 1"),
        )
    },
    "tests/package/README.md": {
        "ctest --preset release -L package": listed("ctest --preset release -L package")
    },
    "tests/tool/README.md": {
        "ctest --preset release -L tool": listed("ctest --preset release -L tool")
    },
}
