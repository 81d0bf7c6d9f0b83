"""The node's engine: durable before visible, one batch at a time, effects in order. Spec 07 §6, §7.2."""

import dataclasses
from random import Random

import pytest

from offset_funder.effects import InvoicePaid, PaymentFinished, SendFriendMessage
from offset_funder.events import AppRequested, FriendWentOnline
from offset_funder.mutations import AddRelay as RelayAdded
from offset_index.client import Connect, Disconnect
from offset_node.apps.outputs import SendToApp
from offset_node.effects import EffectQueue, TellOccurrences, TellTransactionEnded
from offset_node.engine import BATCH_EVENTS_MAX, NodeEngine
from offset_node.links.channeler import ReportOnline, StartListener
from offset_node.plugins.ticket import ALL_PERMISSIONS
from offset_node.state import AddIndexServer as IndexServerAdded
from offset_node.state import AddPluginEvent
from offset_node.state import RemoveIndexServer as IndexServerRemoved
from offset_proto.errors import InvariantBroken
from offset_proto.messages.app import (
    AddIndexServer,
    AddInvoice,
    AddRelay,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    OpenFriendCurrency,
    RemoveIndexServer,
    RemoveRelay,
    ReportMutations,
    SetFriendCurrencyMaxDebt,
    TransactionResult,
)
from offset_proto.messages.friend import FriendsRoute, MoveTokenRequest
from offset_proto.messages.payment import NamedIndexServerAddress, NamedRelayAddress
from offset_proto.types import Currency, InvoiceId, NetAddress, PaymentId, PublicKey, Uid

FST = Currency("FST")
RELAY = NamedRelayAddress(PublicKey(b"\x21" * 32), NetAddress("relay:1"), "relay")
SERVER = NamedIndexServerAddress(PublicKey(b"\x31" * 32), NetAddress("index:1"), "index")


def _uid(number: int) -> Uid:
    return Uid(number.to_bytes(16, "big"))


def _acknowledged(effects) -> list[int]:
    """The ids of the requests that reports acknowledge, in order."""
    reports = [effect.message for effect in effects if isinstance(effect, SendToApp)]
    ids = [report.opt_app_request_id for report in reports if isinstance(report, ReportMutations)]
    return [int.from_bytes(uid, "big") for uid in ids if uid is not None]


@pytest.fixture
def node(new_node):
    """One that has started, and is idle."""
    made = new_node(1)
    made.work()
    return made


def test_nothing_is_visible_before_it_is_stored(node):
    """A batch holds no effects; whatever is asked of the engine meanwhile knows nothing of the batch."""
    node.ask(AddRelay(RELAY))
    batch = node.engine.next_batch()
    assert [type(mutation) for mutation in batch.mutations] == [RelayAdded]
    assert {field.name for field in dataclasses.fields(batch)} == {"mutations", "refused", "notes"}
    assert batch.refused == batch.notes == ()
    for _ in range(20):
        assert node.engine.follow(node.engine.channeler.tick()) == []
        assert node.engine.follow(node.engine.index.tick()) == []
    late, snapshot = node.engine.apps.open_app(ALL_PERMISSIONS)
    assert snapshot.funder_report.relays == ()
    effects = node.engine.stored(batch)
    assert [effect.relay.public_key for effect in effects if isinstance(effect, StartListener)] == [RELAY.public_key]
    told = [effect for effect in effects if isinstance(effect, SendToApp)]
    assert [effect.app_id for effect in told] == [node.app, late]  # who connected meanwhile is told of the change
    assert all(len(effect.message.mutations) == 1 for effect in told)
    _, snapshot = node.engine.apps.open_app(ALL_PERMISSIONS)
    assert snapshot.funder_report.relays == (RELAY,)


def test_a_friend_hears_nothing_before_it_is_stored(new_pair):
    """A token leaves the engine with the batch that it was signed in, and not before."""
    pair = new_pair()
    one, other = pair.nodes
    one.ask(SetFriendCurrencyMaxDebt(other.key, FST, 77))
    one.ask(OpenFriendCurrency(other.key, Currency("EUR")))
    batch = one.engine.next_batch()
    assert batch.mutations
    assert one.engine.follow([*one.engine.channeler.tick(), *one.engine.index.tick()]) == []
    assert _tokens(one.engine.stored(batch)) == 1


def test_one_batch_at_a_time(node, new_node):
    """No second batch is handed out, and none but that one can have been stored."""
    node.ask(AddRelay(RELAY))
    with pytest.raises(InvariantBroken):
        node.engine.stored(new_node(2).engine.next_batch())  # none is under way
    batch = node.engine.next_batch()
    node.ask(RemoveRelay(RELAY.public_key))
    with pytest.raises(InvariantBroken):
        node.engine.next_batch()
    with pytest.raises(InvariantBroken):
        node.engine.stored(dataclasses.replace(batch))  # equal, and not the one
    assert _acknowledged(node.engine.stored(batch)) == [1]
    with pytest.raises(InvariantBroken):
        node.engine.stored(batch)
    assert _acknowledged(node.work()) == [2]


def test_what_comes_while_a_batch_is_stored_is_of_the_next_one(node):
    """Events reach the inbox at any time."""
    node.ask(AddRelay(RELAY))
    batch = node.engine.next_batch()
    node.ask(RemoveRelay(RELAY.public_key))
    node.engine.follow([ReportOnline(PublicKey(b"\x55" * 32))])
    assert node.engine.waiting == 2
    assert _acknowledged(node.engine.stored(batch)) == [1]
    assert len(node.engine.next_batch().refused) == 1  # that friend is not known


def test_a_batch_has_a_limit(new_node):
    """More events than fit into a batch wait for the next one, in order."""
    node = new_node(3)
    count = 2 * BATCH_EVENTS_MAX + 10
    for number in range(count):
        node.ask(AddInvoice(InvoiceId(number.to_bytes(32, "big")), FST, 1))
    handled, acknowledged = [], []
    while node.engine.waiting:
        before = node.engine.waiting
        batch = node.engine.next_batch()
        handled.append(before - node.engine.waiting)
        acknowledged += _acknowledged(node.engine.stored(batch))
    assert handled == [BATCH_EVENTS_MAX, BATCH_EVENTS_MAX, 11]  # with the one of the start
    assert acknowledged == list(range(1, count + 1))
    counts = node.engine.counts
    assert (counts.events, counts.batches, counts.mutations, counts.inbox) == (count + 1, 3, count, 0)


def test_changes_of_index_servers_keep_their_place(node):
    """Between requests to the funder: what is stored, and what apps are told, has the order of the requests."""
    other = dataclasses.replace(RELAY, public_key=PublicKey(b"\x22" * 32))
    node.ask(AddRelay(RELAY))
    node.ask(AddIndexServer(SERVER))
    node.ask(AddRelay(other))
    node.ask(RemoveIndexServer(SERVER.public_key))
    node.ask(RemoveRelay(RELAY.public_key))
    batch = node.engine.next_batch()
    assert node.engine.waiting == 0
    kinds = [type(mutation).__name__ for mutation in batch.mutations]
    assert kinds == ["AddRelay", "AddIndexServer", "AddRelay", "RemoveIndexServer", "RemoveRelay"]
    assert batch.mutations[1] == IndexServerAdded(SERVER)
    assert batch.mutations[3] == IndexServerRemoved(SERVER.public_key)
    effects = node.engine.stored(batch)
    assert _acknowledged(effects) == [1, 2, 3, 4, 5]
    shown = [type(effect).__name__ for effect in effects]
    assert shown == [
        "StartListener",
        "SendToApp",
        "SendToApp",  # the server is reported, then connected to
        "Connect",
        "StartListener",
        "SendToApp",
        "SendToApp",  # its removal is reported, then the attempt is given up
        "Disconnect",
        "StopListener",
        "SendToApp",
    ]
    connect, disconnect = (effect for effect in effects if isinstance(effect, Connect | Disconnect))
    assert connect.server == SERVER
    assert disconnect.attempt == connect.attempt


def test_an_index_server_is_not_used_before_it_is_stored(node):
    """It could be gone after a crash, and the app would not have been told."""
    node.ask(AddIndexServer(SERVER))
    batch = node.engine.next_batch()
    assert [effect for _ in range(20) for effect in node.engine.follow(node.engine.index.tick())] == []
    assert any(isinstance(effect, Connect) for effect in node.engine.stored(batch))


def test_what_is_refused_is_said_and_counted(node):
    """A request that the state forbids is answered, and a message of a stranger is dropped."""
    node.ask(EnableFriend(PublicKey(b"\x55" * 32)))
    node.engine.put(FriendWentOnline(PublicKey(b"\x55" * 32)))
    batch = node.engine.next_batch()
    assert [type(event) for event, _ in batch.refused] == [AppRequested, FriendWentOnline]
    assert batch.mutations == ()
    assert _acknowledged(node.engine.stored(batch)) == [1]
    assert (node.engine.counts.refused_events, node.engine.counts.batches) == (2, 0)


def _tokens(effects) -> int:
    messages = [effect.message for effect in effects if isinstance(effect, SendFriendMessage)]
    return sum(isinstance(message, MoveTokenRequest) for message in messages)


def test_the_events_of_a_batch_share_a_token(new_pair):
    """Many requests for one friend are one token, and come last; each by itself would be one."""
    pair = new_pair()
    buyer, seller = pair.nodes
    payment = PaymentId(b"\x01" * 16)
    buyer.ask(CreatePayment(payment, InvoiceId(bytes(32)), FST, 100, seller.key))
    for number in range(5):
        route = FriendsRoute((buyer.key, seller.key))
        buyer.ask(CreateTransaction(payment, _uid(1000 + number), route, 10, 0))
    batch = buyer.engine.next_batch()
    effects = buyer.engine.stored(batch)
    assert _tokens(effects) <= 1
    acknowledged = [number for number, effect in enumerate(effects) if _acknowledged([effect])]
    (sent,) = [number for number, effect in enumerate(effects) if isinstance(effect, SendFriendMessage)]
    assert len(acknowledged) == 6
    assert sent > max(acknowledged)


def test_what_plugins_must_not_miss_is_stored_with_its_cause(new_pair):
    """A record is in the batch of its occurrence; plugins are told after all other effects, once it is stored."""
    recorded: tuple[list, list] = [], []

    def record_in(records):
        def record(occurrences):
            made = [
                AddPluginEvent(len(records) + number, "watcher", type(occurrence).__name__, "{}")
                for number, occurrence in enumerate(occurrences)
            ]
            records.extend(made)
            return made

        return record

    pair = new_pair(tuple(record_in(records) for records in recorded))
    pair.pay()
    assert [[event.hook for event in events] for events in recorded] == [["PaymentFinished"], ["InvoicePaid"]]
    for effects, events, kind in zip(pair.effects, recorded, (PaymentFinished, InvoicePaid), strict=True):
        (told,) = [effect for effect in effects if isinstance(effect, TellOccurrences)]
        assert told.recorded == tuple(events)
        assert [type(occurrence) for occurrence in told.occurrences] == [kind]
    buyer = pair.nodes[0].engine.counts
    assert buyer.occurrences == {"InvoicePaid": 0, "PaymentFinished": 1, "RequestForwarded": 0}
    (ended,) = [effect for effect in pair.effects[0] if isinstance(effect, TellTransactionEnded)]
    (answer,) = pair.answers(TransactionResult)
    assert ended.result == answer


def test_the_record_is_in_the_batch_and_the_telling_is_last(new_pair):
    """Seen on the very batch in which the buyer learns that it has paid."""
    pair = new_pair((lambda occurrences: [AddPluginEvent(7, "watcher", "x", "{}")], lambda occurrences: ()))
    buyer = pair.nodes[0]
    batches = []
    next_batch, stored = buyer.engine.next_batch, buyer.engine.stored

    def keep():
        batches.append((next_batch(), []))
        return batches[-1][0]

    def keep_effects(batch):
        batches[-1][1].extend(stored(batch))
        return batches[-1][1]

    buyer.engine.next_batch, buyer.engine.stored = keep, keep_effects
    pair.pay()
    ((batch, effects),) = [made for made in batches if any(isinstance(e, AddPluginEvent) for e in made[0].mutations)]
    assert len(batch.mutations) > 1
    assert batch.mutations[-1] == AddPluginEvent(7, "watcher", "x", "{}")
    assert isinstance(effects[-1], TellOccurrences)


def test_a_lost_batch_has_not_happened(new_pair):
    """A node that ends before its batch is stored starts from the state before; its friend knows nothing of it."""
    pair = new_pair()
    buyer, seller = pair.nodes
    before, theirs = buyer.stored, seller.stored
    buyer.ask(AddInvoice(InvoiceId(bytes(32)), FST, 1))
    buyer.ask(SetFriendCurrencyMaxDebt(seller.key, FST, 5))
    assert buyer.engine.next_batch().mutations
    again = NodeEngine(buyer.stored, buyer.identity, Random(0).randbytes)
    again.stored(again.next_batch())
    assert again.funder_state == before.funder
    assert seller.stored == theirs
    assert seller.engine.waiting == 0


def test_equal_draws_give_equal_nodes(new_pair):
    """The engine has no chance and no clock of its own."""
    one, other = new_pair(), new_pair()
    for number in (1, 2, 3):
        one.pay(number)
        other.pay(number)
    assert one.effects == other.effects
    assert [node.stored for node in one.nodes] == [node.stored for node in other.nodes]


def test_effects_are_performed_in_order():
    """What follows from performing one comes after what was there before; an error leaves the rest for later."""
    performed = []
    effects = [SendToApp(number, ReportMutations(None, ())) for number in range(5)]

    def perform(effect):
        performed.append(effect.app_id)
        if effect.app_id == 0:
            queue.perform(effects[3:4])
        if effect.app_id == 1:
            raise ValueError

    queue = EffectQueue(perform)
    with pytest.raises(ValueError):
        queue.perform(effects[:3])
    assert performed == [0, 1]
    queue.perform(effects[4:])
    assert performed == [0, 1, 2, 3, 4]


def test_requests_of_apps_are_events(node):
    """They wait in the inbox with their ids."""
    node.engine.put(AppRequested(_uid(9), AddRelay(RELAY)))
    assert _acknowledged(node.work()) == [9]
    assert node.stored.funder.relays == (RELAY,)
