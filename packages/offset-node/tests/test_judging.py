"""Messages that plugins judge: in the order of each connection, without holding up others."""

import asyncio

from offset_node.pauses import ReadingPauses
from offset_node.plugins.judging import JudgedMessages


class Connection:
    """What can be paused."""

    is_closed = False
    is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Judge:
    """Judges a message when the test says so; messages named "last" are the last of use."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Future[None]] = {}
        self.judged: list[str] = []

    async def __call__(self, message: str) -> bool:
        self.open[message] = asyncio.get_running_loop().create_future()
        await self.open[message]
        self.judged.append(message)
        return message != "last"

    async def decide(self, message: str) -> None:
        self.open.pop(message).set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_order_and_pauses():
    """Messages of one connection wait for each other; another connection is judged at the same time."""

    async def body() -> None:
        judge = Judge()
        judged = JudgedMessages[str](ReadingPauses(), judge)
        one, other = Connection(), Connection()
        async with asyncio.TaskGroup() as tasks:
            for message in ("a1", "a2", "a3"):
                judged.put(one, message, tasks.create_task)
            judged.put(other, "b1", tasks.create_task)
            await asyncio.sleep(0)
            assert set(judge.open) == {"a1", "b1"}
            assert one in judged
            assert one.is_paused
            assert other.is_paused
            await judge.decide("b1")
            assert other not in judged
            assert not other.is_paused
            assert one.is_paused
            await judge.decide("a1")
            await judge.decide("a2")
            judged.put(one, "a4", tasks.create_task)
            await judge.decide("a3")
            await judge.decide("a4")
            assert judge.judged == ["b1", "a1", "a2", "a3", "a4"]
            assert one not in judged
            assert not one.is_paused

    asyncio.run(body())


def test_what_waits_on_a_connection_of_no_use_is_dropped():
    """The other side repeats it, or is gone."""

    async def body() -> None:
        judge = Judge()
        judged = JudgedMessages[str](ReadingPauses(), judge)
        connection = Connection()
        async with asyncio.TaskGroup() as tasks:
            for message in ("last", "lost"):
                judged.put(connection, message, tasks.create_task)
            await asyncio.sleep(0)
            await judge.decide("last")
            assert judge.judged == ["last"]
            assert connection not in judged
            assert not connection.is_paused
            judged.put(connection, "new", tasks.create_task)
            await asyncio.sleep(0)
            await judge.decide("new")
        assert judge.judged == ["last", "new"]

    asyncio.run(body())
