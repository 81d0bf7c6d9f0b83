"""
Endurance: many payments through nodes of both implementations, while links are cut and nodes of ours are killed.

    python -m interop.endurance --payments 10000 --at-once 20 --cut-every 5 --kill-every 60 -o endurance.md

The payments go along a chain of three nodes, once original - ours - original and once ours - original - ours. Meanwhile
connections of the relays are cut at random, and nodes of ours are killed with -9 and started again, until the last
payment has begun. The original stops for good under load. So when nothing has been paid for ``--stall-seconds``, the
nodes of the original that do not answer their app are stopped and started again, or all of them where all answer; the
table counts how often that was needed.

At the end nothing may be frozen, each balance has to be the negation of the one at the other side, and the balances
have to be what the receipts say. What is still frozen then is told apart: it was released by starting the original
again, or by starting ours again, which is a fault of ours, or it stays frozen.

* `plan`: what is to happen, and what came of it.
* `chain`: the network, and connections to its nodes.
* `disturbed`: payments under way, while links are cut, nodes are killed, and the original is watched.
* `accounts`: whether all credits are exact at the end.
* `table`: what is printed.
"""
