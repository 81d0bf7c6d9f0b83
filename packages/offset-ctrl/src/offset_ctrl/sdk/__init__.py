"""
The SDK: what an app author imports, by way of `offset_ctrl`.

===============  ============================================================================================
`node`           `connect`, and the verbs of an app on one class; those about circles and moves
`view`           verbs: what the node says
`configuration`  verbs: relays, index servers, friends and their currencies
`trade`          verbs: routes, selling, buying
`errors`         what the verbs raise
`failures`       why a payment failed
`reasons`        how that is found out
`payment`        one payment from routes to receipt
`capacity`       how much can be paid and received now
`circles`        payments of a node to itself, which make its debts smaller
`circle_search`  which of them an index server knows
`moving`         an account that moves to another key
`move_files`     what is written down of that
`planning`       what a payment would do now
`search`         where the parts of a payment go
`parts`          what was sent, and what became of it
`delivery`       a commit, delivered to the address that a payment request names
`collecting`     a commit or a cancellation that is handed to the node, and what came of it
`commits`        what the invoices of a seller were paid with, and who waits for that
`history`        what changed the balances, entry by entry
`whole_history`  the same, with archives of what was moved out of the node
`statement`      what came of that in a period, account by account
`statement_pdf`  the same on paper
`journal`        payments on disk, so that they survive the app
`blocking`       the same for scripts without an event loop; its public name is `offset_ctrl.blocking`
===============  ============================================================================================

May import: `offset_ctrl.rules`, `offset_ctrl.connection`, crypto and proto. Used by: apps, and `programs`.
"""
