"""A client in TypeScript, generated from the API's own description of itself, pays an invoice."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from interop.network import Network
from interop.web import Web

SOURCES = Path(__file__).parents[1] / "typescript"
REGISTRY_AWAY = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The sources, and the pinned tools from the registry of npm."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: nothing can generate a client in TypeScript")
    folder = tmp_path / "typescript"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
    # Scripts of packages are not run; none is needed.
    command = ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if installed.returncode and any(reason in installed.stderr for reason in REGISTRY_AWAY):
        pytest.skip("the registry of npm can not be reached")
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture
def webs(chain: Network, tmp_path: Path) -> Iterator[tuple[Web, Web]]:
    """stweb of the seller A and of the buyer C."""
    made: list[Web] = []
    try:
        made.append(Web(chain, tmp_path, "A"))
        made.append(Web(chain, tmp_path, "C"))
        yield made[0], made[1]
    finally:
        for web in made:
            web.server.stop()


def _run(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_generated_client_pays(project: Path, webs: tuple[Web, Web]) -> None:
    """Its types fit the compiler, and at the end there is the receipt."""
    shop, buyer = webs
    document = httpx.get(f"{buyer.url}/api/v1/openapi.json", trust_env=False)
    (project / "openapi.json").write_bytes(document.content)
    tools = "node_modules/.bin"
    # What has a default need not be sent.
    _run(project, f"{tools}/openapi-typescript", "openapi.json", "--default-non-nullable=false", "-o", "api.ts")
    _run(project, f"{tools}/tsc", "-p", ".")
    with httpx.Client(base_url=shop.url, headers=shop.headers, timeout=30.0, trust_env=False) as client:
        body = {"currency": "FST", "amount": "231", "expires_in": 600}
        asked = client.post("/api/v1/nodes/A/invoices", json=body, headers={"idempotency-key": "for TypeScript"}).json()
    token = buyer.headers["authorization"].removeprefix("Bearer ")
    said = json.loads(_run(project, "node", "pay.js", buyer.url, "C", asked["text"], TOKEN=token))
    assert (said["state"], said["fees"]) == ("paid", "1")
    assert said["receipt"]["invoice_id"] == asked["invoice"]["invoice_id"]
    with httpx.Client(base_url=shop.url, headers=shop.headers, trust_env=False) as client:
        path = f"/api/v1/nodes/A/invoices/{asked['invoice']['invoice_id']}"
        assert client.get(path).json()["state"] == "collected"
