"""pkcs11-tool of OpenSC: slots, tokens and PINs."""

import os
import re
import unittest

import mechanisms
from harness import LABEL, MANUFACTURER, MODEL, PIN, PROFILES, SO_PIN, ClientTest

FREE_SLOT = "  token state:   uninitialized\n"


def token_lines(label, flags):
    """What show_token prints for an initialised token."""
    return (
        f"  token label        : {label}\n"
        f"  token manufacturer : {MANUFACTURER}\n"
        f"  token model        : {MODEL}\n"
        f"  token flags        : {flags}\n"
        r"  hardware version   : <<hw_" + label + r"=\d+\.\d+>>" + "\n"
        r"  firmware version   : <<fw_" + label + r"=\d+\.\d+>>" + "\n"
        "  serial num         : <<serial_" + label + "=[0-9A-Za-z]{1,16}>>\n"
        "  pin min/max        : 4/255\n"
    )


FLAGS_NO_PIN = "login required, rng, token initialized"
FLAGS_PIN = "login required, rng, token initialized, PIN initialized"


def slot_line(index):
    return f"Slot {index} (0x<<slot{index}=[0-9a-f]+>>): <<description{index}=[^\\n]+>>\n"


class Tokens(ClientTest):
    def test_list_slots_of_a_new_directory(self):
        self.expect(self.tool("-L"), "Available slots:\n" + slot_line(0) + FREE_SLOT)

    def test_init_token_makes_a_token_and_leaves_a_free_slot(self):
        self.expect(
            self.tool("--init-token", "--slot-index", "0", "--label", LABEL, "--so-pin", SO_PIN),
            "Token successfully initialized\n",
            "Using slot with index 0 (0x<<slot=[0-9a-f]+>>)\n",
        )
        self.expect(
            self.tool("-L"),
            "Available slots:\n"
            + slot_line(0)
            + token_lines(LABEL, FLAGS_NO_PIN)
            + slot_line(1)
            + FREE_SLOT,
        )
        self.expect(
            self.on_token(
                "--init-pin", "--login", "--login-type", "so", "--so-pin", SO_PIN, "--new-pin", PIN
            ),
            "User PIN successfully initialized\n",
        )
        self.expect(
            self.tool("-L"),
            "Available slots:\n"
            + slot_line(0)
            + token_lines(LABEL, FLAGS_PIN)
            + slot_line(1)
            + FREE_SLOT,
        )

    def test_slots_of_tokens_stay_when_others_are_made(self):
        self.make_token("alpha")
        first = self.expect(
            self.tool("-L"),
            "Available slots:\n"
            + slot_line(0)
            + token_lines("alpha", FLAGS_PIN)
            + slot_line(1)
            + FREE_SLOT,
        )
        self.make_token("beta", index=1)
        slots = self.run_program(*self.tool("-L")).stdout
        blocks = re.findall(r"Slot \d+ \(0x([0-9a-f]+)\): .*\n((?:  .*\n)+)", slots)
        labels = [
            re.search(r"token label +: (.*)", b).group(1) if "label" in b else None
            for _, b in blocks
        ]
        self.assertCountEqual(labels[:2], ["alpha", "beta"], slots)
        self.assertEqual(labels[2:], [None], slots)
        self.assertEqual(blocks[labels.index("alpha")][0], first["slot0"], slots)
        serials = re.findall(r"serial num +: (.*)", slots)
        self.assertEqual(len(set(serials)), 2, slots)
        self.assertIn(first["serial_alpha"], serials)

    def test_init_token_again_needs_the_so_pin_and_empties_the_token(self):
        self.make_token()
        self.make_x25519()
        self.expect(
            self.tool(
                "--init-token", "--slot-index", "0", "--label", "other", "--so-pin", "wrong-so-pin"
            ),
            "",
            "Using slot with index 0 (0x<<slot=[0-9a-f]+>>)\n"
            "error: PKCS11 function C_InitToken failed: rv = CKR_PIN_INCORRECT (0xa0)\nAborting.\n",
            status=1,
        )
        self.run_program(
            *self.tool("--init-token", "--slot-index", "0", "--label", "other", "--so-pin", SO_PIN)
        )
        self.expect(
            self.tool("-L"),
            "Available slots:\n"
            + slot_line(0)
            + token_lines("other", FLAGS_NO_PIN)
            + slot_line(1)
            + FREE_SLOT,
        )
        self.expect(self.on_token("-O", label="other"), PROFILES)

    def test_show_info(self):
        self.make_token()
        self.expect(
            self.tool("--show-info"),
            "Cryptoki version <<cryptoki=(2\\.40|3\\.\\d)>>\n"
            f"Manufacturer     {MANUFACTURER}\n"
            "Library          <<library=[ -~]{1,32}>> (ver <<version=\\d+\\.\\d+>>)\n",
            "Using slot 0 with a present token (0x<<slot=[0-9a-f]+>>)\n",
        )

    def test_mechanisms(self):
        self.make_token()
        self.expect(self.on_token("-M"), mechanisms.pkcs11_tool_list())


class ManyTokens(ClientTest):
    def test_objects_stay_in_their_token(self):
        self.make_token("alpha")
        self.make_token("beta", index=1)
        self.run_program(
            *self.logged_in(
                "--keypairgen",
                "--key-type",
                "EC:curve25519",
                "--id",
                "01",
                "--label",
                "a",
                label="alpha",
            )
        )
        self.expect(self.logged_in("-O", label="beta"), PROFILES)
        self.assertEqual(
            self.run_program(*self.logged_in("-O", label="alpha")).stdout.count("EC_MONTGOMERY"), 2
        )

    def test_a_damaged_token_leaves_the_others_alone(self):
        self.make_token("alpha")
        before = {f for f in os.listdir(self.tokens) if f.endswith(".token")}
        self.make_token("beta", index=1)
        (damaged,) = {f for f in os.listdir(self.tokens) if f.endswith(".token")} - before
        with open(os.path.join(self.tokens, damaged), "r+b") as f:
            f.write(b"\0" * 4096)
        self.env["SECRETMEM_PKCS11_LOG"] = "off"
        listed = self.run_program(*self.tool("-L")).stdout
        self.assertIn("token label        : alpha\n", listed)
        self.assertNotIn("beta", listed)
        self.assertIn("(token not recognized)\n", listed)
        self.expect(self.logged_in("-O", label="alpha"), PROFILES)


class Pins(ClientTest):
    def setUp(self):
        super().setUp()
        self.make_token()

    def assert_pin(self, pin):
        """pin is the user's: it opens a session that sees private objects."""
        self.expect(self.logged_in("-O", pin=pin), PROFILES)

    def assert_not_pin(self, pin):
        self.expect(
            self.logged_in("-O", pin=pin),
            "",
            "error: PKCS11 function C_Login failed: rv = CKR_PIN_INCORRECT (0xa0)\nAborting.\n",
            status=1,
        )

    def test_init_pin_replaces_the_users_pin(self):
        self.expect(
            self.on_token(
                "--init-pin",
                "--login",
                "--login-type",
                "so",
                "--so-pin",
                SO_PIN,
                "--new-pin",
                "again-5",
            ),
            "User PIN successfully initialized\n",
        )
        self.assert_pin("again-5")
        self.assert_not_pin(PIN)

    def test_init_pin_keeps_the_keys(self):
        point = self.make_x25519()
        self.run_program(
            *self.on_token(
                "--init-pin",
                "--login",
                "--login-type",
                "so",
                "--so-pin",
                SO_PIN,
                "--new-pin",
                "again-5",
            )
        )
        listed = self.run_program(*self.logged_in("-O", pin="again-5")).stdout
        self.assertIn("Private Key Object; EC_MONTGOMERY\n", listed)
        self.assertIn(point.hex(), listed)

    def test_change_pin(self):
        self.expect(
            self.on_token("--change-pin", "--pin", PIN, "--new-pin", "new-pin-7"),
            "PIN successfully changed\n",
        )
        self.assert_pin("new-pin-7")
        self.assert_not_pin(PIN)

    def test_change_pin_logged_in(self):
        self.expect(
            self.logged_in("--change-pin", "--new-pin", "new-pin-7"), "PIN successfully changed\n"
        )
        self.assert_pin("new-pin-7")

    def test_change_pin_with_a_wrong_pin(self):
        self.expect(
            self.on_token("--change-pin", "--pin", "not-the-pin", "--new-pin", "new-pin-7"),
            "",
            "error: PKCS11 function C_Login failed: rv = CKR_PIN_INCORRECT (0xa0)\nAborting.\n",
            status=1,
        )
        self.assert_not_pin("new-pin-7")
        self.assert_pin(PIN)

    def test_change_pin_to_one_too_short(self):
        self.expect(
            self.on_token("--change-pin", "--pin", PIN, "--new-pin", "123"),
            "",
            "error: PKCS11 function C_SetPIN failed: rv = CKR_PIN_LEN_RANGE (0xa2)\nAborting.\n",
            status=1,
        )
        self.assert_pin(PIN)

    def test_change_so_pin(self):
        self.expect(
            self.on_token(
                "--change-pin",
                "--login",
                "--login-type",
                "so",
                "--so-pin",
                SO_PIN,
                "--new-pin",
                "so-pin-9",
            ),
            "PIN successfully changed\n",
        )
        self.run_program(
            *self.on_token(
                "--init-pin",
                "--login",
                "--login-type",
                "so",
                "--so-pin",
                "so-pin-9",
                "--new-pin",
                "555555",
            )
        )
        self.assert_pin("555555")
        self.expect(
            self.on_token(
                "--init-pin", "--login", "--login-type", "so", "--so-pin", SO_PIN, "--new-pin", PIN
            ),
            "",
            "error: PKCS11 function C_Login failed: rv = CKR_PIN_INCORRECT (0xa0)\nAborting.\n",
            status=1,
        )

    def test_unlock_pin_is_set_pin_without_login(self):
        # pkcs11-tool passes the unblocking code as C_SetPIN's old PIN in a public session, where
        # the specification knows the user's PIN only: that is what works as a code.
        self.expect(
            self.on_token("--unlock-pin", "--puk", PIN, "--new-pin", "new-pin-7"),
            "PIN successfully changed\n",
        )
        self.assert_pin("new-pin-7")
        self.expect(
            self.on_token("--unlock-pin", "--puk", SO_PIN, "--new-pin", "other-pin"),
            "",
            "error: PKCS11 function C_SetPIN failed: rv = CKR_PIN_INCORRECT (0xa0)\nAborting.\n",
            status=1,
        )
        self.assert_pin("new-pin-7")

    def test_unlock_pin_context_specific(self):
        self.expect(
            self.on_token(
                "--unlock-pin",
                "--login-type",
                "context-specific",
                "--puk",
                PIN,
                "--new-pin",
                "new-pin-7",
            ),
            "PIN successfully changed\n",
        )
        self.assert_pin("new-pin-7")
        self.assert_not_pin(PIN)


if __name__ == "__main__":
    unittest.main()
