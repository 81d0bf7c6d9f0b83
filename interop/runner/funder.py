"""Files of funder/: ledgers, token channels, whole funders."""

import json
import re
from dataclasses import replace
from typing import Any

from immutables import Map

from interop.runner.compare import Case, StepResults
from interop.runner.draws import Draws
from interop.runner.json_values import read, show
from offset_crypto.identity import Identity
from offset_crypto.signed import move_token_buffer
from offset_funder.buyer import TransactionRefused
from offset_funder.effects import Effect, ForgetFriend, SendFriendMessage, SendToApps, SetRelays, UpdateFriend
from offset_funder.engine import Funder, Outcome
from offset_funder.events import (
    AppRequested,
    Event,
    FriendMessageReceived,
    FriendWentOffline,
    FriendWentOnline,
    Started,
)
from offset_funder.ledger import (
    CancelReceived,
    CollectReceived,
    InvalidOperation,
    LedgerOutput,
    RequestReceived,
    RequestRefused,
    ResponseReceived,
    change_ledger,
    receive_operation,
    send_operation,
)
from offset_funder.mutations import FriendMutation, SetDirection, apply, apply_channel
from offset_funder.state import (
    Consistent,
    Friend,
    FunderState,
    Incoming,
    Inconsistent,
    Ledger,
    Outgoing,
    PendingTransaction,
    TokenChannel,
    fresh_channel,
    fresh_ledger,
)
from offset_funder.token_channel import (
    CanNotRemoveCurrencyInUse,
    Duplicate,
    InvalidMoveToken,
    Received,
    RetransmitOutgoing,
    TokenBuilder,
    receive,
)
from offset_node.database.original import format_database
from offset_node.state import NodeState
from offset_proto.messages.app import AppServerToApp, AppToAppServer
from offset_proto.messages.friend import (
    CollectSendFundsOp,
    CurrencyOperations,
    FriendMessage,
    FriendTcOp,
    MoveToken,
    MoveTokenRequest,
    ResetTerms,
)
from offset_proto.messages.payment import RelayAddress
from offset_proto.messages.report import MoveTokenHashedReport, TokenInfo
from offset_proto.types import Currency, PrivateKey, PublicKey, RandValue
from offset_proto.wire import FRIEND_MESSAGE

__all__ = ["JUDGES"]


def _key(text: str) -> PublicKey:
    return PublicKey(bytes.fromhex(text))


# Ledgers.


def _mutual_credit(case: Case) -> StepResults:
    inputs = case.inputs
    a, b = _key(inputs["publicKeyA"]), _key(inputs["publicKeyB"])
    currency, balance = Currency(inputs["currency"]), int(inputs["initialBalanceA"])
    sides = {"A": fresh_ledger(a, b, currency, balance), "B": fresh_ledger(b, a, currency, -balance)}
    return StepResults([_ledger_step(sides, step) for step in inputs["steps"]])


def _ledger_step(sides: dict[str, Ledger], step: dict[str, Any]) -> dict[str, Any]:
    side, other = step["side"], {"A": "B", "B": "A"}[step["side"]]
    op, limit = read(FriendTcOp, step["op"]), int(step["remoteMaxDebt"])
    result: dict[str, Any] = {}
    queued = True
    if step["action"] in ("send", "queue"):
        try:
            sides[side] = change_ledger(sides[side], send_operation(sides[side], op))
            result["queue"] = {"ok": None}
        except InvalidOperation as error:
            result["queue"] = {"error": type(error).__name__}
            queued = False
    processor = {"send": other, "receive": side}.get(step["action"])
    if processor is not None and queued:
        try:
            change, output = receive_operation(sides[processor], op, limit)
            sides[processor] = change_ledger(sides[processor], change)
            result["process"] = {"ok": _output_name(output)}
        except InvalidOperation as error:
            result["process"] = {"error": type(error).__name__}
    return {**result, **{name: _ledger(ledger) for name, ledger in sides.items()}}


def _output_name(output: LedgerOutput) -> str:
    names = {
        RequestReceived: "request",
        RequestRefused: "requestCancel",
        ResponseReceived: "response",
        CancelReceived: "cancel",
        CollectReceived: "collect",
    }
    return names[type(output)]


def _ledger(ledger: Ledger) -> dict[str, Any]:
    return {
        "balance": str(ledger.balance),
        "localPendingDebt": str(ledger.local_pending_debt),
        "remotePendingDebt": str(ledger.remote_pending_debt),
        "localPending": _pending(ledger.pending_local),
        "remotePending": _pending(ledger.pending_remote),
    }


def _pending(pending: "Map[Any, PendingTransaction]") -> list[dict[str, Any]]:
    return [
        {
            "requestId": request_id.hex(),
            "destPayment": str(transaction.dest_payment),
            "leftFees": str(transaction.left_fees),
            "stage": _stage(transaction),
        }
        for request_id, transaction in sorted(pending.items())
    ]


def _stage(transaction: PendingTransaction) -> dict[str, Any]:
    responded = transaction.responded
    if responded is None:
        return {"request": None}
    lock = responded.dest_hashed_lock.hex()
    return {"response": {"destHashedLock": lock, "isComplete": responded.is_complete}}


# Token channels.


def _token_channel(case: Case) -> StepResults:
    identities = {name: Identity(PrivateKey(bytes.fromhex(case.inputs[f"privateKey{name}"]))) for name in "AB"}
    a, b = identities["A"].public_key, identities["B"].public_key
    channels = {"A": fresh_channel(a, b), "B": fresh_channel(b, a)}
    initial = {f"initial{name}": _channel(channel) for name, channel in channels.items()}
    steps = []
    for step in case.inputs["steps"]:
        side = step["side"]
        act = {"send": _send, "receive": _receive}[step["action"]]
        channels[side], result = act(channels[side], identities[side], step)
        steps.append({"result": result, "state": _channel(channels[side])})
    return StepResults(steps, initial, normal_form=_without_layout)


def _send(channel: TokenChannel, identity: Identity, step: dict[str, Any]) -> tuple[TokenChannel, Any]:
    names = step["optActiveCurrencies"]
    currencies = tuple(map(Currency, names["currencies"])) if "currencies" in names else None
    opt_relays = step["optLocalRelays"]
    relays = read(tuple[RelayAddress, ...], opt_relays["relays"]) if "relays" in opt_relays else None
    try:
        builder = TokenBuilder(channel, currencies)
        for block in read(tuple[CurrencyOperations, ...], step["currenciesOperations"]):
            builder.begin(block.currency)
            for op in block.operations:
                builder.add(block.currency, op)
    except (InvalidOperation, CanNotRemoveCurrencyInUse) as error:
        return channel, {"error": type(error).__name__}
    rand_nonce = RandValue(bytes.fromhex(step["randNonce"]))
    token, mutations = builder.finish(relays, rand_nonce, identity.sign)
    for mutation in mutations:
        channel = apply_channel(channel, mutation)
    assert isinstance(channel.direction, Outgoing)
    message = MoveTokenRequest(token, token_wanted=False)
    return channel, {
        "ok": {
            "moveToken": show(MoveToken, token),
            "tokenInfo": show(TokenInfo, channel.direction.token_info),
            "friendMessage": FRIEND_MESSAGE.encode(message).hex(),
        }
    }


def _receive(channel: TokenChannel, identity: Identity, step: dict[str, Any]) -> tuple[TokenChannel, Any]:
    message = FRIEND_MESSAGE.decode(bytes.fromhex(step["friendMessage"]))
    token = read(MoveToken, step["moveToken"])
    if not isinstance(message, MoveTokenRequest) or message.move_token != token:
        raise ValueError("friendMessage decodes to another token")
    limits = {Currency(entry["currency"]): int(entry["remoteMaxDebt"]) for entry in step["remoteMaxDebts"]}
    try:
        result = receive(channel, token, limits)
    except InvalidMoveToken as error:
        failed = error.failed_operation
        where = {} if failed is None else {"index": failed[0], "operationError": failed[1]}
        return channel, {"error": error.reason, **where}
    match result:
        case Duplicate():
            return channel, {"duplicate": None}
        case RetransmitOutgoing():
            assert isinstance(channel.direction, Outgoing)
            return channel, {"retransmitOutgoing": channel.direction.move_token_out.new_token.hex()}
        case Received():
            for mutation in result.mutations:
                channel = apply_channel(channel, mutation)
            return channel, {"received": _received(result)}


def _received(result: Received) -> dict[str, Any]:
    relays = result.opt_local_relays
    return {
        "currencies": [
            {
                "currency": str(currency),
                "incoming": [{_output_name(output): output.op.request_id.hex()} for output in outputs],
            }
            for currency, outputs in result.outputs
        ],
        "optLocalRelays": {"empty": None} if relays is None else {"relays": show(tuple[RelayAddress, ...], relays)},
    }


def _channel(channel: TokenChannel) -> dict[str, Any]:
    direction: dict[str, Any]
    match channel.direction:
        case Incoming(token):
            direction = {"incoming": show(MoveTokenHashedReport, token)}
        case Outgoing(out, info, previous):
            direction = {
                "outgoing": {
                    "oldToken": out.old_token.hex(),
                    "newToken": out.new_token.hex(),
                    "tokenInfo": show(TokenInfo, info),
                    "previousIncoming": None if previous is None else previous.new_token.hex(),
                }
            }
    return {
        "direction": direction,
        "activeLocal": sorted(map(str, channel.active_local)),
        "activeRemote": sorted(map(str, channel.active_remote)),
        "mutualCredits": [
            {"currency": str(currency), **_ledger(ledger)} for currency, ledger in sorted(channel.ledgers.items())
        ],
    }


def _without_layout(step: Any) -> Any:
    """The layout of packed bytes is free: compare what they decode to."""
    step = json.loads(json.dumps(step))
    ok = step["result"].get("ok") if isinstance(step["result"], dict) else None
    if ok:
        ok["friendMessage"] = show(FriendMessage, FRIEND_MESSAGE.decode(bytes.fromhex(ok["friendMessage"])))
    return step


# Whole funders.


def _nodes(case: Case) -> StepResults:
    draws = Draws([])
    funders: dict[str, Funder] = {}
    for node in case.inputs["nodes"]:
        identity = Identity(PrivateKey(bytes.fromhex(node["privateKey"])))
        funders[node["name"]] = Funder(FunderState(identity.public_key), identity, draws)
    signers = {node["name"]: PrivateKey(bytes.fromhex(node["privateKey"])) for node in case.inputs["nodes"]}
    steps = []
    for step, expected in zip(case.inputs["steps"], case.expected["steps"], strict=True):
        name = step["node"]
        outcome = _handle(funders[name], draws, step)
        outcome = _adopt_order(funders[name], Identity(signers[name]), outcome, expected)
        steps.append(_node_result(funders[name], step, outcome))
    final = [
        {
            "node": name,
            "funderState": json.loads(format_database(NodeState(funder.state)))["funder_state"],
        }
        for name, funder in funders.items()
    ]
    return StepResults(steps, {"finalStates": final}, normal_form=_normal_node_step)


def _handle(funder: Funder, draws: Draws, step: dict[str, Any]) -> Outcome:
    draws.refill(step["random"])
    outcome = funder.handle(_event(step["event"]))
    if draws.left:
        raise ValueError(f"{draws.left} recorded values were not drawn")
    return outcome


def _adopt_order(funder: Funder, identity: Identity, outcome: Outcome, expected: dict[str, Any]) -> Outcome:
    """
    Follow the recorded order of what has none: active currencies, currency blocks, collects of one invoice.

    The token signed in that order must be the recorded one; it then stands for ours, as the next messages of
    the friend are built on it.
    """
    recorded = {
        entry["friendMessage"]["to"]: FRIEND_MESSAGE.decode(bytes.fromhex(entry["friendMessage"]["bytes"]))
        for entry in expected["comm"]
        if "friendMessage" in entry
    }
    effects: list[Effect] = []
    for effect in outcome.effects:
        if isinstance(effect, SendFriendMessage) and isinstance(effect.message, MoveTokenRequest):
            other = recorded.get(effect.public_key.hex())
            if isinstance(other, MoveTokenRequest):
                effect = _reordered(funder, identity, effect, other.move_token)
        effects.append(effect)
    return replace(outcome, effects=tuple(effects))


def _reordered(funder: Funder, identity: Identity, effect: SendFriendMessage, recorded: MoveToken) -> SendFriendMessage:
    assert isinstance(effect.message, MoveTokenRequest)
    own = effect.message.move_token
    if own == recorded or _as_sets(own) != _as_sets(recorded):
        return effect
    token = replace(
        own,
        opt_active_currencies=recorded.opt_active_currencies,
        currencies_operations=recorded.currencies_operations,
    )
    token = replace(token, new_token=identity.sign(move_token_buffer(token)))
    friend = funder.state.friends[effect.public_key]
    assert isinstance(friend.channel, Consistent)
    direction = friend.channel.token_channel.direction
    if token == recorded and isinstance(direction, Outgoing) and direction.move_token_out == own:
        part = SetDirection(replace(direction, move_token_out=token))
        funder.state = apply(funder.state, FriendMutation(effect.public_key, part))
    return replace(effect, message=replace(effect.message, move_token=token))


def _as_sets(token: MoveToken) -> Any:
    blocks = sorted(
        (block.currency, sorted(map(str, _collects(block))), _others(block)) for block in token.currencies_operations
    )
    return (
        blocks,
        sorted(token.opt_active_currencies or ()),
        token.info_hash,
        token.rand_nonce,
        token.old_token,
    )


def _collects(block: CurrencyOperations) -> list[FriendTcOp]:
    return [op for op in block.operations if isinstance(op, CollectSendFundsOp)]


def _others(block: CurrencyOperations) -> list[str]:
    return [str(op) for op in block.operations if not isinstance(op, CollectSendFundsOp)]


def _node_result(funder: Funder, step: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    event = _event(step["event"])
    result: dict[str, Any] = {"result": {"ok": None}}
    if outcome.error is not None:
        reason = str(outcome.error) or type(outcome.error).__name__
        if isinstance(outcome.error, TransactionRefused):
            pass  # the original has no error for it, but the Failure alone
        elif isinstance(event, AppRequested):
            result["controlError"] = reason
        else:
            result["result"] = {"error": reason}
    return {
        **result,
        "comm": [_comm(effect) for effect in outcome.effects if not isinstance(effect, SendToApps)],
        "control": _control(outcome),
        "friends": [_friend(friend) for _, friend in sorted(funder.state.friends.items())],
    }


def _event(event: dict[str, Any]) -> Event:
    ((kind, argument),) = event.items()
    match kind:
        case "init":
            return Started()
        case "online":
            return FriendWentOnline(_key(argument))
        case "offline":
            return FriendWentOffline(_key(argument))
        case "friendMessage":
            message = FRIEND_MESSAGE.decode(bytes.fromhex(argument["bytes"]))
            return FriendMessageReceived(_key(argument["from"]), message)
        case "control":
            request = read(AppToAppServer, argument)
            return AppRequested(request.app_request_id, request.app_request)
    raise ValueError(f"a kind of event that is not known: {kind}")


def _comm(effect: Effect) -> dict[str, Any]:
    match effect:
        case SetRelays(relays):
            return {"channelerConfig": {"setRelays": show(tuple[RelayAddress, ...], relays)}}
        case UpdateFriend(public_key, friend_relays, local_relays):
            update = {
                "friendPublicKey": public_key.hex(),
                "friendRelays": show(tuple[RelayAddress, ...], friend_relays),
                "localRelays": show(tuple[RelayAddress, ...], local_relays),
            }
            return {"channelerConfig": {"updateFriend": update}}
        case ForgetFriend(public_key):
            return {"channelerConfig": {"removeFriend": public_key.hex()}}
        case SendFriendMessage(public_key, message):
            shown = show(FriendMessage, message)
            encoded = FRIEND_MESSAGE.encode(message).hex()
            return {"friendMessage": {"to": public_key.hex(), "message": shown, "bytes": encoded}}
    raise TypeError(f"not for a friend: {effect}")


def _control(outcome: Outcome) -> list[Any]:
    return [show(AppServerToApp, effect.message) for effect in outcome.effects if isinstance(effect, SendToApps)]


def _friend(friend: Friend) -> dict[str, Any]:
    channel: dict[str, Any]
    match friend.channel:
        case Consistent() as consistent:
            channel = {
                "consistent": {
                    "tokenChannel": _channel(consistent.token_channel),
                    "pendingRequests": len(consistent.pending_requests),
                    "pendingBackwardsOps": len(consistent.pending_backwards_ops),
                    "pendingUserRequests": len(consistent.pending_user_requests),
                }
            }
        case Inconsistent(last, local, remote):
            channel = {
                "inconsistent": {
                    "lastIncoming": None if last is None else last.new_token.hex(),
                    "localResetTerms": show(ResetTerms, local),
                    "remoteResetTerms": None if remote is None else show(ResetTerms, remote),
                }
            }
    return {
        "publicKey": friend.remote_public_key.hex(),
        "remoteRelays": show(tuple[RelayAddress, ...], friend.remote_relays),
        "channel": channel,
    }


def _normal_node_step(step: Any) -> Any:
    """Without what the README of the vectors leaves undefined: layout, orders of sets, repeated reports (D50)."""
    step = json.loads(json.dumps(step))
    if isinstance(step["result"].get("error"), str):
        # The original wraps the reason: HandleLivenessError(FriendAlreadyOnline).
        step["result"]["error"] = re.findall(r"\w+", step["result"]["error"])[-1]
    for entry in step["comm"]:
        message = entry.get("friendMessage")
        if message is not None:
            decoded = show(FriendMessage, FRIEND_MESSAGE.decode(bytes.fromhex(message.pop("bytes"))))
            if decoded != message["message"]:
                message["bytes decode to"] = decoded
            _sort_token(message["message"].get("moveTokenRequest", {}).get("moveToken", {}))
    for entry in step["control"]:
        if "reportMutations" in entry:
            entry["reportMutations"]["mutations"] = _last_reports(entry["reportMutations"]["mutations"])
    return step


def _sort_token(token: dict[str, Any]) -> None:
    currencies = token.get("optActiveCurrencies", {}).get("currencies")
    if currencies is not None:
        currencies.sort()
    token.get("currenciesOperations", []).sort(key=lambda block: block["currency"])


def _last_reports(mutations: list[Any]) -> list[Any]:
    """Only the last channel status and last token of each friend, after everything else; currencies sorted."""
    others, last = [], {}
    for mutation in mutations:
        part = mutation.get("funder", {}).get("pkFriendReportMutation")
        kind = None if part is None else next(iter(part["friendReportMutation"]))
        if kind in ("setChannelStatus", "setOptLastIncomingMoveToken"):
            status = part["friendReportMutation"][kind].get("consistent")
            if status is not None:
                status["currencyReports"].sort(key=lambda report: report["currency"])
            last[part["friendPublicKey"], kind] = mutation
        else:
            others.append(mutation)
    return others + [last[key] for key in sorted(last)]


JUDGES = {
    "funder/mutual_credit.json": _mutual_credit,
    "funder/token_channel.json": _token_channel,
    "funder/nodes.json": _nodes,
}
