"""Logging in and out of the wallet, and what no page from elsewhere can do."""

import io
import re

import httpx
import pytest
from PIL import Image

from offset_ctrl.web.wallet.rendering import STATIC

SETTINGS = "/wallet/node/settings"


def test_without_a_session(run_server, web):
    """Each page says how to log in, and no form does anything."""

    async def body(server):
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as stranger:
            for path in ("/", "/wallet/node", "/wallet/node/pay", "/wallet/node/friends/new", SETTINGS):
                answer = await stranger.get(path)
                assert answer.status_code == 401
                assert "stweb link" in answer.text
            for path in ("/wallet/node/pay", "/wallet/node/ask", f"{SETTINGS}/tokens"):
                assert (await stranger.post(path, data={"form_token": "x"})).status_code == 401

    run_server(body)


def test_a_token_of_a_program_opens_no_page(run_server):
    """A page does what the owner may; a program has the API, with its limits."""

    async def body(server):
        assert (await server.client.get("/wallet/node")).status_code == 401

    run_server(body)


@pytest.mark.parametrize("given", [None, "", "0" * 64, "ä"])
def test_forms_without_the_token_of_the_session(run_server, web, given):
    """Are refused, whatever else they have."""

    async def body(server):
        async with web.open_browser(server) as browser:
            page = await browser.open(SETTINGS)
            [form] = [form for form in web.forms_of(page) if form.action.endswith("/tokens")]
            fields = {**form.fields, "name": "shop", "read": "yes", "end": "year"}
            if given is None:
                del fields["form_token"]
            else:
                fields["form_token"] = given
            answer = await browser.client.post(form.action, data=fields)
            assert answer.status_code == 403
            assert [token.name for token in server.desk.tokens.list()] == ["app"]
            assert (await browser.client.post("/log-out", data={"form_token": "x"})).status_code == 403
            assert "This browser" in await browser.open(SETTINGS)

    run_server(body)


def test_the_form_token_of_another_session(run_server, web):
    """Is as bad as none."""

    async def body(server):
        async with web.open_browser(server) as one, web.open_browser(server) as other:
            page = await one.open(SETTINGS)
            [form] = [form for form in web.forms_of(page) if form.action.endswith("everywhere")]
            assert (await other.client.post(form.action, data=form.fields)).status_code == 403
            assert (await one.client.post(form.action, data=form.fields)).status_code == 303
            assert (await other.client.get("/wallet/node")).status_code == 401

    run_server(body)


def test_logging_out(run_server, web):
    """The session is over, also for whoever has kept its cookie."""

    async def body(server):
        async with web.open_browser(server) as browser:
            cookie = dict(browser.client.cookies)
            answer = await browser.send(await browser.open(SETTINGS), "/log-out", follow=False)
            assert answer.status_code == 303
            assert "max-age=0" in answer.headers["set-cookie"].lower()
            browser.client.cookies.update(cookie)
            assert (await browser.client.get("/wallet/node")).status_code == 401
            assert (await browser.client.get("/api/v1/nodes")).status_code == 401

    run_server(body)


def test_wrong_links(run_server):
    """Only so many are looked at in a minute; a right one is let in all the same."""

    async def body(server):
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as browser:
            wrong = [(await browser.post("/log-in", data={"link": "no"})) for _ in range(22)]
            assert [answer.status_code for answer in wrong] == [401] * 20 + [429] * 2
            assert "Wait a minute" in wrong[-1].text
            right = await browser.post("/log-in", data={"link": server.desk.tokens.create_link()})
            assert right.status_code == 303

    run_server(body)


def test_pages_name_no_other_host_and_have_no_script_of_their_own(run_server, web):
    """So the content security policy breaks nothing; and it is on each of them."""
    pages = ["/wallet/node", "/wallet/node/pay", "/wallet/node/ask", "/wallet/node/friends", "/log-in?link=a", SETTINGS]

    async def body(server):
        async with web.open_browser(server) as browser:
            for path in [*pages, "/wallet/node/friends/new", "/wallet/node/friends/bob"]:
                answer = await browser.client.get(path)
                assert answer.status_code == 200
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["cache-control"] == "no-store"
                page = answer.text
                addresses = re.findall(r'\b(?:href|src|action|data-events)="([^"]*)"', page)
                assert addresses
                assert all(address[:1] in ("/", "#") and address[:2] != "//" for address in addresses)
                assert not re.search(r"<style|<script(?! src=)|\bon[a-z]+=|\bstyle=|javascript:", page)

    run_server(body)


def test_static_files(run_server):
    """Are there for everybody, may be kept, and name no other host either."""

    async def body(server):
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as browser:
            for name, (content, media_type) in STATIC.items():
                answer = await browser.get(f"/static/{name}")
                assert answer.content == content
                assert answer.headers["content-type"].startswith(media_type)
                assert answer.headers["cache-control"] == "private, max-age=604800"
                assert b"http" not in content.replace(b"http://www.w3.org/2000/svg", b"")
            for name in ("nothing", "..%2fbase.html"):
                assert (await browser.get(f"/static/{name}")).status_code == 404

    run_server(body)


def test_the_page_for_a_server_that_is_not_reached(run_server, web):
    """Anybody gets it, and it is the same for all; the script that shows it keeps files besides, and nothing else."""

    async def body(server):
        async with web.open_browser(server) as owner, httpx.AsyncClient(base_url=server.url, trust_env=False) as other:
            page = await other.get("/offline")
            assert (page.status_code, "can not be reached" in page.text) == (200, True)
            assert await owner.open("/offline") == page.text
            script = await other.get("/service-worker.js")
            assert script.headers["content-type"].startswith("text/javascript")
            assert script.headers["cache-control"] == "no-cache"
            kept = re.search(r"SHELL = \[(.*)\]", script.text)[1].replace('"', "").split(", ")
            assert kept[-1] == "/offline"
            assert all(path.startswith("/static/") for path in kept[:-1])
            needed = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
            needed -= {path for path in needed if ".png" in path or ".webmanifest" in path}  # not for what is shown
            assert needed <= set(kept)
            for path in kept:
                assert (await other.get(path)).status_code == 200

    run_server(body)


def test_the_manifest(run_server):
    """Names icons that are there, of the sizes that it says."""

    async def body(server):
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as browser:
            manifest = (await browser.get("/static/wallet.webmanifest")).json()
            sizes = {(icon["sizes"], icon["purpose"]) for icon in manifest["icons"]}
            assert {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")} <= sizes
            for icon in manifest["icons"]:
                answer = await browser.get(icon["src"])
                assert answer.headers["content-type"] == icon["type"]
                if icon["type"] == "image/png":
                    width, height = Image.open(io.BytesIO(answer.content)).size
                    assert icon["sizes"] == f"{width}x{height}"

    run_server(body)
