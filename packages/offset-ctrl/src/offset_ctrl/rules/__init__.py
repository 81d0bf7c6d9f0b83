"""
What an app decides, without a connection. Pure.

==============  ==========================================================================================
`changes`       a person's wish as a request, and how its effect shows in the node's report
`refusals`      why a node has not carried a request out
`befriending`   what a new friend still needs, and what is waited for
`open_reports`  the payments and invoices that a node says are open
`capacity`      how much can be received, and how to find out how much can be paid
`shortfall`     why no friend could bring an amount now
`routes`        which routes to pay over, and how much over each
`circles`       payments of a node to itself
`moving`        an account that moves to another key: what is written down of it
`move_steps`    what is to be done next with it
`suspicion`     which hops of routes that have failed are suspected
`entry_words`   an entry of the history, in words
`statement`     accounts in a period
`recovery`      friends again, from a contact list
`findings`      what a look at a node comes to
`friendships`   how it stands with a friend, and what is frozen behind it
`diagnosis`     from facts about a node to findings
`payment`       the life of a payment, as the table of `offset_crypto.payment`
`proofs`        commits and receipts, checked before anybody relies on them
==============  ==========================================================================================

May import: crypto and proto. Used by: `connection`, `sdk`, `programs`.
"""
