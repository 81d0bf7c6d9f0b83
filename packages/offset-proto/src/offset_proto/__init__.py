"""
Messages, files and limits of the Offset protocol, without any I/O of its own but files.

=====================  ====================================================================
`messages`             every message, an immutable typed class each
`wire`                 messages to packed Cap'n Proto bytes and back
`canonical`            messages to the bytes that are hashed and signed
`frames`               length frames on a byte stream
`files`, `json_form`   identities, tickets, invoices, receipts as files
`text`, `types`        values and their text forms
`rate`                 fees
`report_view`          a node's report and its mutations
`limits`, `errors`     every constant; every kind of error
=====================  ====================================================================
"""

__version__ = "0.2.0"
