"""How long a request waits for what it asks about."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta

from offset_ctrl.web.desk import Desk

__all__ = ["WaitSeconds", "wait_until"]

WAIT_SECONDS_MAX: Final = 60

WaitSeconds = Annotated[
    float, Meta(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for it, before the answer says how it is now.")
]


async def wait_until(
    desk: Desk, seconds: float, is_so: Callable[[], bool], gives_up: asyncio.Event | None = None
) -> None:
    """Return when it is so, or after *seconds*, or when the server ends or *gives_up*; looked at at each ring."""
    if seconds <= 0 or is_so():
        return
    ends = [event for event in (desk.closing, gives_up) if event is not None]
    ending = [asyncio.create_task(event.wait()) for event in ends]
    try:
        async with asyncio.timeout(seconds):
            while not any(event.is_set() for event in ends):
                rung = desk.bell.listen()
                if is_so():
                    return
                ringing = asyncio.create_task(rung.wait())
                try:
                    await asyncio.wait({ringing, *ending}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    ringing.cancel()
    except TimeoutError:
        return
    finally:
        for task in ending:
            task.cancel()
