"""Builds the Debian packages, inspects them, installs them into a clean tree and removes them."""

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SKIP = 77
SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
# What the recipes are about, beside opensc.
CLIENTS = ("curl default-jdk-headless gnutls-bin libengine-pkcs11-openssl libnss3-tools nginx "
           "openssh-client openssh-server openssl p11-kit p11-kit-modules python3 python3-pykcs11 "
           "softhsm2").split()
SO_PIN = "87654321"
PIN = "1234-user"


def contents():
    """Every file of every package, with its mode."""
    lib = f"usr/lib/{ARCHITECTURE}"
    files = {
        "secretmem-pkcs11-module": {
            "etc/secretmem-pkcs11/config.toml": "-rw-r--r--",
            f"{lib}/pkcs11/secretmem-pkcs11.so": "-rw-r--r--",
            "usr/share/p11-kit/modules/secretmem-pkcs11.module": "-rw-r--r--",
            "usr/share/man/man5/secretmem-pkcs11.toml.5.gz": "-rw-r--r--",
            "usr/share/doc/secretmem-pkcs11-module/examples/openssl-engine.cnf": "-rw-r--r--",
            "usr/share/doc/secretmem-pkcs11-module/examples/openssl-provider.cnf": "-rw-r--r--",
            "usr/share/doc/secretmem-pkcs11-module/examples/systemd-memlock.conf": "-rw-r--r--",
        },
        "secretmem-pkcs11": {
            "usr/bin/secretmem-pkcs11": "-rwxr-xr-x",
            "usr/share/man/man1/secretmem-pkcs11.1.gz": "-rw-r--r--",
        },
        "secretmem-pkcs11-dev": {
            "usr/include/secretmem-pkcs11/vendor.h": "-rw-r--r--",
            f"{lib}/pkgconfig/secretmem-pkcs11.pc": "-rw-r--r--",
        },
        "secretmem-pkcs11-doc": {},
    }
    for package, own in files.items():
        for name in ("copyright", "changelog.gz"):
            own[f"usr/share/doc/{package}/{name}"] = "-rw-r--r--"
        own[f"usr/share/lintian/overrides/{package}"] = "-rw-r--r--"
    return files


def run(*argv, status=0, **kwargs):
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=600, stdin=subprocess.DEVNULL, **kwargs
    )
    if done.returncode != status:
        raise AssertionError(
            f"$ {' '.join(argv)}\n[status {done.returncode}]\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def tree(root):
    """Every path below root, dpkg's own books left out."""
    found = []
    for path, folders, files in os.walk(root):
        if os.path.relpath(path, root) == "var/lib":
            folders.remove("dpkg")
        found += [os.path.relpath(os.path.join(path, name), root) for name in folders + files]
    return sorted(found)


def setUpModule():
    """Builds the packages, once for all tests."""
    Case.dir = tempfile.mkdtemp(prefix="packages-")
    unittest.addModuleCleanup(shutil.rmtree, Case.dir)
    os.chmod(Case.dir, 0o755)
    run(
        *(CPACK, "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", Case.dir),
        *("-D", f"CPACK_OUTPUT_FILE_PREFIX={Case.dir}/debs"),
    )
    Case.debs = {
        re.match(r"[^_]+", os.path.basename(path)).group(): path
        for path in glob.glob(f"{Case.dir}/debs/*.deb")
    }


class Case(unittest.TestCase):
    maxDiff = None
    dir = ""  # where everything is built and installed
    debs = {}  # the packages' files by their names


class PackageTest(Case):
    """The packages as they are."""

    def field(self, package, name):
        return run("dpkg-deb", "--field", self.debs[package], name).strip()

    def test_names_and_versions(self):
        self.assertEqual(sorted(self.debs), sorted(contents()))
        for package in self.debs:
            self.assertEqual(self.field(package, "Package"), package)
            self.assertEqual(self.field(package, "Version"), VERSION)

    def test_dependencies(self):
        """What the programs are linked with, and nothing that they carry themselves."""
        names = {
            package: sorted(re.findall(r"(?:^|, )([^ ,]+)", self.field(package, "Depends")))
            for package in self.debs
        }
        shared = ["libc6", "libgcc-s1", "libstdc++6"]
        self.assertEqual(
            names,
            {
                "secretmem-pkcs11-module": shared,
                "secretmem-pkcs11": shared + ["secretmem-pkcs11-module"],
                "secretmem-pkcs11-dev": ["libp11-kit-dev", "secretmem-pkcs11-module"],
                "secretmem-pkcs11-doc": [],
            },
        )
        self.assertIn(
            f"secretmem-pkcs11-module (= {VERSION})", self.field("secretmem-pkcs11", "Depends")
        )

    def test_contents(self):
        for package, expected in contents().items():
            found = {}
            for line in run("dpkg-deb", "--contents", self.debs[package]).splitlines():
                mode, owner, _, _, _, path = line.split(None, 5)
                self.assertEqual(owner, "root/root", line)
                if mode.startswith("d"):
                    self.assertEqual(mode, "drwxr-xr-x", line)
                else:
                    found[path.removeprefix("./")] = mode
            if package == "secretmem-pkcs11-doc":
                where = "usr/share/doc/secretmem-pkcs11-doc/"
                documents = {p: m for p, m in found.items() if p.endswith((".md", ".svg"))}
                self.assertIn(where + "README.md", documents)
                self.assertIn(where + "docs/README.md", documents)
                self.assertEqual(set(documents.values()), {"-rw-r--r--"})
                found = {p: m for p, m in found.items() if p not in documents}
            self.assertEqual(found, expected)

    def test_the_configuration_is_the_administrators(self):
        conffiles = run("dpkg-deb", "--info", self.debs["secretmem-pkcs11-module"], "conffiles")
        self.assertEqual(conffiles, "/etc/secretmem-pkcs11/config.toml\n")

    def test_lintian(self):
        if shutil.which("lintian") is None:
            self.fail("there is no lintian: install it, or all by conf/setup")
        said = run(
            *("lintian", "--allow-root", "--fail-on", "error,warning"),
            *self.debs.values(),
        )
        self.assertEqual(said, "")


class InstallTest(Case):
    """In an empty tree, with the libraries of the machine the test runs on."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="root-", dir=self.dir)
        self.home = tempfile.mkdtemp(prefix="home-", dir=self.dir)
        for folder in ("updates", "info", "triggers"):
            os.makedirs(f"{self.root}/var/lib/dpkg/{folder}")
        for file in ("status", "available"):
            open(f"{self.root}/var/lib/dpkg/{file}", "w").close()
        self.before = tree(self.root)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": self.home,
            "LC_ALL": "C.UTF-8",
            "SECRETMEM_PKCS11_LOG": "error",
        }

    def dpkg(self, *arguments):
        # Its dependencies are not in the empty tree, but on the machine.
        return run(*("dpkg", f"--root={self.root}", "--force-depends", "--log=/dev/null"), *arguments)

    def tool(self, *arguments, **kwargs):
        return run(f"{self.root}/usr/bin/secretmem-pkcs11", *arguments, env=self.env, **kwargs)

    def test_install_use_remove_purge(self):
        self.dpkg("--install", *self.debs.values())
        module = f"{self.root}/usr/lib/{ARCHITECTURE}/pkcs11/secretmem-pkcs11.so"
        status = json.loads(self.tool("--json", "status"))
        self.assertEqual(status["module"]["path"], module)
        self.assertTrue(status["ok"], status)
        for name, pin in (("so", SO_PIN), ("user", PIN)):
            with open(f"{self.home}/{name}", "w", encoding="utf-8") as f:
                f.write(pin + "\n")
        made = self.tool(
            *("token", "init", "--label", "main"),
            *("--so-pin-file", f"{self.home}/so", "--pin-file", f"{self.home}/user"),
        )
        self.assertRegex(made, r'^Made token "main" \([0-9a-f]{16}\)\.\n$')
        run(
            *("pkcs11-tool", "--module", module, "--token-label", "main", "--login", "--pin", PIN),
            *("--keypairgen", "--key-type", "EC:curve25519", "--label", "key"),
            env=self.env,
        )
        self.assertRegex(self.tool("token", "list"), r"^  \+ main +1 key, 1 other object, ")
        tokens = tree(self.home)

        # What an administrator wrote stays until the packages are purged.
        config = f"{self.root}/etc/secretmem-pkcs11/config.toml"
        with open(config, "a", encoding="utf-8") as f:
            f.write("\n# mine\n")
        self.dpkg("--remove", *contents())
        self.assertEqual(
            tree(self.root),
            sorted(self.before + ["etc", "etc/secretmem-pkcs11", "etc/secretmem-pkcs11/config.toml"]),
        )
        self.dpkg("--purge", *contents())
        left = set(tree(self.root)) - set(self.before)
        self.assertEqual(left - {"etc", "usr", "var/log"}, set())
        self.assertEqual(tree(self.home), tokens)

    def test_the_files_name_the_installed_module(self):
        self.dpkg("--install", *self.debs.values())
        installed = f"/usr/lib/{ARCHITECTURE}/pkcs11/secretmem-pkcs11.so"
        doc = "usr/share/doc/secretmem-pkcs11-module/examples"
        for file, line in {
            "usr/share/p11-kit/modules/secretmem-pkcs11.module": f"module: {installed}",
            f"{doc}/openssl-engine.cnf": f"MODULE_PATH = {installed}",
            f"{doc}/openssl-provider.cnf": f"pkcs11-module-path = {installed}",
        }.items():
            with open(os.path.join(self.root, file), encoding="utf-8") as f:
                self.assertIn(line + "\n", f.read(), file)
        pkg_config = {**self.env, "PKG_CONFIG_PATH": f"{self.root}/usr/lib/{ARCHITECTURE}/pkgconfig"}
        found = run("pkg-config", "--variable=module", "secretmem-pkcs11", env=pkg_config)
        self.assertEqual(found.strip(), installed)
        header = f"{self.root}/usr/include/secretmem-pkcs11/vendor.h"
        kit = run("pkg-config", "--cflags", "p11-kit-1").split()
        run("cc", "-fsyntax-only", "-x", "c", *kit, header)

    def test_manual_pages(self):
        self.dpkg("--install", *self.debs.values())
        for page, name in (("man1/secretmem-pkcs11.1", "SECRETMEM-PKCS11(1)"),
                           ("man5/secretmem-pkcs11.toml.5", "SECRETMEM-PKCS11.TOML(5)")):
            done = subprocess.run(
                ["man", "--warnings", "--local-file", f"{self.root}/usr/share/man/{page}.gz"],
                env={**self.env, "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""},
                capture_output=True, text=True, check=True,
            )
            self.assertEqual(done.stderr, "")
            self.assertIn(name, done.stdout)

    def test_every_setting_is_in_the_manual(self):
        self.dpkg("--install", *self.debs.values())
        with open(f"{self.root}/etc/secretmem-pkcs11/config.toml", encoding="utf-8") as f:
            settings = re.findall(r"^#(\w+) = (.*)$", f.read(), re.M)
        self.assertGreater(len(settings), 10)
        page = run("zcat", f"{self.root}/usr/share/man/man5/secretmem-pkcs11.toml.5.gz")
        shown = re.findall(r"^\.T[PQ]\n\\fB(\w+)\\fR = (.*)$", page, re.M)
        self.assertEqual([(n, v.replace("\\-", "-")) for n, v in shown], settings)

    def use(self, inside, root):
        """What the README has a newcomer do with the packages: a token, a key, the audit of a command."""
        for name, pin in (("so", SO_PIN), ("user", PIN)):
            with open(f"{root}/root/{name}", "w", encoding="utf-8") as f:
                f.write(pin + "\n")
        made = run(*inside, "secretmem-pkcs11", "token", "init", "--label", "keys",
                   "--so-pin-file", "/root/so", "--pin-file", "/root/user")
        self.assertRegex(made, r'^Made token "keys" ')
        tool = ("pkcs11-tool", "--module", f"/usr/lib/{ARCHITECTURE}/pkcs11/secretmem-pkcs11.so",
                "--token-label", "keys", "--login", "--pin", PIN)
        run(*inside, *tool, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "02")
        with open(f"{root}/root/digest", "wb") as f:
            f.write(os.urandom(32))
        found = json.loads(
            run(*inside, "secretmem-pkcs11", "--json", "audit", "--pin-file", "/root/user",
                "--picture", "/root/where.svg", "--", *tool, "--sign", "--mechanism", "ECDSA",
                "--id", "02", "--input-file", "/root/digest", "--output-file", "/root/signature")
        )
        self.assertTrue(found["ok"], found)
        users = [one["name"] for one in found["processes"] if one["secret_bytes"] > 0]
        self.assertEqual(users, ["pkcs11-tool"])
        self.assertEqual(os.path.getsize(f"{root}/root/signature"), 64)
        with open(f"{root}/root/where.svg", encoding="utf-8") as f:
            self.assertIn("no key byte readable", f.read())
        doctor = json.loads(run(*inside, "secretmem-pkcs11", "--json", "doctor"))
        self.assertEqual([one for one in doctor if one["verdict"] == "bad"], [])
        bench = json.loads(run(*inside, "secretmem-pkcs11", "--json", "bench", "--only", "session"))
        self.assertGreater(bench["operations"][0]["module"]["per_second"], 1)

    def follow_recipes(self, inside, root):
        """Every recipe of docs/clients, with the module that the package put in its place."""
        with open(f"{root}/usr/sbin/policy-rc.d", "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\nexit 101\n")  # no server starts by itself
        os.chmod(f"{root}/usr/sbin/policy-rc.d", 0o755)
        with open(f"{root}/etc/hosts", "w", encoding="utf-8") as f:
            f.write("127.0.0.1 localhost\n")  # an installer writes it
        run(*inside, "apt-get", "-q", "-y", "--no-install-recommends", "install", *CLIENTS)
        # The example for OpenSSL's engine names the module where it is, and needs nothing else.
        doc = "/usr/share/doc/secretmem-pkcs11-module/examples"
        public = run(*inside, "env", f"OPENSSL_CONF={doc}/openssl-engine.cnf", "openssl", "pkey",
                     "-engine", "pkcs11", "-inform", "engine", "-pubin", "-pubout",
                     "-in", "pkcs11:token=keys;id=%02;type=public")
        self.assertTrue(public.startswith("-----BEGIN PUBLIC KEY-----"), public)
        for folder in ("tests/clients", "docs/clients", "conf"):
            shutil.copytree(f"{SOURCES}/{folder}", f"{root}/sources/{folder}")
        recipes = []
        for path in sorted(glob.glob(f"{SOURCES}/tests/clients/test_*.py")):
            with open(path, encoding="utf-8") as f:
                if re.search(r'^    PAGE = "', f.read(), re.M):
                    recipes.append(os.path.basename(path).removesuffix(".py"))
        self.assertEqual(len(recipes), len(glob.glob(f"{SOURCES}/docs/clients/*.md")) - 1)
        run(*inside, "/usr/bin/python3", "/sources/tests/clients/run.py", "--module",
            f"/usr/lib/{ARCHITECTURE}/pkcs11/secretmem-pkcs11.so", "--tool", "/usr/bin/secretmem-pkcs11",
            *recipes)

    def test_debootstrap(self):
        if not DEBOOTSTRAP:
            self.skipTest("by option: -DSECRETMEM_TEST_DEBOOTSTRAP=ON")
        root = tempfile.mkdtemp(prefix="debian-", dir=self.dir)
        os.chmod(root, 0o755)
        run("debootstrap", "--variant=minbase", "bookworm", root)
        inside = ("chroot", root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                  "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
        for path in self.debs.values():
            shutil.copy(path, root)
        shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")
        run("mount", "-t", "proc", "proc", f"{root}/proc")
        try:
            names = ["/" + os.path.basename(path) for path in self.debs.values()]
            run(*inside, "apt-get", "-q", "-y", "install", "opensc", *names)
            found = json.loads(run(*inside, "secretmem-pkcs11", "--json", "status"))
            self.assertTrue(found["ok"], found)
            self.assertEqual([f["exists"] for f in found["p11_kit"]], [True])
            self.use(inside, root)
            self.follow_recipes(inside, root)
            run(*inside, "apt-get", "-q", "-y", "purge", *contents())
            left = [p for p in tree(root) if "secretmem-pkcs11" in p and p.startswith(("usr", "etc"))]
            self.assertEqual(left, [])
        finally:
            run("umount", f"{root}/proc")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--cpack", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--debootstrap", action="store_true")
    parsed, rest = parser.parse_known_args()
    BUILD, CPACK, VERSION = parsed.build, parsed.cpack, parsed.version
    ARCHITECTURE, DEBOOTSTRAP = parsed.architecture, parsed.debootstrap
    if os.geteuid() != 0:
        print("dpkg --root needs root")
        sys.exit(SKIP)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
