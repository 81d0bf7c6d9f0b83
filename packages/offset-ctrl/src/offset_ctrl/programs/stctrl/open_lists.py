"""
stctrl buyer payments, stctrl seller invoices: all that is open at the node, oldest first. Spec 09 §8, §9.

They ask and change nothing. An original's node does not tell.
"""

import time
from typing import Any

import click

from offset_ctrl.connection.client import NodeConnection
from offset_ctrl.connection.session import NodeSession
from offset_ctrl.programs.stctrl.session import CommandError
from offset_ctrl.programs.stctrl.waiting import describe_parts, describe_stage, frozen_line, moment, part_json
from offset_ctrl.programs.table import format_table, printable, shown_json
from offset_ctrl.rules.open_reports import oldest_invoices, oldest_payments, waiting_parts
from offset_proto.errors import OffsetError
from offset_proto.messages.extensions import OpenInvoiceReport, OpenPaymentReport, PaymentStageReport
from offset_proto.report_view import ReportView
from offset_proto.text import format_b64

__all__ = ["invoices", "payments"]


def _print_json(value: Any) -> None:
    click.echo(shown_json(value))


async def payments(session: NodeSession, *, as_json: bool) -> None:
    """
    Print the payments that have no end, or one that no app has acknowledged.

    Raises:
        CommandError: The node does not tell, or does not answer.
    """
    try:
        await session.follow_payments()
    except OffsetError as error:
        raise CommandError("BuyerError", f"{type(error).__name__}({error})") from None
    known = oldest_payments(session.payments)
    if as_json:
        _print_json([_payment_json(session.report, payment) for payment in known])
    elif known:
        rows = [_payment_row(session.report, payment) for payment in known]
        click.echo(format_table(["payment", "pays", "waits for"], rows))
    else:
        click.echo("No open payments.")


def _waits_for(payment: OpenPaymentReport) -> str:
    match payment.stage:
        case PaymentStageReport.PAID:
            return "paid; waits for payment-status to save the receipt"
        case PaymentStageReport.CANCELLED:
            return "canceled; waits for payment-status to acknowledge that"
        case PaymentStageReport.ACKNOWLEDGED:
            return "paid and acknowledged; waits for the end of the other parts"
        case _:
            has_commit = payment.opt_commit is not None
            has_parts = bool(waiting_parts(payment))
            return describe_stage(payment.stage, has_parts=has_parts, has_commit=has_commit, is_given_up=False)


def _payment_row(report: ReportView, payment: OpenPaymentReport) -> list[str]:
    target, parts = payment.opt_target, waiting_parts(payment)
    pays = "" if target is None else f"{target.total_dest_payment} {printable(target.currency)}"
    lines = [_waits_for(payment)]
    if target is not None and parts:
        lines.append(describe_parts(parts, target.total_dest_payment, target.currency))
        lines.append(frozen_line(report, parts))
    return [format_b64(payment.payment_id), pays, "\n".join(lines)]


def _payment_json(report: ReportView, payment: OpenPaymentReport) -> dict[str, Any]:
    target = payment.opt_target
    return {
        "payment_id": format_b64(payment.payment_id),
        "stage": payment.stage.value,
        "waits_for": _waits_for(payment),
        "has_commit": payment.opt_commit is not None,
        "invoice_id": None if target is None else format_b64(target.invoice_id),
        "seller": None if target is None else format_b64(target.dest_public_key),
        "currency": None if target is None else str(target.currency),
        "total_dest_payment": None if target is None else str(target.total_dest_payment),
        "parts": [part_json(report, part) for part in waiting_parts(payment)],
    }


async def invoices(node: NodeConnection, *, as_json: bool) -> None:
    """
    Print the invoices that are neither collected nor cancelled.

    Raises:
        CommandError: The node does not tell, or does not answer.
    """
    try:
        await node.follow_invoices()
    except OffsetError as error:
        raise CommandError("SellerError", f"{type(error).__name__}({error})") from None
    known = oldest_invoices(node.invoices)
    if as_json:
        _print_json([_invoice_json(invoice) for invoice in known])
    elif known:
        rows = [_invoice_row(invoice) for invoice in known]
        click.echo(format_table(["invoice", "asks for", "waits for", "ends"], rows))
    else:
        click.echo("No open invoices.")


def _invoice_waits_for(invoice: OpenInvoiceReport) -> str:
    if not invoice.parts:
        return "a buyer"
    if invoice.arrived < invoice.total_dest_payment:
        return f"the rest; {invoice.arrived} are frozen for it since {moment(invoice.since)}"
    return f"the buyer's commit; all is frozen for it since {moment(invoice.since)}"


def _invoice_row(invoice: OpenInvoiceReport) -> list[str]:
    if invoice.opt_end is None:
        ends = "never"
    else:
        ends = f"{moment(invoice.opt_end)}\nin {max(0, invoice.opt_end - int(time.time()))} s"
    asks_for = f"{invoice.total_dest_payment} {printable(invoice.currency)}"
    return [format_b64(invoice.invoice_id), asks_for, _invoice_waits_for(invoice), ends]


def _invoice_json(invoice: OpenInvoiceReport) -> dict[str, Any]:
    return {
        "invoice_id": format_b64(invoice.invoice_id),
        "currency": str(invoice.currency),
        "total_dest_payment": str(invoice.total_dest_payment),
        "arrived": str(invoice.arrived),
        "parts": invoice.parts,
        "since": invoice.since if invoice.parts else None,
        "ends": invoice.opt_end,
        "waits_for": _invoice_waits_for(invoice),
    }
