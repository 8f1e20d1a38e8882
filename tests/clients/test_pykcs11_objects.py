"""PyKCS11: attributes read and set, objects searched for."""

import json
import subprocess
import unittest

from harness import PIN
from pykcs11_case import ALICE_PRIVATE, PyKCS11Test


class Attributes(PyKCS11Test):
    FLAGS = [
        "TOKEN",
        "PRIVATE",
        "MODIFIABLE",
        "COPYABLE",
        "DESTROYABLE",
        "SENSITIVE",
        "EXTRACTABLE",
        "LOCAL",
        "ALWAYS_SENSITIVE",
        "NEVER_EXTRACTABLE",
        "ALWAYS_AUTHENTICATE",
        "WRAP_WITH_TRUSTED",
        "DERIVE",
    ]

    def test_private_key_made_by_pkcs11_tool(self):
        self.make_x25519()
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            key = find_one(s, CLASS=c.CKO_PRIVATE_KEY)
            answer(attributes(s, key, ["CLASS", "KEY_TYPE", "LABEL", "ID", "EC_PARAMS", "VALUE",
                                       "KEY_GEN_MECHANISM"] + sys.argv[2].split()))
            """,
            PIN,
            " ".join(self.FLAGS),
        )
        self.assertEqual(
            got,
            {
                "CLASS": 3,
                "KEY_TYPE": 0x41,
                "LABEL": "agreement",
                "ID": "01",
                "EC_PARAMS": "06032b656e",
                "VALUE": "CKR_ATTRIBUTE_SENSITIVE",
                "KEY_GEN_MECHANISM": 0x1056,
                "TOKEN": True,
                "PRIVATE": True,
                "MODIFIABLE": True,
                "COPYABLE": True,
                "DESTROYABLE": True,
                "SENSITIVE": True,
                "EXTRACTABLE": False,
                "LOCAL": True,
                "ALWAYS_SENSITIVE": True,
                "NEVER_EXTRACTABLE": True,
                "ALWAYS_AUTHENTICATE": False,
                "WRAP_WITH_TRUSTED": False,
                "DERIVE": True,
            },
        )

    def test_public_key_made_by_pkcs11_tool(self):
        point = self.make_x25519()
        got = self.python(
            """
            s = open_session()
            key = find_one(s, CLASS=c.CKO_PUBLIC_KEY)
            answer(attributes(s, key, ["CLASS", "KEY_TYPE", "LABEL", "EC_PARAMS", "EC_POINT",
                                       "KEY_GEN_MECHANISM", "TOKEN", "PRIVATE", "LOCAL", "DERIVE",
                                       "VERIFY", "VALUE"]))
            """
        )
        self.assertEqual(
            got,
            {
                "CLASS": 2,
                "KEY_TYPE": 0x41,
                "LABEL": "agreement",
                "EC_PARAMS": "06032b656e",
                "EC_POINT": point.hex(),
                "KEY_GEN_MECHANISM": 0x1056,
                "TOKEN": True,
                "PRIVATE": False,
                "LOCAL": True,
                "DERIVE": True,
                "VERIFY": True,
                "VALUE": "CKR_ATTRIBUTE_TYPE_INVALID",
            },
        )

    def test_imported_key_is_not_local_and_was_not_always_sensitive(self):
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            value = bytes.fromhex(sys.argv[2])
            sensitive = s.createObject(
                private_key(value, TOKEN=True, SENSITIVE=True, EXTRACTABLE=False))
            open_ = s.createObject(
                private_key(value, TOKEN=False, SENSITIVE=False, EXTRACTABLE=True))
            names = ["VALUE", "SENSITIVE", "EXTRACTABLE", "LOCAL", "ALWAYS_SENSITIVE",
                     "NEVER_EXTRACTABLE"]
            answer([attributes(s, sensitive, names), attributes(s, open_, names)])
            """,
            PIN,
            ALICE_PRIVATE,
        )
        never = {"LOCAL": False, "ALWAYS_SENSITIVE": False, "NEVER_EXTRACTABLE": False}
        self.assertEqual(
            got,
            [
                {
                    "VALUE": "CKR_ATTRIBUTE_SENSITIVE",
                    "SENSITIVE": True,
                    "EXTRACTABLE": False,
                    **never,
                },
                {"VALUE": ALICE_PRIVATE, "SENSITIVE": False, "EXTRACTABLE": True, **never},
            ],
        )

    def test_unique_ids_differ(self):
        self.make_x25519("01")
        self.make_x25519("02")
        # PyKCS11 1.5.12 does not know CKA_UNIQUE_ID (0x00000004) by name.
        program = """
            c.CKA_UNIQUE_ID = 4
            s = open_session(pin=sys.argv[1])
            answer([attributes(s, o, ["UNIQUE_ID"])["UNIQUE_ID"] for o in s.findObjects()])
            """
        ids = self.python(program, PIN)
        self.assertEqual(len(ids), 7, "two key pairs and three profiles")
        self.assertEqual(len(set(ids)), 7)
        self.assertNotIn("", ids)
        self.assertCountEqual(self.python(program, PIN), ids, "another process reads the same")

    def test_set_label_lasts(self):
        self.make_x25519()
        self.python(
            """
            s = open_session(pin=sys.argv[1])
            s.setAttributeValue(find_one(s, CLASS=c.CKO_PRIVATE_KEY), template(LABEL="renamed"))
            answer(None)
            """,
            PIN,
        )
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            key = find_one(s, LABEL="renamed")
            answer([len(find(s, CLASS=c.CKO_PRIVATE_KEY, LABEL="agreement")),
                    error(s.setAttributeValue, key, template(SENSITIVE=False)),
                    error(s.setAttributeValue, key, template(EXTRACTABLE=True))])
            """,
            PIN,
        )
        self.assertEqual(got, [0, "CKR_ATTRIBUTE_READ_ONLY", "CKR_ATTRIBUTE_READ_ONLY"])


class Searches(PyKCS11Test):
    def test_private_objects_are_there_while_logged_in(self):
        self.make_x25519()
        got = self.python(
            """
            s = open_session()
            counts = [len(s.findObjects())]
            s.login(sys.argv[1])
            counts.append(len(s.findObjects()))
            key = find_one(s, CLASS=c.CKO_PRIVATE_KEY)
            s.logout()
            counts.append(len(s.findObjects()))
            # The specification ends the handles of private objects with the login.
            answer([counts, read(s, key, "LABEL")])
            """,
            PIN,
        )
        self.assertEqual(got, [[4, 5, 4], "CKR_OBJECT_HANDLE_INVALID"])

    def test_profiles_are_there_without_a_login_and_stay(self):
        got = self.python(
            """
            c.CKA_PROFILE_ID, c.CKA_UNIQUE_ID, c.CKO_PROFILE = 0x601, 4, 9
            number = lambda n: n.to_bytes(8, sys.byteorder)
            s = open_session()
            profiles = find(s, CLASS=c.CKO_PROFILE)
            answer([
                [int.from_bytes(read(s, p, "PROFILE_ID"), sys.byteorder) for p in profiles],
                [attributes(s, p, ["LABEL", "TOKEN", "PRIVATE", "MODIFIABLE", "UNIQUE_ID"])
                 for p in profiles],
                [len(find(s, PROFILE_ID=number(n))) for n in (0, 1, 2, 3, 4)],
                error(s.destroyObject, profiles[0]),
                error(s.setAttributeValue, profiles[0], template(LABEL="mine")),
                error(s.createObject, template(CLASS=c.CKO_PROFILE, PROFILE_ID=number(1))),
                len(find(s, CLASS=c.CKO_PROFILE))])
            """
        )
        names = ["Baseline Provider", "Extended Provider", "Authentication Token"]
        ids = [profile.pop("UNIQUE_ID") for profile in got[1]]
        shown = {"TOKEN": True, "PRIVATE": False, "MODIFIABLE": False}
        self.assertEqual(
            got,
            [
                [1, 2, 3],
                [{"LABEL": name, **shown} for name in names],
                [0, 1, 1, 1, 0],
                "0x1b",  # CKR_ACTION_PROHIBITED, which PyKCS11 does not name
                "0x1b",
                "CKR_ATTRIBUTE_VALUE_INVALID",
                3,
            ],
        )
        # UUIDs of version 8 that differ in the last digit: the token's own.
        self.assertEqual(len({i[:-1] for i in ids}), 1)
        form = "^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8000-0{11}%d$"
        for number, unique_id in enumerate(ids, 1):
            self.assertRegex(unique_id, form % number)

    def test_templates_choose(self):
        self.make_x25519("01", "one")
        self.make_x25519("02", "two")
        got = self.python(
            """
            s = open_session(pin=sys.argv[1])
            answer([len(found) for found in (
                find(s), find(s, CLASS=c.CKO_PRIVATE_KEY), find(s, LABEL="one"), find(s, ID=b"\\2"),
                find(s, ID=b"\\2", CLASS=c.CKO_PUBLIC_KEY), find(s, KEY_TYPE=c.CKK_EC_MONTGOMERY),
                find(s, LABEL="on"), find(s, LABEL="one", ID=b"\\2"), find(s, TOKEN=False),
                find(s, EC_PARAMS=X25519_OID, CLASS=c.CKO_PRIVATE_KEY))])
            """,
            PIN,
        )
        self.assertEqual(got, [7, 2, 2, 2, 1, 4, 0, 0, 0, 2])

    def test_another_process_sees_what_is_committed(self):
        watcher = subprocess.Popen(
            self.program(
                """
                s = open_session(pin=sys.argv[1])
                for _ in sys.stdin:
                    answer(sorted(read(s, o, "LABEL").decode() for o in find(s, KEY_TYPE=c.CKK_EC_MONTGOMERY)))
                """,
                PIN,
            ),
            env=self.env,
            cwd=self.dir,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with watcher:
            try:

                def look():
                    watcher.stdin.write("look\n")
                    watcher.stdin.flush()
                    return json.loads(watcher.stdout.readline())

                self.assertEqual(look(), [])
                self.make_x25519("01", "one")
                self.assertEqual(look(), ["one", "one"])
                self.run_program(
                    *self.logged_in("--delete-object", "--type", "privkey", "--id", "01")
                )
                self.assertEqual(look(), ["one"])
                watcher.stdin.close()
                self.assertEqual(watcher.wait(timeout=60), 0)
            finally:
                watcher.kill()


if __name__ == "__main__":
    unittest.main()
