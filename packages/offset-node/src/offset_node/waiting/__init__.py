"""
What waits: payments and invoices that are open, since when credits are frozen, when invoices end. Spec 12.

=============  ===========================================================================================
`watch`        what the engine asks of this room
`times`        since when each request has been pending, and which friend's have been so for too long
`ends`         which invoices have come to their end
`payments`     the open payments, as an app that follows them is told
`invoices`     the open invoices, as an app that follows them is told
`unheard`      the friends that have to speak first, as an app that follows them is told
=============  ===========================================================================================

All of it is read from the funder's state. Only the times of what has been pending for long are stored beside it; so a
payment that ends soon, as nearly all do, costs nothing here.

The room may import `offset_node.state`, the funder, and proto. `offset_node.engine` uses `watch`.
"""
