"""
A drill: machines are lost while payments pass, and everything is made good again by the commands of the documentation.

    python -m interop.drill [--original DIR] [--seconds S] [--log FILE] [STORY...]

===========  =======================================================================================
`village`    six nodes with their servers, as the commands set them up that a person uses
`payments`   payments that go on all the time, whatever is lost
`telling`    the log: what was done, how long it took, and the table at the end
`stories`    what is lost, what is done about it, and what must be true in the end
===========  =======================================================================================

A story fails where both sides of a friendship do not say the same in the end, where a balance is not what was accepted
and paid since then, or where no payment passes afterwards. The command then ends with status 1.
"""
