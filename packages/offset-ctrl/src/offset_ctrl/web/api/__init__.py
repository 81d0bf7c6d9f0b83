"""
The operations of the API, by what they are about.

================  ==============================================================
`nodes`           the report of a node, capacities and routes
`configuration`   friends, currencies, relays and index servers
`selling`         invoices, and the commits that collect them
`buying`          payments and receipts
`delivering`      commits that buyers' programs deliver, without a token
`circles`         payments of the node to itself
`history`         what changed the balances
`webhooks`        addresses that hear of events
`events`          what has changed, as it changes
`names`           how paths name friends and servers
`waiting`         how long a request waits for what it asks about
================  ==============================================================
"""
