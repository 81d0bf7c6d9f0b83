"""
The wallet: the pages of stweb for the owner of a node, who need not know what a token or a channel is.

================  ==================================================================
`visits`          who may see a page or send a form; from a request to a page
`rendering`       templates, and how amounts, times and keys are written
`taking`          what a person pastes: texts and contents of files
`standing`        who owes whom, and what needs attention; pure
`entrance`        logging in and out, what is served to everybody
`home`            the first page
`paying`          paying a request, and how a payment stands
`asking`          asking for a payment, and how an invoice stands
`expecting`       the invoices that wait to be paid, whoever has made them
`friends`         friends, and inviting them
`friendship`      one friend: currencies, limits, disagreements, history
`history`         what changed the balances, with all friends
`statements`      that of a month, account by account
`settings`        relays, index servers, tokens
================  ==================================================================

Pages are rendered here and work without scripts: every form is sent and answered with a page. The script of the pages
shows changes as they happen, copies texts and reads files; nothing depends on it. The templates, the style and the
script are in the folder ``pages``, and no page names another host.

A page asks the operations of the API or the SDK, and never the database of a node. What is sent twice, by a double
click or a page that is loaded again, happens once: each form carries an idempotency key that was made with its page.
"""
