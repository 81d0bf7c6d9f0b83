"""Files of signature/: canonical bytes, signed buffers, the hash clock."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from interop.runner.compare import Case
from interop.runner.json_values import read, show
from offset_crypto import signed
from offset_crypto.hashing import is_lower, response_hash, sha512_256
from offset_crypto.identity import Identity, InvalidSignature, is_signature_valid
from offset_crypto.verify import verify_commit, verify_receipt
from offset_funder.payment_proofs import build_commit, build_receipt
from offset_funder.state import PendingTransaction, Responded
from offset_index.hash_clock import HashClock, verify_chain
from offset_proto import canonical
from offset_proto.messages.channel import ExchangeDh
from offset_proto.messages.friend import (
    CollectSendFundsOp,
    CurrencyOperations,
    FriendsRoute,
    FriendTcOp,
    MoveToken,
    ResponseSendFundsOp,
)
from offset_proto.messages.index import IndexMutation, MutationsUpdate, TimeProofLink
from offset_proto.messages.payment import Commit, Receipt, RelayAddress
from offset_proto.messages.report import (
    BalanceInfo,
    CountersInfo,
    McInfo,
    MoveTokenHashedReport,
    TokenInfo,
)
from offset_proto.types import (
    Currency,
    DhPublicKey,
    HashedLock,
    HashResult,
    InvoiceId,
    NetAddress,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    Salt,
    Signature,
    Uid,
)
from offset_proto.wire import codec

__all__ = ["JUDGES", "RUNS"]

_OPS = {
    "RequestSendFundsOp": "requestSendFunds",
    "ResponseSendFundsOp": "responseSendFunds",
    "CancelSendFundsOp": "cancelSendFunds",
    "CollectSendFundsOp": "collectSendFunds",
}


def _canonical(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"bytes": _canonical_bytes(inputs["type"], inputs["value"]).hex()}


def _canonical_bytes(kind: str, value: Any) -> bytes:
    match kind.split(" ")[0]:
        case "Currency" | "NetAddress":
            return {"Currency": Currency, "NetAddress": NetAddress}[kind](value).encode()
        case "FriendTcOp":
            return canonical.operation(read(FriendTcOp, value))
        case name if name in _OPS:
            return canonical.operation(read(FriendTcOp, {_OPS[name]: value}), tagged=False)
        case "CurrencyOperations":
            return canonical.currency_operations(read(CurrencyOperations, value))
        case "List(CurrencyOperations)":
            return canonical.list_of(
                canonical.currency_operations(block) for block in read(tuple[CurrencyOperations, ...], value)
            )
        case "optLocalRelays":
            relays = read(tuple[RelayAddress, ...], value["relays"]) if "relays" in value else None
            return canonical.option(relays, canonical.relay_addresses)
        case "optActiveCurrencies":
            names = read(tuple[Currency, ...], value["currencies"]) if "currencies" in value else None
            return canonical.option(names, canonical.currencies)
        case "IndexMutation":
            return canonical.index_mutation(read(IndexMutation, value))
    simple: dict[str, tuple[type, Any]] = {
        "FriendsRoute": (FriendsRoute, canonical.friends_route),
        "RelayAddress": (RelayAddress, canonical.relay_address),
        "Receipt": (Receipt, canonical.receipt),
        "BalanceInfo": (BalanceInfo, canonical.balance_info),
        "McInfo": (McInfo, canonical.mc_info),
        "CountersInfo": (CountersInfo, canonical.counters_info),
        "TokenInfo": (TokenInfo, canonical.token_info),
    }
    cls, serialise = simple[kind]
    canonical_bytes: bytes = serialise(read(cls, value))
    return canonical_bytes


def _token_info(inputs: dict[str, Any]) -> dict[str, Any]:
    info = read(TokenInfo, inputs["tokenInfo"])
    flipped = canonical.flip(info)
    return {
        "bytes": canonical.token_info(info).hex(),
        "hash": signed.info_hash(info).hex(),
        "flipped": show(TokenInfo, flipped),
        "flippedHash": signed.info_hash(flipped).hex(),
    }


def _identity(inputs: dict[str, Any]) -> Identity:
    return Identity(PrivateKey(bytes.fromhex(inputs["privateKey"])))


def _move_token(inputs: dict[str, Any]) -> dict[str, Any]:
    identity = _identity(inputs)
    token = read(MoveToken, {**inputs["unsigned"], "newToken": Signature.zero().hex()})
    token = replace(token, new_token=identity.sign(signed.move_token_buffer(token)))
    operations = canonical.list_of(map(canonical.currency_operations, token.currencies_operations))
    return {
        "publicKey": identity.public_key.hex(),
        "canonicalOperations": operations.hex(),
        "operationsHash": sha512_256(operations).hex(),
        "canonicalRelays": canonical.option(token.opt_local_relays, canonical.relay_addresses).hex(),
        "canonicalActiveCurrencies": canonical.option(token.opt_active_currencies, canonical.currencies).hex(),
        "prefixHash": signed.prefix_hash(token).hex(),
        "signatureBuffer": signed.move_token_buffer(token).hex(),
        "newToken": token.new_token.hex(),
        "serialized": codec("funder", "MoveToken").encode(token).hex(),
    }


def _initial_move_token(inputs: dict[str, Any]) -> dict[str, Any]:
    first, second = (PublicKey(bytes.fromhex(inputs[key])) for key in ("publicKeyA", "publicKeyB"))
    token, info = signed.initial_move_token(first, second), signed.initial_token_info(first, second)
    return {
        "firstSender": "A" if is_lower(first, second) else "B",
        "moveToken": show(MoveToken, token),
        "tokenInfo": show(TokenInfo, info),
        "infoHash": signed.info_hash(info).hex(),
        "prefixHash": signed.prefix_hash(token).hex(),
        "serialized": codec("funder", "MoveToken").encode(token).hex(),
    }


def _response(inputs: dict[str, Any]) -> dict[str, Any]:
    identity = _identity(inputs)
    op = read(ResponseSendFundsOp, {**inputs["response"], "signature": Signature.zero().hex()})
    pending = inputs["pendingTransaction"]
    buffer = signed.response_buffer(
        request_id=Uid(bytes.fromhex(pending["requestId"])),
        rand_nonce=op.rand_nonce,
        src_hashed_lock=HashedLock(bytes.fromhex(pending["srcHashedLock"])),
        dest_hashed_lock=op.dest_hashed_lock,
        is_complete=op.is_complete,
        dest_payment=int(pending["destPayment"]),
        total_dest_payment=int(pending["totalDestPayment"]),
        invoice_id=InvoiceId(bytes.fromhex(pending["invoiceId"])),
        currency=Currency(inputs["currency"]),
    )
    op = replace(op, signature=identity.sign(buffer))
    return {
        "publicKey": identity.public_key.hex(),
        "responseHash": response_hash(Uid(bytes.fromhex(pending["requestId"])), op.rand_nonce).hex(),
        "signatureBuffer": buffer.hex(),
        "signature": op.signature.hex(),
        "serializedOp": codec("funder", "FriendTcOp").encode(op).hex(),
    }


def _commit_receipt(inputs: dict[str, Any]) -> dict[str, Any]:
    match inputs["kind"]:
        case "make":
            return _make(inputs)
        case "verifyCommit":
            return {"valid": _holds(verify_commit, read(Commit, inputs["commit"]), inputs["publicKey"])}
        case "verifyReceipt":
            return {"valid": _holds(verify_receipt, read(Receipt, inputs["receipt"]), inputs["publicKey"])}
    raise ValueError(f"a kind of case that is not known: {inputs['kind']}")


def _holds(verify: Any, paid: Commit | Receipt, public_key: str) -> bool:
    try:
        verify(paid, PublicKey(bytes.fromhex(public_key)))
    except InvalidSignature:
        return False
    return True


def _make(inputs: dict[str, Any]) -> dict[str, Any]:
    response = read(ResponseSendFundsOp, inputs["response"])
    pending = inputs["pendingTransaction"]
    transaction = PendingTransaction(
        request_id=Uid(bytes.fromhex(pending["requestId"])),
        route=(),
        dest_payment=int(pending["destPayment"]),
        total_dest_payment=int(pending["totalDestPayment"]),
        invoice_id=InvoiceId(bytes.fromhex(pending["invoiceId"])),
        left_fees=0,
        src_hashed_lock=HashedLock(bytes.fromhex(pending["srcHashedLock"])),
        responded=Responded(response.dest_hashed_lock, response.is_complete),
    )
    currency = Currency(inputs["currency"])
    source = PlainLock(bytes.fromhex(inputs["srcPlainLock"]))
    destination = PlainLock(bytes.fromhex(inputs["destPlainLock"]))
    collect = CollectSendFundsOp(transaction.request_id, source, destination)
    receipt = build_receipt(currency, transaction, response, collect)
    made = {"receipt": show(Receipt, receipt)}
    if response.is_complete:  # only a complete response makes a commit
        made["commit"] = show(Commit, build_commit(currency, transaction, response, source))
    return made


def _mutations_update(inputs: dict[str, Any]) -> dict[str, Any]:
    update = read(MutationsUpdate, {**inputs["unsigned"], "signature": Signature.zero().hex()})
    update = replace(update, signature=_identity(inputs).sign(signed.mutations_update_buffer(update)))
    return {
        "signatureBuffer": signed.mutations_update_buffer(update).hex(),
        "signature": update.signature.hex(),
        "serialized": codec("index", "MutationsUpdate").encode(update).hex(),
    }


def _exchange_dh(inputs: dict[str, Any]) -> dict[str, Any]:
    key, salt = DhPublicKey(bytes.fromhex(inputs["dhPublicKey"])), Salt(bytes.fromhex(inputs["keySalt"]))
    nonce = RandValue(bytes.fromhex(inputs["randNonce"]))
    buffer = signed.exchange_dh_buffer(key, nonce, salt)
    identity = _identity(inputs)
    message = ExchangeDh(key, nonce, salt, identity.sign(buffer))
    return {
        "signatureBuffer": buffer.hex(),
        "signature": message.signature.hex(),
        "serialized": codec("dh", "ExchangeDh").encode(message).hex(),
    }


def _token_report(inputs: dict[str, Any]) -> dict[str, Any]:
    identity = _identity(inputs)
    info = read(TokenInfo, inputs["tokenInfo"])
    unsigned = MoveTokenHashedReport(
        HashResult(bytes.fromhex(inputs["prefixHash"])),
        info,
        RandValue(bytes.fromhex(inputs["randNonce"])),
        Signature.zero(),
    )
    buffer = signed.move_token_hashed_buffer(unsigned)
    token = replace(unsigned, new_token=identity.sign(buffer))
    counters = replace(info.counters, inconsistency_counter=info.counters.inconsistency_counter ^ 1)
    other = replace(token, token_info=replace(info, counters=counters))
    own_key = is_signature_valid(buffer, identity.public_key, token.new_token)
    other_buffer = signed.move_token_hashed_buffer(other)
    return {
        "publicKey": identity.public_key.hex(),
        "signatureBuffer": buffer.hex(),
        "newToken": token.new_token.hex(),
        "valid": own_key,
        "validWithOtherCounter": is_signature_valid(other_buffer, identity.public_key, token.new_token),
    }


def _time_hash(case: Case) -> dict[str, Any]:
    inputs = case.inputs
    match inputs["kind"]:
        case "combine":
            return {"hash": signed.time_hash(read(tuple[HashResult, ...], inputs["hashes"])).hex()}
        case "tick":
            clock = HashClock(ticks_max=60)
            for index, neighbour in enumerate(inputs["neighborHashes"]):
                clock.set_neighbour(PublicKey(bytes([index]) * 32), HashResult(bytes.fromhex(neighbour)))
            return _tick(clock, inputs["randValue"])
        case "network":
            return _network(case)
        case "verify":
            return _verify_chain(inputs)
    raise ValueError(f"a kind of case that is not known: {inputs['kind']}")


def _tick(clock: HashClock, rand_value: str) -> dict[str, Any]:
    tick_hash = clock.tick(RandValue(bytes.fromhex(rand_value)))
    expansion = clock.expansion(tick_hash)
    assert expansion is not None
    return {"tickHash": tick_hash.hex(), "expansion": [entry.hex() for entry in expansion]}


def _network(case: Case) -> dict[str, Any]:
    """Who hears whom stands in the name of the case: "(0 hears 1, 1 hears 0)"."""
    hears = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) hears (\d+)", case.name)]
    clocks: dict[int, HashClock] = {}
    ticks = []
    for step in case.inputs["steps"]:
        server = step["server"]
        clock = clocks.setdefault(server, HashClock(case.inputs["maxTicks"]))
        tick = _tick(clock, step["randValue"])
        ticks.append(tick)
        for listener, heard in hears:
            if heard == server:
                other = clocks.setdefault(listener, HashClock(case.inputs["maxTicks"]))
                other.set_neighbour(PublicKey(bytes([server]) * 32), HashResult(bytes.fromhex(tick["tickHash"])))
    return {"ticks": ticks}


def _verify_chain(inputs: dict[str, Any]) -> dict[str, Any]:
    local = {HashResult(bytes.fromhex(tick)) for tick in inputs["localTicks"]}
    chain = tuple(TimeProofLink(read(tuple[HashResult, ...], link)) for link in inputs["chain"])
    found = verify_chain(HashResult(bytes.fromhex(inputs["originTickHash"])), chain, local)
    return {"result": {"rejected": None} if found is None else {"found": found.hex()}}


def _free_layout(kind: tuple[str, str], member: str, run: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A run whose *member* holds bytes of a message; any bytes of the same message are right."""

    def judge(case: Case) -> dict[str, Any]:
        result = run(case.inputs)
        own, recorded = bytes.fromhex(result[member]), bytes.fromhex(case.expected[member])
        if codec(*kind).decode(own) == codec(*kind).decode(recorded):
            result[member] = case.expected[member]
        return result

    return judge


RUNS = {
    "signature/canonical.json": _canonical,
    "signature/token_info.json": _token_info,
    "signature/commit_receipt.json": _commit_receipt,
    "signature/token_report.json": _token_report,
}

JUDGES = {
    "signature/move_token.json": _free_layout(("funder", "MoveToken"), "serialized", _move_token),
    "signature/initial_move_token.json": _free_layout(("funder", "MoveToken"), "serialized", _initial_move_token),
    "signature/response.json": _free_layout(("funder", "FriendTcOp"), "serializedOp", _response),
    "signature/mutations_update.json": _free_layout(("index", "MutationsUpdate"), "serialized", _mutations_update),
    "signature/exchange_dh.json": _free_layout(("dh", "ExchangeDh"), "serialized", _exchange_dh),
    "signature/time_hash.json": _time_hash,
}
