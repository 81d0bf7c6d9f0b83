"""
What can be given to stctrl: the options of its commands, and nothing else. Spec 09 §5-§9.

=================  ==========================================================
`declaring`        how a command is declared, and what runs it
`options`          options that several commands have
`info`             relays, index servers, friends; tickets and tokens
`config`           relays, index servers, friends and their currencies
`buyer`            payments
`seller`           invoices
`friend`           a friend as a whole
`recovery`         friends again, from a contact list
`doctor`           what is wrong with a node
`accounts`         what changed the balances
`history_options`  its options, which the commands for an archive have, too
=================  ==========================================================

May import: what declares options. What the commands do is in the modules of their names beside this room.
"""
