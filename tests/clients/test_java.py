"""Java's SunPKCS11: keytool, and a program with keys of all kinds: docs/clients/java.md."""

import unittest

from recipe import RecipeTest


class Java(RecipeTest):
    PAGE = "java"
    PROGRAMS = {"java": "default-jdk-headless", "keytool": "default-jdk-headless"}

    def setUp(self):
        super().setUp()
        # The tests' machines have two processors: no time for the best code.
        self.env["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        self.write("message.txt", b"a message\n")
        self.follow("Configuration")

    def test_keytool_and_program(self):
        self.follow("Keys")
        shown = self.follow("List").stdout
        fingerprint = r"Certificate fingerprint \(SHA-256\): (?:[0-9A-F]{2}:){31}[0-9A-F]{2}\n"
        self.assertRegex(
            shown,
            r"\AKeystore type: PKCS11\nKeystore provider: SunPKCS11-secretmem\n\n"
            r"Your keystore contains 3 entries\n\naes, SecretKeyEntry, \n"
            rf"ec, PrivateKeyEntry, \n{fingerprint}rsa, PrivateKeyEntry, \n{fingerprint}\Z",
        )
        for name in ("ec", "rsa"):
            self.expect(
                ["openssl", "verify", "-check_ss_sig", "-CAfile", f"{name}.crt", f"{name}.crt"],
                f"{name}.crt: OK\n",
            )
            certificate = self.run_program(
                "openssl", "x509", "-in", f"{name}.crt", "-noout", "-pubkey"
            ).stdout
            self.write(f"{name}.pub", certificate.encode())
        self.follow("Program")
        self.assertEqual(
            self.follow("Run it").stdout.splitlines(),
            [
                "SHA256withECDSA: true",
                "SHA256withRSA: true",
                "RSASSA-PSS: true",
                "ECDH: true",
                "AES-GCM: true",
                "TLSv1.3: hello",
                "TLSv1.2: hello",
            ],
        )
        self.verified("ec.pub", "SHA256withECDSA.sig")
        self.verified("rsa.pub", "SHA256withRSA.sig")
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
        self.verified("rsa.pub", "RSASSA-PSS.sig", *pss)

    def test_tls_secrets_on_the_token(self):
        self.follow("Keys")
        # What the module refuses, Java does in its own software: then the secret would be readable.
        self.assertEqual(
            self.follow("TLS with every secret on the token").stdout.splitlines(),
            [
                f"{suite}: hello, sun.security.pkcs11, not readable"
                for suite in (
                    "TLS_RSA_WITH_AES_128_GCM_SHA256",
                    "TLS_RSA_WITH_AES_128_CBC_SHA256",
                    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
                )
            ],
        )


if __name__ == "__main__":
    unittest.main()
