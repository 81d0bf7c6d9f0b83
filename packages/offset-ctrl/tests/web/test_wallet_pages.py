"""The pages of the wallet: what they show, and what their forms do."""

import asyncio
import re
from dataclasses import replace
from datetime import datetime

import pytest

from offset_ctrl.testing import build_commit, build_friend, build_receipt, build_report
from offset_ctrl.web.wallet.visits import FIELDS_MAX
from offset_proto.files import COMMIT, FRIEND_TICKET, INVOICE, RECEIPT, FriendTicket
from offset_proto.messages.app import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    CommitInvoice,
    CreatePayment,
    DisableFriend,
    EnableFriend,
    OpenFriendCurrency,
    PaymentStatusSuccess,
    RemoveFriend,
    ResetFriendChannel,
    ResponseClosePayment,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_proto.messages.extensions import AddExpiringInvoice, OpenInvoiceReport, UnheardFriends
from offset_proto.messages.friend import CurrencyBalance
from offset_proto.messages.history import NoteInvoice, NotePayment
from offset_proto.messages.payment import Rate, RelayAddress
from offset_proto.messages.report import (
    AddFriendReport,
    AddIndexServerReport,
    AddRelayReport,
    ChannelConsistentReport,
    ChannelInconsistentReport,
    CurrencyConfigReport,
    FriendStatusReport,
    FunderMutationReport,
    IndexClientMutationReport,
    PkFriendReportMutation,
    RemoveFriendReport,
    ResetTermsReport,
    SetChannelStatus,
    SetStatus,
    UpdateCurrencyConfig,
)
from offset_proto.text import format_b64
from offset_proto.types import Currency, PublicKey, Signature, Uid
from offset_proto.uri import PaymentRequest, format_uri, parse_uri

HOME = "/wallet/node"
HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def _set_friend(fake, web, **changes):
    """What the node reports of its only friend."""
    fake._report = build_report(web.NODE.public_key, {web.BOB.public_key: build_friend("bob", **changes)})


def _carry_out(asked):
    """What a node reports after it has done as it was asked."""

    def of_friend(key, change):
        return (FunderMutationReport(PkFriendReportMutation(key, change)),)

    def config(limit=0, is_open=False):
        made = CurrencyConfigReport(asked.currency, Rate(0, 0), limit, is_open)
        return of_friend(asked.friend_public_key, UpdateCurrencyConfig(made))

    match asked:
        case AddFriend(key, relays, name):
            return (FunderMutationReport(AddFriendReport(key, name, relays, None, ChannelConsistentReport(()))),)
        case RemoveFriend(key):
            return (FunderMutationReport(RemoveFriendReport(key)),)
        case EnableFriend(key):
            return of_friend(key, SetStatus(FriendStatusReport.ENABLED))
        case DisableFriend(key):
            return of_friend(key, SetStatus(FriendStatusReport.DISABLED))
        case SetFriendCurrencyRate():
            return config()
        case SetFriendCurrencyMaxDebt():
            return config(asked.remote_max_debt)
        case OpenFriendCurrency():
            return config(250, is_open=True)
        case AddRelay(relay):
            return (FunderMutationReport(AddRelayReport(relay)),)
        case AddIndexServer(place):
            return (IndexClientMutationReport(AddIndexServerReport(place)),)
        case ResetFriendChannel(key):
            return of_friend(key, SetChannelStatus(ChannelConsistentReport(())))
    return ()


def _know_invoices(server):
    """The node tells what is open: each invoice that it was asked for, until it is collected."""

    def reports():
        gone = {each.commit.invoice_id for each in server.fake.asked(CommitInvoice)}
        return tuple(
            OpenInvoiceReport(each.invoice_id, each.currency, each.total_dest_payment, 0, 0, 0, None)
            for each in server.fake.asked(AddExpiringInvoice)
            if each.invoice_id not in gone
        )

    server.fake.invoices = reports


def _in_wallet(run_server, web, body):
    """Run *body* with a server and a browser that has logged in."""

    async def with_browser(server):
        async with web.open_browser(server) as browser:
            await body(server, browser)

    run_server(with_browser)


def _request(server, number=1, description="Tea"):
    return format_uri(PaymentRequest(server.invoice(number), description))


async def _until(browser, path, words):
    """A page, as soon as it says *words*."""
    for _ in range(200):
        page = await browser.open(path)
        if words in page:
            return page
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} does not come to say {words!r}")


def test_home(run_server, web):
    """What there is, and who owes whom, in words as well as in a bar."""

    async def body(server, browser):
        page = await browser.open("/")
        assert "You owe" in page
        assert 'aria-label="You owe bob 30 FST, without a limit"' in page
        assert "1 of 1 connected" in page

    _in_wallet(run_server, web, body)


def test_who_was_not_heard_since_the_node_was_restored(run_server, web, fake, poll):
    """On each page that shows the friend, until it has spoken."""
    fake.unheard = (web.BOB.public_key,)
    key = format_b64(web.BOB.public_key)

    async def body(server, browser):
        await poll(lambda: server.desk.nodes[0].session.unheard)
        said = {HOME: "Not heard yet: ", f"{HOME}/friends": "Not heard since", f"{HOME}/friends/{key}": "Not heard yet"}
        for path, words in said.items():
            assert words in " ".join((await browser.open(path)).split())
        fake.tell(UnheardFriends(False, (), (web.BOB.public_key,)))
        await poll(lambda: not server.desk.nodes[0].session.unheard)
        for path in said:
            assert "Not heard" not in await browser.open(path)

    _in_wallet(run_server, web, body)


def test_hostile_names(run_server, web, fake):
    """A name is text wherever it is shown, whatever a friend or a seller calls itself."""
    _set_friend(fake, web, name=HOSTILE)

    async def body(server, browser):
        key = format_b64(web.BOB.public_key)
        invoice = server.invoice(1)
        server.let_pay(invoice)
        request = format_uri(PaymentRequest(invoice, HOSTILE))
        review = await browser.client.get(f"{HOME}/pay", params={"text": request})
        paths = [HOME, f"{HOME}/friends", f"{HOME}/friends/{key}", f"{HOME}/friends/{key}/part"]
        for page in [review.text, *[await browser.open(path) for path in paths]]:
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
            assert "<script>alert" not in page
            assert "{{ 7 * 7 }}" in page

    _in_wallet(run_server, web, body)


def test_a_payment(run_server, web):
    """Seen, confirmed, handed over and paid; sent twice or opened twice, it is one payment."""

    async def body(server, browser):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)
        page = (await browser.client.get(f"{HOME}/pay", params={"text": _request(server)})).text
        assert "Tea" in page
        assert "Pay this?" in page
        answers = await asyncio.gather(*[browser.send(page, "/pay", follow=False) for _ in range(5)])
        [path] = {answer.headers["location"] for answer in answers}
        page = await _until(browser, path, "One more step")
        again = await browser.client.get(f"{HOME}/pay", params={"text": _request(server)})
        assert again.headers["location"] == path
        assert len(server.fake.asked(CreatePayment)) == 1
        commit = parse_uri(re.search(r"offset:commit1[a-z0-9]+", page)[0])
        assert commit.invoice_id == invoice.invoice_id
        assert COMMIT.parse(await browser.open(f"{path}/commit")) == commit
        assert (await browser.client.get(f"{path}/receipt")).status_code == 404
        assert "Waiting for the seller" in await browser.open(HOME)
        [asked] = server.fake.asked(CreatePayment)
        receipt = PaymentStatusSuccess(build_receipt(invoice, web.SELLER), Uid(bytes(16)))
        server.fake.tell(ResponseClosePayment(asked.payment_id, receipt))
        await _until(browser, path, "Save the receipt")
        assert RECEIPT.parse(await browser.open(f"{path}/receipt")).invoice_id == invoice.invoice_id
        assert INVOICE.parse(await browser.open(f"{path}/request")) == invoice
        assert (await browser.client.get(f"{path}/commit")).status_code == 404
        review = await browser.client.get(f"{HOME}/pay", params={"text": _request(server)})
        refused = await browser.send(review.text, "/pay")
        assert refused.status_code == 409
        assert len(server.fake.asked(CreatePayment)) == 1

    _in_wallet(run_server, web, body)


@pytest.mark.parametrize(("status", "says"), [(200, "The seller has what is needed"), (404, "has answered 404")])
def test_a_payment_that_is_delivered(run_server, web, listen, status, says):
    """Where the request names an address, the person need do nothing; where that refuses, there is the text."""
    heard = []

    async def shop(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        )
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % status)

    async def body(server, browser):
        invoice = server.invoice(1)
        server.let_pay(invoice, collects=False)
        async with listen(shop) as port:
            request = PaymentRequest(invoice, "Tea", f"http://127.0.0.1:{port}/api/v1/commits")
            page = (await browser.client.get(f"{HOME}/pay", params={"text": format_uri(request)})).text
            assert f"by itself, to <bdi>127.0.0.1:{port}</bdi>" in page
            path = (await browser.send(page, "/pay", follow=False)).headers["location"]
            page = await _until(browser, path, says)
        assert ("<h1>Nearly there…</h1>" in page) == (status == 200)
        commit = parse_uri(re.search(r"offset:commit1[a-z0-9]+", page)[0])
        assert COMMIT.parse(heard[0].decode()) == commit

    _in_wallet(run_server, web, body)


def test_a_payment_that_can_not_be_made(run_server, web, fake):
    """The page says why, and has no button."""
    fake.routes = lambda asked: ()

    async def body(server, browser):
        page = (await browser.client.get(f"{HOME}/pay", params={"text": _request(server)})).text
        assert "This can not be paid now" in page
        assert not [form for form in web.forms_of(page) if form.action.endswith("/pay")]

    _in_wallet(run_server, web, body)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("rubbish", "This is no text that begins with offset:invoice1"),
        ('{"payment_id": "ZmZmZmZmZmZmZmZmZmZmZg"}', "This is a payment, and an invoice is wanted"),
        ("offset:invoice1qqqq", "checksum|wrong"),
        ("{}", "This is not a request to pay"),
        ("x" * 9000, "at most"),
    ],
)
def test_what_is_no_request(run_server, web, given, says):
    """The page says what is wrong."""

    async def body(server, browser):
        answer = await browser.client.get(f"{HOME}/pay", params={"text": given})
        assert answer.status_code == 400
        assert re.search(says, answer.text), answer.text

    _in_wallet(run_server, web, body)


def test_a_request_of_ones_own_is_not_paid(run_server, web):
    """It is told at once what to do with it."""

    async def body(server, browser):
        own = replace(server.invoice(1), dest_public_key=web.NODE.public_key)
        answer = await browser.client.get(f"{HOME}/pay", params={"text": format_uri(PaymentRequest(own))})
        assert (answer.status_code, "This is a request of your own; hand it to" in answer.text) == (400, True)

    _in_wallet(run_server, web, body)


def test_asking_for_a_payment(run_server, web):
    """A request with a note and a QR code; with what the buyer hands over it is paid."""

    async def body(server, browser):
        _know_invoices(server)
        address = "https://alice.example.org/api/v1/commits"
        object.__setattr__(server.desk, "delivery", address)
        page = await browser.open(f"{HOME}/ask")
        entered = {"amount": "1 200", "currency": "FST", "note": "Rent & more"}
        answers = [await browser.send(page, "/ask", follow=False, **entered) for _ in range(2)]
        [path] = {answer.headers["location"] for answer in answers}
        assert len(server.fake.asked(AddExpiringInvoice)) == 1
        page = await browser.open(path)
        request = parse_uri(re.search(r"offset:invoice1[a-z0-9]+", page)[0])
        assert (request.invoice.dest_payment, request.description) == (1200, "Rent & more")
        assert request.end is not None
        assert request.delivery == address
        assert "<svg" in page
        here = "On this machine only; start stweb with --public-address for others"
        assert here in page
        shop = server.desk.shop
        object.__setattr__(server.desk, "shop", "https://shop.example.org")
        assert here not in await browser.open(path)
        object.__setattr__(server.desk, "shop", shop)
        assert INVOICE.parse(await browser.open(f"{path}/file")) == request.invoice
        wrong = await browser.send(page, "/commit", text=format_uri(build_commit(server.invoice(9), web.SELLER)))
        assert (wrong.status_code, len(server.fake.asked(CommitInvoice))) == (400, 0)
        assert "another request" in wrong.text
        paid = server.desk.database.now() + 3600
        server.desk.database._clock = lambda: paid
        await browser.send(page, "/commit", text=format_uri(build_commit(request.invoice, web.NODE)))
        assert len(server.fake.asked(CommitInvoice)) == 1
        assert "<h1>Paid</h1>" in await browser.open(path)
        [shown] = re.findall(
            r'Paid</span> · <time datetime="([^"]+)">|Paid · <time datetime="([^"]+)">', await browser.open(HOME)
        )
        assert datetime.fromisoformat(max(shown)).timestamp() == paid

    _in_wallet(run_server, web, body)


def test_what_for_is_a_note_of_the_node(run_server, web, poll):
    """That of a request which is paid, and that of one which is made: so the history of either side has it."""

    async def body(server, browser):
        _know_invoices(server)
        asked = PaymentRequest(server.invoice(1), "Rent & more")
        server.let_pay(asked.invoice)
        page = await browser.open(f"{HOME}/pay?text={format_uri(asked)}")
        await browser.send(page, "/pay")
        await poll(lambda: server.fake.asked(NotePayment))
        (created,) = server.fake.asked(CreatePayment)
        assert server.fake.asked(NotePayment) == [NotePayment(created.payment_id, "Rent & more")]
        await browser.send(await browser.open(f"{HOME}/ask"), "/ask", amount="5", currency="FST", note="Tea")
        (added,) = server.fake.asked(AddExpiringInvoice)
        assert server.fake.asked(NoteInvoice) == [NoteInvoice(added.invoice_id, "Tea")]

    _in_wallet(run_server, web, body)


def test_asking_for_what_nobody_can_pay_now(run_server, web):
    """The request is made, and its page says what is missing for as long as that is so."""

    async def body(server, browser):
        _know_invoices(server)
        page = await browser.open(f"{HOME}/ask")
        for currency, is_said in (("GBP", True), ("FST", False)):
            made = await browser.send(page, "/ask", follow=False, amount="5", currency=currency)
            shown = await browser.open(made.headers["location"])
            assert "Waiting to be paid" in shown
            assert (f"No friend trades {currency} with you yet, so nobody can pay this" in shown) == is_said
            page = await browser.open(f"{HOME}/ask")

    _in_wallet(run_server, web, body)


@pytest.mark.parametrize(
    ("entered", "says"),
    [
        ({"amount": "0"}, "at least 1"),
        ({"amount": "1.5"}, "whole number"),
        ({"amount": "9" * 60}, "128 bits|less than|too large|most"),
        ({"currency": "x" * 17}, "16 bytes|at most"),
        ({"note": "é" * 200}, "256 bytes"),
        ({"end": "tomorrow"}, "choose when"),
    ],
)
def test_requests_that_can_not_be_made(run_server, web, entered, says):
    """The page of the form says so, and keeps what was entered; the node hears of nothing."""

    async def body(server, browser):
        page = await browser.open(f"{HOME}/ask")
        fields = {"amount": "5", "currency": "FST", "note": "for you", **entered}
        answer = await browser.send(page, "/ask", **fields)
        assert answer.status_code == 400
        assert re.search(says, answer.text, re.IGNORECASE), answer.text
        assert f'value="{fields["amount"]}"' in answer.text
        assert not server.fake.asked(AddExpiringInvoice)

    _in_wallet(run_server, web, body)


def test_friends(run_server, web, fake):
    """Invited, with a limit; paused; and removed only by somebody who is sure."""
    fake.mutations = _carry_out

    async def body(server, browser):
        page = await browser.open(f"{HOME}/friends/new")
        assert parse_uri(re.search(r"offset:friend1[a-z0-9]+", page)[0]).public_key == web.NODE.public_key
        carol = FriendTicket(web.SELLER.public_key, ())
        entered = {"name": "carol", "currency": "FST", "limit": "250"}
        answer = await browser.send(page, "/friends/new", text=FRIEND_TICKET.format(carol), **entered)
        assert answer.status_code == 200, answer.text
        assert "<h1><bdi>carol</bdi></h1>" in answer.text
        assert [each.name for each in server.fake.asked(AddFriend)] == ["carol"]
        assert [each.remote_max_debt for each in server.fake.asked(SetFriendCurrencyMaxDebt)] == [250]
        assert len(server.fake.asked(OpenFriendCurrency)) == 1
        again = await browser.send(page, "/friends/new", text=format_uri(carol), **{**entered, "name": "bob"})
        assert "This is your friend carol already; the limit is changed on the page of carol" in again.text
        again = await browser.send(page, "/friends/new", text=format_uri(carol), **{**entered, "limit": "9"})
        assert (again.status_code, "This is your friend carol already" in again.text) == (409, True)
        again = await browser.send(page, "/friends/new", text=format_uri(carol), **entered)
        assert "<h1><bdi>carol</bdi></h1>" in again.text
        assert [each.remote_max_debt for each in server.fake.asked(SetFriendCurrencyMaxDebt)] == [250]
        dave = format_uri(FriendTicket(PublicKey(bytes([77]) * 32), ()))
        again = await browser.send(page, "/friends/new", text=dave, **entered)
        assert "friend of this name already" in again.text
        own = await browser.send(
            page, "/friends/new", text=FRIEND_TICKET.format(server.desk.nodes[0].node.friend_ticket()), **entered
        )
        assert "your own invitation" in own.text
        await browser.send(answer.text, "/pause")
        assert len(server.fake.asked(DisableFriend)) == 1
        part = await browser.open(answer.url.path + "/part")
        assert (await browser.send(part, "/part")).status_code == 400
        assert not server.fake.asked(RemoveFriend)
        gone = await browser.send(part, "/part", is_sure="yes")
        assert gone.url.path == f"{HOME}/friends"
        assert "carol" not in gone.text

    _in_wallet(run_server, web, body)


@pytest.mark.parametrize(("kind", "asks"), [("relays", AddRelay), ("index-servers", AddIndexServer)])
def test_a_server_that_is_there_is_not_replaced(run_server, web, fake, kind, asks):
    """Its name and its address stay; the same ticket sent twice is no mistake."""
    fake.mutations = _carry_out

    async def body(server, browser):
        page = await browser.open(f"{HOME}/settings")
        ticket = RelayAddress(PublicKey(bytes([77]) * 32), "relay.example:1337")
        moved = RelayAddress(ticket.public_key, "evil.example:1")
        answers = [
            await browser.send(page, f"/settings/{kind}", text=format_uri(each), name=name)
            for each, name in [(ticket, "one"), (ticket, "one"), (ticket, "two"), (moved, "one")]
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 409, 409]
        for answer in answers[2:]:
            assert "is there already, as one at relay.example:1337; remove it first" in answer.text
        assert len(server.fake.asked(asks)) == 1

    _in_wallet(run_server, web, body)


def test_a_disagreement(run_server, web, fake):
    """Both sides are shown in words, and one button takes the friend's."""
    theirs = ResetTermsReport(Signature(bytes(64)), (CurrencyBalance(Currency("FST"), 5),))
    broken = ChannelInconsistentReport((CurrencyBalance(Currency("FST"), 30),), theirs)
    _set_friend(fake, web, channel_status=broken)
    fake.mutations = _carry_out

    async def body(server, browser):
        assert "You and <bdi>bob</bdi> disagree" in await browser.open(HOME)
        page = await browser.open(f"{HOME}/friends/bob")
        assert "<bdi>bob</bdi> owes you 30" in page
        assert "you owe 5" in page
        await browser.send(page, "/accept")
        assert len(server.fake.asked(ResetFriendChannel)) == 1

    _in_wallet(run_server, web, body)


def test_tokens(run_server, web):
    """A secret is shown by the answer to its form, and nowhere else."""

    async def body(server, browser):
        page = await browser.open(f"{HOME}/settings")
        entered = {"name": "shop", "read": "yes", "amount": "5", "currency": "FST"}
        answer = await browser.send(page, "/tokens", **entered)
        [secret] = re.findall(r"stweb_[\w-]+", answer.text)
        assert server.desk.tokens.visitor(secret).grants.texts() == ["read", "pay:5:FST/day"]
        assert (await browser.send(page, "/tokens", **entered)).status_code == 409
        page = await browser.open(f"{HOME}/settings")
        assert secret not in page
        [form] = [each for each in web.forms_of(page) if each.fields.get("name") == "shop"]
        await browser.client.post(form.action, data=form.fields)
        assert server.desk.tokens.visitor(secret) is None

    _in_wallet(run_server, web, body)


def test_what_is_not_there(run_server, web):
    """A page says so, in the frame of the wallet where there is one."""

    async def body(server, browser):
        for path in ("/wallet/other", f"{HOME}/payments/x", f"{HOME}/invoices/x", f"{HOME}/friends/nobody"):
            answer = await browser.client.get(path)
            assert (answer.status_code, "That did not work" in answer.text) == (404, True), path

    _in_wallet(run_server, web, body)


def test_a_form_with_too_many_fields(run_server, web):
    """Is a form without a token."""

    async def body(server, browser):
        page = await browser.open(f"{HOME}/ask")
        more = {f"x{number}": "" for number in range(FIELDS_MAX)}
        assert (await browser.send(page, "/ask", **more)).status_code == 403

    _in_wallet(run_server, web, body)
