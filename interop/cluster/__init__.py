"""
A node whose database is on a server of PostgreSQL: what is stored, who may write, and the programs.

`server`   where PostgreSQL is, how it is installed, and a server for tests

`tox -e cluster` runs it. Where there is no PostgreSQL and none can be installed, it says so and skips.
"""
