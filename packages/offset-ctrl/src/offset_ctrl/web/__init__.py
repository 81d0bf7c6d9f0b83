"""
A web server for nodes, as an app of theirs: a wallet for people, and an API for programs in any language.

==================  ====================================================================================
`service`           the server as a whole: state directory, nodes, what it says when it starts
`listening`         where it listens, and by which names it is known
`accepting`         how it takes connections, and uvicorn's missing limits
`guard`             what holds for every request: names, origins, sizes, times
`application`       the routes of all that
`dispatch`          who may do what; from a request to an operation and back
`operations`        how operations are declared
`openapi`           the document that describes them
`api`               the operations
`wallet`            the pages for the owner of a node
`checkout`          the pages for buyers, one for each invoice
`forms`             what the API says and hears; `form_parts` is what it is made of
`views`             what the SDK knows, in these forms
`problems`          errors as answers
`seats`             of the pages that wait for a payment
`settling`          how invoices come to their ends
`in_hand`           invoices that are being made, collected or cancelled
`desk`              what the server has in its hands
`paying`            payments while the server runs
`deliveries`        commits that the server delivers to sellers
`payment_book`      payments
`webhooks`          sends events to the addresses that want to hear of them
`webhook_book`      these addresses, and the events that are still to be sent
`invoice_forms`     what is said and heard of invoices
`webhook_forms`     what is said and heard of them
`invoice_book`      invoices
`circle_runs`       circles that are paid through the API
`circle_forms`      what is said and heard of them
`spending`          what was paid on which day
`requests`          what payments were for
`purposes`          the same, as notes of the node
`keys`              idempotency keys
`tokens`            who may come in
`grants`            what a token may do
`database`          the file in which all of that is
`bell`              rings when something has changed
`reach`             whether a node can be reached, and since when not
`going_on`          what goes on after a failure
==================  ====================================================================================

Needs the extra ``offset-ctrl[web]``. May import: the SDK and what that may import. Used by: the program stweb, which
imports it when it runs, and nothing else.
"""
