"""Invoices of the seller, transactions and payments of the buyer. Pure."""

from collections.abc import Iterator
from typing import assert_never

from immutables import Map

from offset_funder import mutations as m
from offset_funder.state import FunderState, OpenInvoice, OpenTransaction, Payment
from offset_node.database import forms
from offset_node.database.tables.cells import Rows, Statement, format_form, group, parse_amount, parse_form
from offset_proto.types import Currency, HashedLock, InvoiceId, PaymentId, PlainLock, Uid

__all__ = [
    "MIGRATION_TO_3",
    "READS",
    "SCHEMA",
    "PaymentMutation",
    "insert_payments",
    "read_invoices",
    "read_payments",
    "read_transactions",
    "write",
]

PaymentMutation = (
    m.AddInvoice
    | m.AddIncomingTransaction
    | m.RemoveIncomingTransaction
    | m.SetInvoiceSrcHashedLock
    | m.RemoveInvoice
    | m.AddTransaction
    | m.SetTransactionResponse
    | m.RemoveTransaction
    | m.UpdatePayment
    | m.RemovePayment
)

SCHEMA = """
CREATE TABLE open_invoices (
    invoice_id BLOB PRIMARY KEY,
    currency TEXT NOT NULL,
    total_dest_payment TEXT NOT NULL,
    dest_plain_lock BLOB NOT NULL,
    src_hashed_lock BLOB,
    "end" INTEGER  -- seconds since 1970
) STRICT;
CREATE TABLE invoice_transactions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    invoice_id BLOB NOT NULL REFERENCES open_invoices ON DELETE CASCADE,
    request_id BLOB NOT NULL
) STRICT;
CREATE INDEX transactions_by_invoice ON invoice_transactions (invoice_id, position);
CREATE TABLE open_transactions (
    request_id BLOB PRIMARY KEY, payment_id BLOB NOT NULL, response TEXT
) STRICT;
CREATE TABLE payments (payment_id BLOB PRIMARY KEY, payment TEXT NOT NULL) STRICT;
"""

MIGRATION_TO_3 = 'ALTER TABLE open_invoices ADD COLUMN "end" INTEGER;'

_INVOICE = 'invoice_id, currency, total_dest_payment, dest_plain_lock, src_hashed_lock, "end"'
_INVOICES = f"SELECT {_INVOICE} FROM open_invoices"
_INVOICE_TRANSACTIONS = "SELECT invoice_id, request_id FROM invoice_transactions ORDER BY position"
_TRANSACTIONS = "SELECT request_id, payment_id, response FROM open_transactions"
_INSERT_PAYMENT = (
    "INSERT INTO payments (payment_id, payment) VALUES (?, ?)"
    " ON CONFLICT (payment_id) DO UPDATE SET payment = excluded.payment"
)
_PAYMENTS = "SELECT payment_id, payment FROM payments"

READS = (_INVOICES, _INVOICE_TRANSACTIONS, _TRANSACTIONS, _PAYMENTS)


def write(mutation: PaymentMutation) -> Iterator[Statement]:
    """The statements that carry a mutation out on the tables."""
    match mutation:
        case m.AddInvoice(invoice_id, currency, total, lock, end):
            insert = f"INSERT INTO open_invoices ({_INVOICE}) VALUES (?, ?, ?, ?, NULL, ?)"
            yield insert, (invoice_id, currency, str(total), lock, end)
        case m.AddIncomingTransaction(invoice_id, request_id):
            insert = "INSERT INTO invoice_transactions (invoice_id, request_id) VALUES (?, ?)"
            yield insert, (invoice_id, request_id)
        case m.RemoveIncomingTransaction(invoice_id, request_id):
            delete = "DELETE FROM invoice_transactions WHERE invoice_id = ? AND request_id = ?"
            yield delete, (invoice_id, request_id)
        case m.SetInvoiceSrcHashedLock(invoice_id, lock):
            yield "UPDATE open_invoices SET src_hashed_lock = ? WHERE invoice_id = ?", (lock, invoice_id)
        case m.RemoveInvoice(invoice_id):
            yield "DELETE FROM open_invoices WHERE invoice_id = ?", (invoice_id,)
        case m.AddTransaction(request_id, payment_id):
            insert = "INSERT INTO open_transactions (request_id, payment_id) VALUES (?, ?)"
            yield insert, (request_id, payment_id)
        case m.SetTransactionResponse(response):
            update = "UPDATE open_transactions SET response = ? WHERE request_id = ?"
            yield update, (format_form(forms.RESPONSE, response), response.request_id)
        case m.RemoveTransaction(request_id):
            yield "DELETE FROM open_transactions WHERE request_id = ?", (request_id,)
        case m.UpdatePayment(payment_id, payment):
            yield _INSERT_PAYMENT, (payment_id, format_form(forms.PAYMENT, payment))
        case m.RemovePayment(payment_id):
            yield "DELETE FROM payments WHERE payment_id = ?", (payment_id,)
        case _:
            assert_never(mutation)


def insert_payments(state: FunderState) -> Iterator[Statement]:
    """Rows of all invoices, transactions and payments, into empty tables."""
    for invoice_id, invoice in state.open_invoices.items():
        total, lock = invoice.total_dest_payment, invoice.dest_plain_lock
        yield from write(m.AddInvoice(invoice_id, invoice.currency, total, lock, invoice.opt_end))
        if invoice.opt_src_hashed_lock is not None:
            yield from write(m.SetInvoiceSrcHashedLock(invoice_id, invoice.opt_src_hashed_lock))
        for request_id in invoice.incoming_transactions:
            yield from write(m.AddIncomingTransaction(invoice_id, request_id))
    for request_id, transaction in state.open_transactions.items():
        yield from write(m.AddTransaction(request_id, transaction.payment_id))
        if transaction.opt_response is not None:
            yield from write(m.SetTransactionResponse(transaction.opt_response))
    for payment_id, payment in state.payments.items():
        yield from write(m.UpdatePayment(payment_id, payment))


def read_invoices(rows: Rows) -> Map[InvoiceId, OpenInvoice]:
    """The open invoices. Raises InvalidInput."""
    transactions = group(rows[_INVOICE_TRANSACTIONS])
    return Map(
        {
            InvoiceId(invoice_id): OpenInvoice(
                Currency(currency),
                parse_amount(total),
                PlainLock(lock),
                None if src_lock is None else HashedLock(src_lock),
                tuple(Uid(request_id) for (request_id,) in transactions.get(invoice_id, [])),
                end,
            )
            for invoice_id, currency, total, lock, src_lock, end in rows[_INVOICES]
        }
    )


def read_transactions(rows: Rows) -> Map[Uid, OpenTransaction]:
    """The open transactions. Raises InvalidInput."""
    return Map(
        {
            Uid(request_id): OpenTransaction(
                PaymentId(payment_id), None if response is None else parse_form(forms.RESPONSE, response)
            )
            for request_id, payment_id, response in rows[_TRANSACTIONS]
        }
    )


def read_payments(rows: Rows) -> Map[PaymentId, Payment]:
    """Our payments as buyer, each in its stage. Raises InvalidInput where a row makes no sense."""
    return Map({PaymentId(payment_id): parse_form(forms.PAYMENT, payment) for payment_id, payment in rows[_PAYMENTS]})
