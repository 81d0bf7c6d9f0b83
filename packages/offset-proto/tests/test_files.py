"""Files of every kind; texts are those of spec 08, checked with the original."""

import os
from pathlib import Path

import pytest

from offset_proto import files
from offset_proto.errors import InvalidInput
from offset_proto.files import IoError, OutputAlreadyExists, StringSerdeError
from offset_proto.message_json import parse_json
from offset_proto.node_tickets import NODE_TICKET, other_addresses

A = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"
EXAMPLES = {
    "IDENTITY": '{\n  "privateKey": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"\n}',
    "APP_TICKET": f'{{\n  "publicKey": "{A}",\n  "permissions": {{\n    "routes": true,\n    "buyer": true,\n'
    '    "seller": false,\n    "config": false\n  }\n}',
    "TICKET": f'{{\n  "publicKey": "{A}",\n  "address": "relay.example.com:1337"\n}}',
    "NODE_ENTRY": f'{{\n  "nodePublicKey": "{A}",\n  "nodeAddress": "127.0.0.1:9876",\n'
    '  "appPrivateKey": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"\n}',
    "FRIEND_TICKET": f'{{\n  "publicKey": "{A}",\n  "relays": [\n    {{\n      "publicKey": "{A}",\n'
    '      "address": "127.0.0.1:41702"\n    }\n  ]\n}',
    "INVOICE": '{\n  "invoice_id": "ERERERERERERERERERERERERERERERERERERERERERE",\n  "currency": "FST",\n'
    f'  "dest_public_key": "{A}",\n  "dest_payment": "50"\n}}',
    "PAYMENT": '{\n  "payment_id": "ZmZmZmZmZmZmZmZmZmZmZg"\n}',
}


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_examples_of_the_specification(kind):
    """Spec 08 §2, §3: read, and written back to the byte."""
    file_kind = getattr(files, kind)
    assert EXAMPLES[kind] == file_kind.format(file_kind.parse(EXAMPLES[kind]))


def test_a_ticket_may_have_a_permission_that_the_original_does_not_know():
    """It is the last member; a ticket without it is the original's to the byte, as above. Spec 08 §2.2."""
    text = EXAMPLES["APP_TICKET"].replace('"config": false', '"config": false,\n    "history": true')
    ticket = files.APP_TICKET.parse(text)
    assert files.APP_TICKET.format(ticket) == text
    allowed = {flag: ticket.permissions.allows(flag) for flag in ("routes", "buyer", "seller", "config", "history")}
    assert allowed == {"routes": True, "buyer": True, "seller": False, "config": False, "history": True}
    not_so = files.APP_TICKET.parse(text.replace('"history": true', '"history": false'))
    assert not not_so.permissions.allows("history")
    config = files.APP_TICKET.parse(EXAMPLES["APP_TICKET"].replace('"config": false', '"config": true'))
    assert config.permissions.allows("history")
    assert not files.APP_TICKET.parse(EXAMPLES["APP_TICKET"]).permissions.allows("history")


@pytest.mark.parametrize("value", ["null", "1", '"true"', "[]"])
def test_a_permission_is_granted_or_not(value):
    """Nothing else stands for it."""
    text = EXAMPLES["APP_TICKET"].replace('"config": false', f'"config": false, "history": {value}')
    with pytest.raises(InvalidInput, match="history"):
        files.APP_TICKET.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{}", "missing field `payment_id`"),
        ('{"payment_id": "Zg"}', "payment_id: Length mismatch"),
        ('{"payment_id": 5}', "payment_id: expected a string"),
        ('{"payment_id": "ZmZmZmZmZmZmZmZmZmZmZg"} x', "Extra data"),
        ('{"payment_id": "ZmZmZmZmZmZmZmZmZmZmZg", "payment_id": "ZmZmZmZmZmZmZmZmZmZmZg"}', "duplicate field"),
        ("\ufeff{}", "byte order mark"),
        ("[" * 100_000, "nested too deeply"),
        ("NaN", "NaN"),
        ("[1, 2]", "expected an object"),
    ],
)
def test_what_is_wrong_is_said(text, reason):
    """Spec 08 §1: strict where Python's parser is not."""
    with pytest.raises(InvalidInput, match=reason):
        files.PAYMENT.parse(text)


def test_unknown_keys_are_ignored_and_any_layout_is_read():
    """Spec 08 §1."""
    text = '\n{"x": [1, {"y": null}], "payment_id":"ZmZmZmZmZmZmZmZmZmZmZg"}\n'
    assert files.PAYMENT.parse(text).payment_id == b"f" * 16


def test_numbers_in_strings_must_be_strings():
    """Spec 08 §1: amounts are decimal strings."""
    with pytest.raises(InvalidInput, match="dest_payment: expected a string"):
        files.INVOICE.parse(EXAMPLES["INVOICE"].replace('"50"', "50"))


def test_saving_never_overwrites(tmp_path: Path):
    """An existing file stays, and so does a link that leads nowhere; nothing else is left behind."""
    value = files.PAYMENT.parse(EXAMPLES["PAYMENT"])
    path = tmp_path / "a.payment"
    files.PAYMENT.save(path, value)
    assert EXAMPLES["PAYMENT"] == path.read_text()
    path.write_text("mine")
    with pytest.raises(OutputAlreadyExists):
        files.PAYMENT.save(path, value)
    dangling = tmp_path / "b.payment"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputAlreadyExists):
        files.PAYMENT.save(dangling, value)
    assert path.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.payment", "b.payment"]


def test_identities_are_private(tmp_path: Path):
    """D13: mode 0600 whatever the umask."""
    path = tmp_path / "x.ident"
    before = os.umask(0)
    try:
        files.IDENTITY.save(path, files.IDENTITY.parse(EXAMPLES["IDENTITY"]))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_that_can_not_be_read_or_written(tmp_path: Path):
    """Errors name the path."""
    with pytest.raises(IoError, match="no-such"):
        files.PAYMENT.load(tmp_path / "no-such")
    with pytest.raises(IoError):
        files.PAYMENT.load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(StringSerdeError, match="not UTF-8"):
        files.PAYMENT.load(tmp_path / "binary")
    with pytest.raises(IoError):
        files.PAYMENT.save(tmp_path / "no" / "x", files.PAYMENT.parse(EXAMPLES["PAYMENT"]))


def test_json_integers_beyond_any_size_are_refused():
    """A number of 5000 digits is an error of the input, not of the program."""
    with pytest.raises(InvalidInput):
        parse_json("9" * 5000)


LOCKED = """{
  "lockedIdentity": 1,
  "lock": {
    "memoryKib": 65536,
    "iterations": 3,
    "lanes": 4,
    "salt": "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
  },
  "sealedPrivateKey": "WS8dP7j1p9urCtnfYerKT0t0qN7SMrNkp0TzfX74wEWtd-SGLsND1lQFvsoxRkSr"
}"""


def test_identities_locked_and_not(tmp_path):
    """Either is told from the other by its keys; a program that knows no lock says that there is one."""
    (tmp_path / "plain").write_text(EXAMPLES["IDENTITY"])
    (tmp_path / "locked").write_text(LOCKED)
    assert files.load_identity_file(tmp_path / "plain") == files.IdentityFile(b"\x01" * 32)
    locked = files.load_identity_file(tmp_path / "locked")
    assert isinstance(locked, files.LockedIdentityFile)
    assert files.LOCKED_IDENTITY.format(locked) == LOCKED
    with pytest.raises(StringSerdeError, match="only its passphrase opens it"):
        files.IDENTITY.load(tmp_path / "locked")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '"lockedIdentity"', '{"lockedIdentity": 1}', LOCKED[:-60]])
def test_what_is_no_identity(tmp_path, text):
    """One error, which names the file."""
    (tmp_path / "bad").write_text(text)
    with pytest.raises(StringSerdeError, match=str(tmp_path / "bad")):
        files.load_identity_file(tmp_path / "bad")


def test_a_file_that_does_not_pass_its_check_gets_no_name(tmp_path):
    """What was written is looked at before anybody can take it for complete; nothing is left behind."""
    seen = []

    def check(written):
        seen.append(written.read_bytes())
        if seen[-1] == b"bad":
            raise InvalidInput("not what it should be")

    with pytest.raises(InvalidInput):
        files.save_bytes(tmp_path / "file", b"bad", check=check)
    assert list(tmp_path.iterdir()) == []
    files.save_bytes(tmp_path / "file", b"good", check=check)
    assert seen == [b"bad", b"good"]
    assert (tmp_path / "file").read_bytes() == b"good"


def test_a_file_that_is_written_in_pieces(tmp_path):
    """Each is written before the next one is asked for; where one fails there is no file."""
    written = []

    def pieces():
        for piece in (b"a" * 100_000, b"b" * 100_000):
            yield piece
            (temporary,) = tmp_path.iterdir()
            written.append(temporary.stat().st_size)
        if fails:
            raise InvalidInput("damaged at the end")

    fails = True
    with pytest.raises(InvalidInput):
        files.save_bytes(tmp_path / "file", pieces())
    assert list(tmp_path.iterdir()) == []
    fails = False
    files.save_bytes(tmp_path / "file", pieces())
    assert written == [100_000, 200_000] * 2
    assert (tmp_path / "file").read_bytes() == b"a" * 100_000 + b"b" * 100_000


def test_the_ticket_of_a_node_may_have_addresses_that_the_original_does_not_know():
    """They are the last member; a ticket without it is the original's to the byte. Spec 08 §2.3."""
    assert NODE_TICKET.format(NODE_TICKET.parse(EXAMPLES["TICKET"])) == EXAMPLES["TICKET"]
    address = '"address": "relay.example.com:1337"'
    text = EXAMPLES["TICKET"].replace(address, f'{address},\n  "otherAddresses": [\n    "b:1",\n    "c:2"\n  ]')
    ticket = NODE_TICKET.parse(text)
    assert NODE_TICKET.format(ticket) == text
    assert other_addresses(ticket) == ("b:1", "c:2")
    assert other_addresses(files.TICKET.parse(text)) == ()
    for wrong in ('"b:1"', "null", "[1]", str(["b:1"] * 8).replace("'", '"')):
        with pytest.raises(InvalidInput, match=r"otherAddresses|9 addresses of a node"):
            NODE_TICKET.parse(EXAMPLES["TICKET"].replace(address, f'{address}, "otherAddresses": {wrong}'))
