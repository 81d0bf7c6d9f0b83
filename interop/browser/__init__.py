"""
The wallet of stweb in a real browser: two people with two nodes, from their first start to a receipt.

`finding`   where a browser is, or how one is installed
`people`    nodes, their wallets, and what a person does with the pages

`tox -e browser` runs it. Where there is no browser and none can be installed, it says so and skips.
"""
