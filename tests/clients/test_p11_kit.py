"""p11-kit: the module registered by a .module file and listed."""

import os
import subprocess
import unittest

from harness import LABEL, MANUFACTURER, MODEL, ClientTest, module_path

LISTED = (
    "secretmem-pkcs11: {module}\n"
    "    library-description: <<description=[ -~]{{1,32}}>>\n"
    "    library-manufacturer: {manufacturer}\n"
    "    library-version: <<version=\\d+\\.\\d+>>\n"
    "    token: {label}\n"
    "        manufacturer: {manufacturer}\n"
    "        model: {model}\n"
    "        serial-number: <<serial=[0-9A-Za-z]+>>\n"
    "<<versions=(        (hard|firm)ware-version: \\d+\\.\\d+\n){{0,2}}>>"
    "        flags:\n"
    "               rng\n"
    "               login-required\n"
    "               user-pin-initialized\n"
    "               token-initialized\n"
    "    token: <<blank=\\s*?>>\n"
    "        manufacturer: {manufacturer}\n"
    "        model: {model}\n"
    "        serial-number: <<none=[0-9A-Za-z]*>>\n"
    "<<versions2=(        (hard|firm)ware-version: \\d+\\.\\d+\n){{0,2}}>>"
    "        flags:\n"
    "               rng\n"
    "               login-required\n"
)


class P11Kit(ClientTest):
    def test_list_modules(self):
        self.make_token()
        expected = LISTED.format(
            module=module_path(), manufacturer=MANUFACTURER, model=MODEL, label=LABEL
        )
        self.expect(self.registered("p11-kit", "list-modules"), expected)

    def registered(self, *argv):
        """A command line that runs argv with this module alone registered with p11-kit."""
        if os.geteuid() != 0:
            modules = os.path.join(self.home, ".config", "pkcs11", "modules")
            os.makedirs(modules)
            self.write_module_file(modules)
            with open(
                os.path.join(self.home, ".config", "pkcs11", "pkcs11.conf"), "w", encoding="ascii"
            ) as f:
                f.write("user-config: only\n")
            return argv
        # p11-kit ignores the home directory of root: root registers modules in the system's folder,
        # here one of this process's own, laid over the real one in a private mount namespace.
        modules = os.path.join(self.dir, "modules")
        os.mkdir(modules)
        self.write_module_file(modules)
        if (
            subprocess.run(
                ["unshare", "--mount", "true"], check=False, capture_output=True
            ).returncode
            != 0
        ):
            self.skipTest("root of this machine may not make a mount namespace")
        script = 'mount --bind "$1" /usr/share/p11-kit/modules && shift && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", modules, *argv]

    def write_module_file(self, folder):
        with open(os.path.join(folder, "secretmem-pkcs11.module"), "w", encoding="utf-8") as f:
            f.write(f"module: {module_path()}\n")


if __name__ == "__main__":
    unittest.main()
