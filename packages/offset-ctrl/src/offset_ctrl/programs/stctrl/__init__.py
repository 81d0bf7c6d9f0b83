"""
The program stctrl: one module for each group of commands. Spec 09 §5-§9.

================  ========================================================================================
`cli`             the program, and the login that all commands have
`commands`        the options of all commands, and nothing else
`info`            what the node's report says
`capacity`        how much can be paid and received now
`config`          relays, index servers, friends and their currencies
`befriending`     a friend from nothing, by the tickets of both
`friend`          moving the account of a friend to its new key
`buyer`           paying an invoice, and giving that up
`delivering`      handing the commit over to the address that a text names
`circles`         paying oneself, so that debts shrink
`payment_plan`    what paying an invoice would do now
`payment_status`  where a payment stands, and how it ended
`payment_files`   the files of a payment, from which each command goes on
`seller`          invoices
`open_lists`      the payments and invoices that are open
`history`         what changed the balances
`archives`        what was moved out of it, with the node or without it
`income`          fees, earned and paid
`statement`       accounts in a period, as a bank has them
`recover`         friends again, from a contact list
`doctor`          what is wrong, and what to do about it
`database_facts`  what it sees of the database and the clock
`trying`          whether relays and index servers answer, and as which
`waiting`         what is said of a payment that waits
`profile`         which node is meant when the command line does not say
`session`         what all commands share: the connection, the permissions, the names of errors
================  ========================================================================================
"""
