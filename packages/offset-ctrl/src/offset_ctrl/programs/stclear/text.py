"""What a person reads of a plan."""

from typing import Any

from offset_ctrl.programs.table import format_table, printable

__all__ = ["plan_as_text"]


def plan_as_text(report: dict[str, Any]) -> str:
    """The plan that `offset_ctrl.clearing.report.plan_as_json` gave, as tables and remarks."""
    debts, currency = report["debts"], report["currency"]
    members = report["members"]
    rows = [
        [
            member["name"],
            *(member[side][when] for side in ("owes", "is_owed") for when in ("before", "after")),
            str(len(member["circles"])),
            member["public_key"],
        ]
        for member in members
    ]
    parts = [
        f"Debts of {len(members)} members in {currency}: {debts['before']} before, {debts['after']} after.",
        f"No set-off clears more than {debts['clearable']}.",
        format_table(["member", "owes", "then", "is owed", "then", "circles", "public key"], rows),
        _circles_text(members),
        *_remarks(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _circles_text(members: list[dict[str, Any]]) -> str:
    rows = [
        [member["name"], str(circle["number"]), circle["amount"], circle["fees"], " > ".join(circle["names"])]
        for member in members
        for circle in member["circles"]
    ]
    if not rows:
        return "There is no circle to pay."
    return format_table(["payer", "circle", "amount", "fees", "route"], rows)


def _remarks(report: dict[str, Any]) -> list[str]:
    """What could not be counted or planned, a paragraph for each kind."""
    disagreements = []
    for entry in report["disagreements"]:
        (first, second), balances = entry["between"], entry["balances"]
        disagreements.append(f"- {_claim(first, second, balances[0])}; {_claim(second, first, balances[1])}.")
    hindrances = [f"- {' and '.join(entry['between'])}: {entry['reason']}." for entry in report["hindrances"]]
    left_out = [
        f"- {entry['amount']} around {' > '.join(entry['members'])}: {entry['reason']}." for entry in report["left_out"]
    ]
    outside = [
        f"- {member['name']}: {member['friends_without_export']}"
        for member in report["members"]
        if member["friends_without_export"]
    ]
    return [
        "\n".join([title, *map(printable, lines)])
        for title, lines in (
            ("Exports that do not fit together. The smaller debt counts; new exports of both say more.", disagreements),
            ("Debts that nothing can be taken off now:", hindrances),
            ("Circles that are not planned, or not with all that they could clear:", left_out),
            ("Friends with a balance who exported nothing, so that it does not count:", outside),
        )
        if lines
    ]


def _claim(name: str, friend: str, balance: str | None) -> str:
    if balance is None:
        return f"{name} has no ledger with {friend}"
    if balance.startswith("-"):
        return f"{name} says: I owe {friend} {balance[1:]}"
    return f"{name} says: {friend} owes me {balance}"
