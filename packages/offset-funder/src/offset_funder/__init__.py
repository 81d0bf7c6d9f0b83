"""
The credit-pushing engine of Offset: ledgers, token channels, payments. Pure; no I/O at all.

====================================  ==========================================================
`engine`                              `Funder.handle(event) -> Outcome`: start reading here
`events`, `effects`                   all inputs, all outputs
`state`, `mutations`                  frozen state; the only way it changes
`friend_mutations`                    the mutations of one friend
`ledger`, `token_channel`             one currency between two friends; the chain of tokens
`routing`, `buyer`, `seller`          requests on their way; payments; invoices
`payment_proofs`                      commits and receipts
`bookkeeping`                         what changes the balances with friends, as entries of a book
`session`                             the workbench of one event
`control`, `friend_messages`          one handler per kind of event
`sender`                              what goes to each friend at the end of an event
`statements`                          what was said on a link, so that it is not said again
`channel_reset`                       a token channel that broke, and how it starts anew
`unheard`                             friends of a node that has forgotten something
`open_requests`, `relay_lists`        where requests came from; what friends know of our relays
`reports`, `capacities`               what apps and index servers are told
`invariants`                          rules that hold of every state
`testing`                             a network of funders for tests
====================================  ==========================================================
"""

__version__ = "0.2.0"
