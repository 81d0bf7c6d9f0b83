"""
Friends of a node that has forgotten something: nothing is signed before they have spoken. Pure. Spec 04 §6.3, step 5.

A node that goes on from a backup, or from nothing but its key, does not know which tokens it has signed since then. The
one thing that it must never do is to sign a second successor of a token. It need not know what it signed, only what its
friends have seen, and they tell: whenever a link comes up, a friend that sent the last token repeats it, one that holds
the token sends the next one, even if that is empty, and one whose channel is broken sends its terms (spec 04 §6.5,
§7.3; the original does the same). So each friend begins as *unheard*, and the node keeps silent until it has spoken:

================  ==================================  ================================================================
our channel       what the unheard friend says        what follows
================  ==================================  ================================================================
Incoming at n     n once more                         It has seen no successor of n: heard, and all goes on
Outgoing at n     a valid token built on n            What we forgot ends there, or it would say more: heard
Outgoing at n     the token that n was built on       It has not seen n, which we send again unchanged: heard
Outgoing at n     the terms that n accepts            It has not seen n, which we send again unchanged: heard
either            any other token                     It is ahead: the channel breaks, our terms are sent
either            other terms                         The channel breaks, with its terms at hand: heard
either            nothing for long                    The channel breaks, our terms are sent (`FriendSilent`)
Inconsistent      a token that accepts our terms      The channel starts anew: heard
Inconsistent      its terms                           They are kept for the owner to accept: heard
================  ==================================  ================================================================

Why this is right. A token is signed on a channel that is heard only, so on one that the friend has confirmed on a link
of this life, after all that our earlier life had sent it; links keep their order, and the friend handles what came by
the old link before it speaks on the new one. A successor that was signed and never arrived was seen by nobody; nor was
one that arrived and was lost with the friend's process before it was stored. All of this needs the earlier life to be
over: a machine that goes on with the same key signs, too, and nothing helps then. And it needs friends that tell the
truth. One that says that it has not seen a token, and has, gets another successor; so it can go back to the balance of
the backup, and no further. Nobody who has forgotten can tell that from a token that was lost on the way.

1. *Outgoing* is silent as well, although to repeat a token signs nothing. The friend may have been restored, too, and
   would take our old token for our last one. Two that are both unheard keep silent, until `FriendSilent` breaks the
   channel, and their owners choose.
2. *Terms* are not signed, but a token that accepts them is built on theirs. So terms from before are never used again:
   ours are drawn anew, since the friend may have accepted the old ones, and the friend's are dropped until it repeats
   them, since we may have. It repeats them only while it has not seen that we did.
3. *Counters.* Of two friend tokens the one with the higher counters is the later one. There may have been resets that
   we forgot, so when the terms of a friend come, ours are raised to its inconsistency counter.
4. The mark is part of the friend, and is cleared in the mutations of the event that clears it, so a crash in between
   leaves both or neither.

What else a node signs:

=======================  ================================================================================
key exchange             over a key and a nonce that are drawn for each link
declarations to index    under a session id that is drawn for each link (`offset_index.client`)
servers
responses                for a request in a ledger. One that is asked of us again was never answered as far
                         as the friend knows, or its channel breaks. An invoice that was paid in the
                         forgotten time is open again; its lock is known on the way that was paid, which
                         needs the buyer's lock to be of use. No commit is taken for it before the
                         friends that its parts came from are heard (`seller`)
commits and receipts     not signed by us: both hold the seller's response
=======================  ================================================================================

A *payment* of ours that was open may have been paid since, and its lock be known to those on the way. So it takes no
further transactions (`forgotten`); those that it has end with the channel that they went through.

A node that has forgotten may also have forgotten friends, so whoever is added begins as unheard, for as long as its
database lives. A friend of long ago is thereby as safe as one in the backup. What no node can prevent: a friend that
removed us and added us anew has forgotten all itself, begins at the first token, and sees a second successor of that
one.
"""

from collections.abc import Iterator

from offset_crypto.secure_channel import RandomBytes
from offset_funder.mutations import (
    ForgetSome,
    FriendMutation,
    Mutation,
    SetHeard,
    SetInconsistent,
    UpdatePayment,
)
from offset_funder.session import Session
from offset_funder.state import (
    CanceledPayment,
    FunderState,
    Inconsistent,
    InProgress,
    NewTransactions,
)
from offset_proto.message import replace
from offset_proto.messages.friend import ResetTerms
from offset_proto.types import U64_MAX, PublicKey, Signature, Uid

__all__ = ["forgotten", "hear", "raise_terms"]


def forgotten(state: FunderState, random_bytes: RandomBytes) -> Iterator[Mutation]:
    """
    What turns a state that is old into one from which a node can go on.

    Args:
        state: As it was when the backup was made.
        random_bytes: Source of reset tokens and ids.
    """
    yield ForgetSome()
    for key, friend in state.friends.items():
        yield FriendMutation(key, SetHeard(False))
        if isinstance(friend.channel, Inconsistent):
            old = friend.channel.local_reset_terms
            terms = _anew(old, (old.inconsistency_counter + 1) & U64_MAX, random_bytes)
            channel = Inconsistent(friend.channel.opt_last_incoming_move_token, terms, None)
            yield FriendMutation(key, SetInconsistent(channel))
    for payment_id, payment in state.payments.items():
        match payment.stage:
            case NewTransactions(0):
                stage = CanceledPayment(Uid(random_bytes(Uid.SIZE)))
                yield UpdatePayment(payment_id, replace(payment, stage=stage))
            case NewTransactions(count):
                yield UpdatePayment(payment_id, replace(payment, stage=InProgress(count)))
            case _:
                pass


def _anew(terms: ResetTerms, counter: int, random_bytes: RandomBytes) -> ResetTerms:
    token = Signature(random_bytes(Signature.SIZE))
    return replace(terms, reset_token=token, inconsistency_counter=counter)


def hear(session: Session, sender: PublicKey, said: str) -> None:
    """
    The friend has spoken, and may be spoken to. No effect on one that is heard.

    Args:
        session: The event that brought it.
        sender: The friend.
        said: For the log: what came of it.
    """
    friend = session.friend(sender)
    if friend.is_heard:
        return
    session.mutate_friend(sender, SetHeard(True))
    session.try_send(sender).resend_outgoing = True  # as when the link came up
    session.note(f"friend {friend.name!r} is heard: {said}")


def raise_terms(session: Session, sender: PublicKey, counter: int) -> None:
    """Draw our terms anew where those of a friend, unheard until now, have a higher *counter* than ours."""
    channel = session.friend(sender).channel
    if isinstance(channel, Inconsistent) and channel.local_reset_terms.inconsistency_counter < counter:
        terms = _anew(channel.local_reset_terms, counter, session.surroundings.random_bytes)
        session.mutate_friend(sender, SetInconsistent(replace(channel, local_reset_terms=terms)))
