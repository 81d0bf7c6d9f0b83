"""stcompact as a process: conversations, payments between wallets, restarts and kills. Spec 10 §9."""

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from interop.conversation import ConversationFailed, Wallet, hold
from interop.network import Network, NodeSpec
from interop.programs import OURS, wait_until
from offset_proto.files import IDENTITY, TICKET

CONVERSATIONS = sorted((Path(__file__).parents[1] / "conversations").glob("*.talk"))
PROGRAM = OURS.program("stcompact")


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.name)
def test_conversations(path: Path, tmp_path: Path) -> None:
    """Each file, to the letter."""
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        hold(path, wallet)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_conversation_can_fail(tmp_path: Path) -> None:
    """The runner of conversations notices what is not as written."""
    path = tmp_path / "wrong.talk"
    for line in ('<- {"serverToUser":{"nodesStatus":{"a":"..."}}}', '<- {"ack":"$x"}', "-. 1"):
        path.write_text(f"# wrong\n{line}\n")
        with (
            Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet,
            pytest.raises(ConversationFailed, match=r"wrong\.talk, line 2"),
        ):
            hold(path, wallet)


def _random(size: int = 16) -> str:
    return base64.urlsafe_b64encode(os.urandom(size)).rstrip(b"=").decode()


class User:
    """Whoever sits before a wallet: says things, and keeps what it is told."""

    def __init__(self, wallet: Wallet) -> None:
        self.wallet = wallet
        self.status: dict[str, Any] = {}
        self.ids: dict[str, str] = {}
        self.reports: dict[str, Any] = {}
        self.told: list[Any] = []

    def hear(self) -> Any:
        """Take the next line."""
        line = self.wallet.hear()
        match line:
            case {"serverToUser": {"nodesStatus": status}}:
                self.status = status
            case {"serverToUser": {"nodeOpened": opened}}:
                self.ids[opened["nodeName"]] = opened["nodeId"]
                self.reports[opened["nodeId"]] = opened["compactReport"]
            case {"serverToUser": {"node": [node_id, {"report": report}]}}:
                self.reports[node_id] = report
            case {"serverToUser": {"node": [_, said]}}:
                self.told.append(said)
        return line

    def until(self, is_so: Callable[[], bool], seconds: float = 60.0) -> None:
        """Listen until it is so."""
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                raise ConversationFailed("it did not come to that")
            self.hear()

    def ask(self, inner: Any) -> None:
        """Say something, and listen until it is acknowledged."""
        request_id = _random()
        self.wallet.say({"requestId": request_id, "inner": inner})
        while self.hear() != {"ack": request_id}:
            pass

    def of_node(self, name: str, request: Any) -> None:
        """Ask a node."""
        self.ask({"node": [self.ids[name], request]})

    def report(self, name: str) -> Any:
        """Of a node, as told last."""
        return self.reports[self.ids[name]]

    def is_online(self, name: str) -> bool:
        """Whether the only friend of a node is."""
        return bool(self.friend(name)["liveness"] == "online")

    def trades(self, name: str, currencies: set[str]) -> bool:
        """Whether a node and its only friend agreed on these."""
        reports = self.friend(name)["channelStatus"]["consistent"]["currencyReports"]
        return currencies <= set(reports)

    def friend(self, name: str) -> Any:
        """The only friend of a node."""
        (friend,) = self.report(name)["friends"].values()
        return friend

    def balance(self, name: str, currency: str) -> int:
        """Of a node with its only friend."""
        return int(self.friend(name)["channelStatus"]["consistent"]["currencyReports"][currency]["balance"])

    def wait_for_word(self, kind: str) -> Any:
        """The next thing of a kind that a node says about a payment."""
        self.until(lambda: any(kind in said for said in self.told))
        found = next(said for said in self.told if kind in said)
        self.told.remove(found)
        return found[kind]


class Friends:
    """Two wallets whose nodes are friends; payments between them as two people would make them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.users = {name: self.open(name) for name in ("near", "far")}

    def open(self, name: str) -> User:
        """Start the wallet of a user, again where it has ended."""
        store, log = self._directory / f"{name}.store", self._directory / f"{name}.log"
        return User(self._stack.enter_context(Wallet(PROGRAM, store, log)))

    def kill(self, name: str) -> None:
        """kill -9 its wallet."""
        self.users[name].wallet.process.send_signal(signal.SIGKILL)
        self.users[name].wallet.process.wait()

    def quote(self, buyer: str, seller: str, amount: int, currency: str) -> tuple[str, str, Any]:
        """An invoice, and what it would cost: ids of payment and invoice, and the answer."""
        payment_id, invoice_id = _random(), _random(32)
        invoice = {"invoiceId": invoice_id, "currency": currency, "totalDestPayment": str(amount), "description": "x"}
        self.users[seller].of_node(seller, {"addInvoice": invoice})
        request = {
            "paymentId": payment_id,
            "invoiceId": invoice_id,
            "currency": currency,
            "destPublicKey": self.users[seller].report(seller)["localPublicKey"],
            "destPayment": str(amount),
            "description": "x",
        }
        end = time.monotonic() + 30
        while True:
            self.users[buyer].of_node(buyer, {"initPayment": request})
            response = self.users[buyer].wait_for_word("paymentFees")["response"]
            if response != "unreachable" or time.monotonic() > end:
                return payment_id, invoice_id, response
            self.forget(buyer, payment_id)
            time.sleep(0.5)  # index servers may not know yet

    def forget(self, buyer: str, payment_id: str) -> None:
        """Acknowledge the end of a payment by the uid in the report."""
        status = self.users[buyer].report(buyer)["openPayments"][payment_id]["status"]
        uid = status["failure"] if "failure" in status else status["success"][2]
        self.users[buyer].of_node(buyer, {"ackPaymentDone": [payment_id, uid]})
        assert payment_id not in self.users[buyer].report(buyer)["openPayments"]

    def confirm(self, buyer: str, payment_id: str, response: Any) -> Any:
        """Accept the fees; the commit."""
        request = {"paymentId": payment_id, "confirmId": response["fees"][1]}
        self.users[buyer].of_node(buyer, {"confirmPaymentFees": request})
        return self.users[buyer].wait_for_word("paymentCommit")["commit"]

    def collect(self, seller: str, invoice_id: str, commit: Any) -> None:
        """Verify the commit, and collect."""
        request_id = _random()
        self.users[seller].of_node(seller, {"requestVerifyCommit": {"requestId": request_id, "commit": commit}})
        answer = self.users[seller].wait_for_word("responseVerifyCommit")
        assert answer == {"requestId": request_id, "status": "success"}
        self.users[seller].until(lambda: self.users[seller].report(seller)["openInvoices"][invoice_id]["isCommitted"])
        self.users[seller].of_node(seller, {"commitInvoice": invoice_id})
        assert invoice_id not in self.users[seller].report(seller)["openInvoices"]

    def pay(self, buyer: str, seller: str, amount: int, currency: str) -> None:
        """The full cycle."""
        payment_id, invoice_id, response = self.quote(buyer, seller, amount, currency)
        assert response["fees"][0] == "0"
        commit = self.confirm(buyer, payment_id, response)
        self.collect(seller, invoice_id, commit)
        done = self.users[buyer].wait_for_word("paymentDone")
        assert done["paymentId"] == payment_id
        assert done["status"]["success"][0]["totalDestPayment"] == str(amount)
        self.forget(buyer, payment_id)


def _ticket(network: Network, name: str) -> dict[str, str]:
    value = json.loads(network.path(f"{name}.ticket").read_text())
    return {"publicKey": value["publicKey"], "address": value["address"], "name": name}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Two relays, three index servers in a row, and one node for a wallet that has its node elsewhere."""
    network = Network(tmp_path_factory.mktemp("servers"))
    try:
        network.add_relay("relay0")
        network.add_relay("relay1")
        network.add_index_servers(["index0", "index1", "index2"], [("index0", "index2"), ("index2", "index1")])
        network.add_node(NodeSpec("far", "relay1", "index1"))
        yield network
    finally:
        network.stop()


def _create(network: Network, user: User, name: str) -> None:
    """Node "near" in the wallet's process, or "far", a stnode."""
    user.hear()
    if name == "near":
        user.ask({"createNode": {"createNodeLocal": {"nodeName": name}}})
    else:
        ticket = TICKET.load(network.path("far.ticket"))
        key = IDENTITY.load(network.path("far-app.ident")).private_key
        remote = {
            "nodeName": name,
            "appPrivateKey": base64.urlsafe_b64encode(key).rstrip(b"=").decode(),
            "nodePublicKey": json.loads(network.path("far.ticket").read_text())["publicKey"],
            "nodeAddress": str(ticket.address),
        }
        user.ask({"createNode": {"createNodeRemote": remote}})
    user.ask({"enableNode": name})
    user.until(lambda: name in user.ids)


def _befriend(network: Network, users: dict[str, User]) -> None:
    near, far = users["near"], users["far"]
    near.of_node("near", {"addRelay": _ticket(network, "relay0")})
    near.of_node("near", {"addIndexServer": _ticket(network, "index0")})
    relays = {"near": _ticket(network, "relay0"), "far": _ticket(network, "relay1")}
    for name, other in (("near", "far"), ("far", "near")):
        relay = {key: relays[other][key] for key in ("publicKey", "address")}
        key = users[other].report(other)["localPublicKey"]
        users[name].of_node(name, {"addFriend": {"friendPublicKey": key, "relays": [relay], "name": other}})
        users[name].of_node(name, {"enableFriend": key})
    for name, user in users.items():
        user.until(partial(user.is_online, name))
    for currency in ("FST1", "FST2"):
        for name, user in users.items():
            (key,) = user.report(name)["friends"]
            about = {"friendPublicKey": key, "currency": currency}
            user.of_node(name, {"setFriendCurrencyRate": {**about, "rate": {"mul": 0, "add": 0}}})
            user.of_node(name, {"openFriendCurrency": about})
    for currency, limit in (("FST1", "10"), ("FST2", "15")):
        (key,) = far.report("far")["friends"]
        about = {"friendPublicKey": key, "currency": currency, "remoteMaxDebt": limit}
        far.of_node("far", {"setFriendCurrencyMaxDebt": about})
    for name, user in users.items():
        user.until(partial(user.trades, name, {"FST1", "FST2"}))


@pytest.fixture
def friends(servers: Network, tmp_path: Path) -> Iterator[Friends]:
    """A wallet with a node in its process, and one with its node elsewhere; friends in FST1 and FST2."""
    with ExitStack() as stack:
        made = Friends(tmp_path, stack)
        for name, user in made.users.items():
            _create(servers, user, name)
        _befriend(servers, made.users)
        yield made
        (key,) = made.users["far"].report("far")["friends"]
        made.users["far"].of_node("far", {"removeFriend": key})
        for user in made.users.values():
            assert user.wallet.end() == 0
    for log in tmp_path.glob("*.log"):
        assert "Traceback" not in log.read_text()


def test_payments_between_wallets(friends: Friends) -> None:
    """Spec 10 §9-4: 10 FST1, 11 FST2, 5 FST1 back; 6 more back are not possible, the 5 that are left are."""
    friends.pay("near", "far", 10, "FST1")
    friends.pay("near", "far", 11, "FST2")
    friends.pay("far", "near", 5, "FST1")
    near = friends.users["near"]
    near.until(lambda: near.balance("near", "FST1") == -5)
    time.sleep(2)  # changes of a second are declared to index servers together
    _, _, response = friends.quote("far", "near", 6, "FST1")
    assert response == "unreachable"
    friends.pay("far", "near", 5, "FST1")


def test_a_wallet_that_is_killed(friends: Friends) -> None:
    """Before the commit the payment has failed when it is back; after it, it goes on to the receipt."""
    payment_id, invoice_id, response = friends.quote("near", "far", 3, "FST2")
    assert response["fees"][0] == "0"
    friends.kill("near")
    friends.users["near"] = near = friends.open("near")
    near.until(lambda: "near" in near.ids)
    status = near.report("near")["openPayments"][payment_id]["status"]
    assert near.wait_for_word("paymentDone")["status"] == status
    friends.forget("near", payment_id)
    friends.users["far"].of_node("far", {"cancelInvoice": invoice_id})

    near.until(lambda: near.friend("near")["liveness"] == "online")
    payment_id, invoice_id, response = friends.quote("near", "far", 4, "FST2")
    commit = friends.confirm("near", payment_id, response)
    friends.kill("near")
    friends.collect("far", invoice_id, commit)
    friends.users["near"] = last = friends.open("near")
    assert last.wait_for_word("paymentCommit")["commit"] == commit
    done = last.wait_for_word("paymentDone")
    assert done["status"]["success"][0]["totalDestPayment"] == "4"
    friends.forget("near", payment_id)
    last.until(lambda: last.balance("near", "FST2") == -4)


def test_a_local_node_that_is_disabled_is_gone_for_its_friends(friends: Friends) -> None:
    """While the wallet goes on: its friend sees it go, and sees it again when it is enabled."""
    near, far = friends.users["near"], friends.users["far"]
    near.ask({"disableNode": "near"})
    far.until(lambda: not far.is_online("far"), 20)
    del near.ids["near"]
    near.ask({"enableNode": "near"})
    near.until(lambda: "near" in near.ids and near.is_online("near"))
    friends.pay("near", "far", 1, "FST1")


def test_a_remote_node_that_goes_and_comes_back(servers: Network, tmp_path: Path) -> None:
    """Spec 10 §9-5: closed when it is killed; opened again, with another id, when it is back."""
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        user = User(wallet)
        _create(servers, user, "far")
        first = user.ids.pop("far")
        server = servers.servers["far"]
        server.kill()
        user.until(lambda: user.status["far"]["mode"] == "closed")
        server.start()
        user.until(lambda: "far" in user.ids, 20)
        assert user.ids["far"] != first
        user.ask({"disableNode": "far"})
        user.ask({"removeNode": "far"})
        assert user.status == {}
        assert wallet.end() == 0


def test_a_remote_node_without_permission(servers: Network, tmp_path: Path) -> None:
    """Spec 10 §9-10: the node is closed, the request acknowledged, and the node comes back with another id."""
    login = servers.add_app("far", "poor-app", "--pseller")
    ticket = json.loads(servers.path("far.ticket").read_text())
    key = IDENTITY.load(Path(str(login[1]))).private_key
    remote = {
        "nodeName": "poor",
        "appPrivateKey": base64.urlsafe_b64encode(key).rstrip(b"=").decode(),
        "nodePublicKey": ticket["publicKey"],
        "nodeAddress": ticket["address"],
    }
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        user = User(wallet)
        user.hear()
        user.ask({"createNode": {"createNodeRemote": remote}})
        user.ask({"enableNode": "poor"})
        user.until(lambda: "poor" in user.ids)
        first = user.ids["poor"]
        user.of_node("poor", {"removeRelay": _random(32)})
        assert user.status["poor"]["mode"] == "closed"
        user.until(lambda: user.ids["poor"] != first, 20)
    assert "no permission config for RemoveRelay" in (tmp_path / "log").read_text()


def test_a_local_node_is_one_of_the_original(tmp_path: Path) -> None:
    """Its database is the original's form: a node made from it goes on with the same key and friends."""
    friend = _random(32)
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        user = User(wallet)
        user.hear()
        user.ask({"createNode": {"createNodeLocal": {"nodeName": "a"}}})
        user.ask({"enableNode": "a"})
        user.until(lambda: "a" in user.ids)
        user.of_node("a", {"addFriend": {"friendPublicKey": friend, "relays": [], "name": "bob"}})
        assert wallet.end() == 0
    database = tmp_path / "store" / "local" / "a" / "node.db"
    OURS.run("stmgr", "import-db", "-d", database, "-o", tmp_path / "moved.db")
    OURS.run("stmgr", "export-db", "-d", tmp_path / "moved.db", "-o", tmp_path / "back.json")
    assert json.loads((tmp_path / "back.json").read_text()) == json.loads(database.read_text())
    assert list(json.loads(database.read_text())["funder_state"]["friends"]) == [friend]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The second one says so and ends with status 1; after kill -9 the store is free."""
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        wallet.hear()
        second = subprocess.run(
            [PROGRAM, "-s", tmp_path / "store"], input="", capture_output=True, text=True, timeout=30
        )
        assert second.returncode == 1
        assert "error: OpenFileStoreError(" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        wallet.process.kill()
        wallet.process.wait()
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        wallet.hear()
        assert wallet.end() == 0


def test_one_damaged_node_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """D95: it is named, stays closed, and can be disabled and removed."""
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        user = User(wallet)
        user.hear()
        for name in ("bad", "good"):
            user.ask({"createNode": {"createNodeLocal": {"nodeName": name}}})
            user.ask({"enableNode": name})
        user.until(lambda: len(user.ids) == 2)
        assert wallet.end() == 0
    (tmp_path / "store" / "local" / "bad" / "node.db").write_text('{"funder_state": {}}')
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        user = User(wallet)
        user.until(lambda: "good" in user.ids)
        assert list(user.ids) == ["good"]
        user.ask({"disableNode": "bad"})
        user.ask({"removeNode": "bad"})
        assert list(user.status) == ["good"]
        assert wallet.end() == 0
    assert "node bad: LoadDbError(" in (tmp_path / "log").read_text()


def test_a_signal_ends_it(tmp_path: Path) -> None:
    """SIGTERM, with status 0, as the servers do."""
    with Wallet(PROGRAM, tmp_path / "store", tmp_path / "log") as wallet:
        user = User(wallet)
        user.hear()
        user.ask({"createNode": {"createNodeLocal": {"nodeName": "a"}}})
        user.ask({"enableNode": "a"})
        wallet.process.terminate()
        assert wallet.process.wait(15) == 0
    wait_until("the log", lambda: (tmp_path / "log").exists())
    assert (tmp_path / "log").read_text() == ""
