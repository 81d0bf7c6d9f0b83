"""Files of files/: texts of values, texts to read, files of every kind, database files."""

from collections.abc import Callable
from typing import Any

from interop.runner.compare import Case
from interop.runner.json_values import read
from offset_funder.state import FunderState
from offset_node.database.original import format_database, parse_database
from offset_node.state import NodeState
from offset_proto import files, types
from offset_proto.errors import InvalidInput
from offset_proto.messages.payment import Commit, Receipt, RelayAddress
from offset_proto.messages.report import MoveTokenHashedReport
from offset_proto.text import format_b64, parse_b64, parse_integer

__all__ = ["JUDGES", "RUNS"]


def _text(inputs: dict[str, Any]) -> dict[str, Any]:
    cls = getattr(types, inputs["type"])
    return {"text": format_b64(cls(bytes.fromhex(inputs["bytes"])))}


def _attempt(parse: Callable[[], Any]) -> dict[str, Any]:
    try:
        value = parse()
    except InvalidInput:
        return {"error": None}
    return {"ok": value.hex() if isinstance(value, bytes) else str(value)}


def _parse(inputs: dict[str, Any]) -> dict[str, Any]:
    text = inputs["text"]
    match inputs["type"]:
        case "PublicKey":
            # On the command line keys come in files only; both readings are one function of ours.
            in_file = _attempt(lambda: parse_b64(types.PublicKey, text))
            return {"inFile": in_file, "onCommandLine": in_file}
        case "number":
            signed = types.Integer(128, signed=True)
            return {
                "u128": _attempt(lambda: parse_integer(types.Integer(128), text)),
                "i128": _attempt(lambda: parse_integer(signed, text)),
            }
        case "Currency" | "NetAddress":
            cls = getattr(types, inputs["type"])
            return {"ok": "ok" in _attempt(lambda: cls(text))}
    raise ValueError(f"a kind of case that is not known: {inputs['type']}")


KINDS: dict[str, tuple[files.FileKind[Any], type]] = {
    "identity": (files.IDENTITY, files.IdentityFile),
    "trustedApp": (files.APP_TICKET, files.AppTicket),
    "friend": (files.FRIEND_TICKET, files.FriendTicket),
    "friendAddress": (files.FRIEND_TICKET, files.FriendTicket),
    "relayAddress": (files.TICKET, RelayAddress),
    "indexServer": (files.TICKET, RelayAddress),
    "nodeAddress": (files.TICKET, RelayAddress),
    "nodeEntry": (files.NODE_ENTRY, files.NodeEntry),
    "invoice": (files.INVOICE, files.Invoice),
    "payment": (files.PAYMENT, files.PaymentFile),
    "commit": (files.COMMIT, Commit),
    "receipt": (files.RECEIPT, Receipt),
    "token": (files.FRIEND_TOKEN, MoveTokenHashedReport),
}


def _file(inputs: dict[str, Any]) -> dict[str, Any]:
    kind, cls = KINDS[inputs["kind"]]
    if "value" in inputs:
        return {"text": kind.format(read(cls, inputs["value"]))}
    try:
        value = kind.parse(inputs["text"])
    except InvalidInput:
        return {"ok": False}
    return {"ok": True, "writtenBack": kind.format(value)}


def _database(case: Case) -> Any:
    """Every recorded text must read and write back as it is; a new database must be written so."""
    text = case.expected["text"]
    state = parse_database(text)
    public_key = types.PublicKey(bytes.fromhex(case.inputs["publicKey"]))
    if state.funder.local_public_key != public_key:
        return {"local_public_key": state.funder.local_public_key.hex()}
    if set(case.inputs) <= {"privateKey", "publicKey"} and case.name.startswith("new database"):
        return {"text": format_database(NodeState(FunderState(public_key)))}
    return {"text": format_database(state)}


RUNS = {"files/texts.json": _text, "files/parse.json": _parse, "files/files.json": _file}
JUDGES = {"files/node_db.json": _database}
