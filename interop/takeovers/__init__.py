"""
A node with a standby, which take over from each other again and again, while payments pass to and from the node.

    python -m interop.takeovers [--count N] [--at-once N] [--seed S]

A is two processes on one database of PostgreSQL, B a friend whose database is a file. Again and again something happens
to the process of A that runs: it is killed, frozen for longer than its lease, or cut off from the database, or the
database is started again. The other one takes over, payments go on, and the old process, when it can speak again, has
to end and to say why. Then it is started as the standby.

A recorder reads along between the friends, so it has each token that either ever saw: none has two successors
(`interop.restores.observe`). In the end both sides have the same balance, it is what the receipts say, nothing is
frozen, and the histories of both add up to it (``stmgr check-db``).

`pair`       the two processes, and what happens to them
`payments`   what is under way meanwhile, and what it comes to
`run`        one after the other, and what has to be so in the end
"""
