"""A node with all it remembers moves to the original's form and back, and goes on; recorded databases are accepted."""

import json
from pathlib import Path
from typing import Any

import pytest

from interop.network import Network
from interop.programs import OURS, CommandFailed
from offset_node.database.audit import audit
from offset_node.database.original import format_database, parse_database

VECTORS = Path(__file__).parent.parent / "vectors"


def _recorded() -> list[Any]:
    """Databases that running originals wrote; those put together by hand have no transactions to their payments."""
    files = json.loads((VECTORS / "files" / "node_db.json").read_text())["cases"]
    found = [
        pytest.param(case["expected"]["text"], id=case["name"])
        for case in files
        if not case["name"].startswith("a payment in stage")
    ]
    for case in json.loads((VECTORS / "funder" / "nodes.json").read_text())["cases"]:
        for final in case["expected"]["finalStates"]:
            database = {"funder_state": final["funderState"], "index_client_config": {"index_servers": []}}
            found.append(pytest.param(json.dumps(database), id=f"{case['name']}, {final['node']}"))
    return found


@pytest.mark.parametrize("text", _recorded())
def test_recorded_databases_are_accepted(text: str) -> None:
    """The audit refuses nothing that the original can be in."""
    state = parse_database(text)
    audit(state)
    assert json.loads(format_database(state)) == json.loads(text)


def _open_payment(network: Network, label: str) -> dict[str, Path]:
    files = {kind: network.path(f"{label}.{kind}") for kind in ("invoice", "payment", "commit", "receipt")}
    network.stctrl("A", "seller", "create-invoice", "-c", "FST", "-a", 20, "-i", files["invoice"])
    network.pay_invoice("C", files["invoice"], files["payment"], files["commit"])
    return files


@pytest.mark.parametrize("moved", ["A", "B", "C"])
def test_a_live_node_moves_and_comes_back(chain: Network, moved: str) -> None:
    """With credits frozen along the route: exported, imported, started; the pending transaction completes."""
    before = chain.balance("A", "B", "FST")["balance"]
    files = _open_payment(chain, f"moved-{moved}")
    server = chain.servers[moved]
    database = Path(server.command[server.command.index("-d") + 1])
    original, ours = chain.path(f"{moved}.json"), chain.path(f"{moved}.again.db")
    with pytest.raises(CommandFailed, match="ExportDbError\\(DatabaseInUse"):
        chain.run("stmgr", "export-db", "-d", database, "-o", original)
    server.stop()
    chain.run("stmgr", "export-db", "-d", database, "-o", original)
    with pytest.raises(RuntimeError, match="exported"):
        server.start()
    told = chain.run("stmgr", "import-db", "-d", original, "-o", ours).stdout
    assert "Imported. friends: " in told
    chain.replace_node(moved, OURS, ours)
    chain.stctrl("A", "seller", "commit-invoice", "-i", files["invoice"], "-c", files["commit"])
    chain.wait_for_receipt("C", files["payment"], files["receipt"])
    verified = chain.run("stverify", "verify-receipt", "-i", files["invoice"], "-r", files["receipt"])
    assert verified.stdout == "Receipt is valid!\n"
    assert chain.balance("A", "B", "FST")["balance"] == before + 20


def test_a_damaged_database_is_refused(chain: Network) -> None:
    """The path of the field, status 1, and nothing written."""
    chain.servers["B"].stop()
    database = chain.servers["B"].command[chain.servers["B"].command.index("-d") + 1]
    exported, damaged = chain.path("B.copy.json"), chain.path("B.damaged.json")
    chain.run("stmgr", "export-db", "-d", database, "-o", exported, "--copy")
    content = json.loads(exported.read_text())
    key, friend = next(iter(content["funder_state"]["friends"].items()))
    ledger = friend["channel_status"]["Consistent"]["token_channel"]["mutual_credits"]["FST"]["state"]
    ledger["balance"]["balance"] = str(int(ledger["balance"]["balance"]) + 1)
    damaged.write_text(json.dumps(content))
    before = sorted(path.name for path in chain.directory.iterdir())
    result = chain.run("stmgr", "import-db", "-d", damaged, "-o", chain.path("B.damaged.db"), check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"funder_state: friends: '{key}': channel_status: Consistent: token_channel: direction" in result.stderr
    assert "'FST': not what stands in mutual_credits" in result.stderr
    assert sorted(path.name for path in chain.directory.iterdir()) == before
    chain.servers["B"].start()
    chain.wait_until_back("B")
