"""A file that was given in place of another one is told by its name."""

from pathlib import Path

import pytest

from offset_proto import files
from offset_proto.contacts import CONTACTS, ContactList
from offset_proto.file_forms import recognize, recognize_start
from offset_proto.files import FileKind, StringSerdeError
from offset_proto.types import PublicKey

KEY = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"
GIVEN = {
    "an identity": '{"privateKey": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}',
    "a ticket of a relay, an index server or a node": f'{{"publicKey": "{KEY}", "address": "relay.example.com:1337"}}',
    "a ticket of an app": f'{{"publicKey": "{KEY}", "permissions": {{}}}}',
    "a ticket of a friend": f'{{"publicKey": "{KEY}", "relays": []}}',
    "an entry of a node": f'{{"nodePublicKey": "{KEY}", "nodeAddress": "127.0.0.1:9876", "appPrivateKey": "{KEY}"}}',
    "an invoice": f'{{"invoice_id": "{KEY}", "currency": "F", "dest_public_key": "{KEY}", "dest_payment": "5"}}',
    "a payment": '{"payment_id": "ZmZmZmZmZmZmZmZmZmZmZg"}',
    "an empty file": " \n",
    "a text to be handed over": "offset:invoice1qqqq\n",
    "a file of settings": '# of a node\n\nidfile = "node.ident"\n',
}
WANTED = {
    "an identity": files.IDENTITY,
    "a ticket of a relay, an index server or a node": files.TICKET,
    "a ticket of an app": files.APP_TICKET,
    "a ticket of a friend": files.FRIEND_TICKET,
    "an entry of a node": files.NODE_ENTRY,
    "an invoice": files.INVOICE,
    "a payment": files.PAYMENT,
    "a commit": files.COMMIT,
    "a receipt": files.RECEIPT,
    "a token of a friend": files.FRIEND_TOKEN,
    "a contact list": CONTACTS,
}


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("given", GIVEN)
def test_each_in_place_of_each(tmp_path: Path, given: str, wanted: str) -> None:
    """What it is, and what was wanted; the path is named in any case."""
    path = tmp_path / "file"
    path.write_text(GIVEN[given])
    kind: FileKind[object] = WANTED[wanted]
    if given == wanted:
        if "{}" not in GIVEN[given]:
            kind.load(path)
        return
    with pytest.raises(StringSerdeError) as raised:
        kind.load(path)
    assert f"{path}: this is {given}, and {wanted} is wanted" in str(raised.value)


def test_an_identity_is_wanted(tmp_path: Path) -> None:
    """Locked or not."""
    (tmp_path / "file").write_text(GIVEN["a ticket of a friend"])
    with pytest.raises(StringSerdeError, match="this is a ticket of a friend, and an identity is wanted"):
        files.load_identity_file(tmp_path / "file")


def test_a_damaged_file_is_called_by_what_is_wrong_in_it(tmp_path: Path) -> None:
    """It is of the kind that is wanted, or of none that is known."""
    for text, reason in (
        (f'{{"publicKey": "{KEY}", "address": 5}}', "address: expected a string"),
        (f'{{"publicKey": "{KEY}"}}', "missing field `address`"),
        (f'{{"publicKey": "{KEY}", "addr', "at line 1 column"),
        ("[]", "expected an object"),
    ):
        (tmp_path / "file").write_text(text)
        with pytest.raises(StringSerdeError) as raised:
            files.TICKET.load(tmp_path / "file")
        assert reason in str(raised.value)


def test_a_contact_list_is_no_ticket_of_a_friend() -> None:
    """It has all members that such a ticket has, but for their spelling, and more."""
    text = CONTACTS.format(ContactList(PublicKey(bytes(32)), (), (), ()))
    assert recognize(text) == "a contact list"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b'{"lockedBackup":2,"chunkBytes":65536,"lo', "a locked backup"),
        (b'{"lockedBackup":2}\n\xff\x00', "a locked backup"),
        (b'{\n  "funder_state": {"local_public_key": "', "a database of the original"),
        (GIVEN["an invoice"].encode(), "an invoice"),
        (GIVEN["an identity"].encode(), "an identity"),
        (b"SQLite format 3\0\xff", None),
        (b'{"some": "json"}', None),
        (b"{", None),
    ],
)
def test_how_a_file_begins(start: bytes, name: str | None) -> None:
    """Enough of what is too large, or no text, to be read as a whole."""
    assert recognize_start(start) == name
