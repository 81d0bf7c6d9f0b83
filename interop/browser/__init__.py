"""
The wallet of stweb in a real browser: two people with two nodes, from their first start to a receipt and a statement; a
buyer at the page of an invoice; and a phone with a camera, without its server, and without its node.

`finding`   where a browser is, or how one is installed
`people`    nodes, their wallets, and what a person does with the pages

`tox -e browser` runs it. Where there is no browser and none can be installed, it says so and skips; but for root on
Debian, who can install one: there it fails.
"""
