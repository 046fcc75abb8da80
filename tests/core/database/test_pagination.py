import asyncio
from typing import Self

from pydantic import model_validator

from app.core.database.pagination import PARENTS_AT_ONCE, read_in_turns
from app.core.schemas import Output


async def test_records_with_children_are_read_in_several_turns_of_the_loop() -> None:
    turn, seen = 0, list[int]()

    class Read(Output):
        id: int

        @model_validator(mode="after")
        def note_turn(self) -> Self:
            seen.append(turn)
            return self

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    records = [{"id": n} for n in range(2 * PARENTS_AT_ONCE + 1)]
    reads = await read_in_turns(Read, records)
    counting.cancel()
    assert [each.id for each in reads] == [*range(len(records))]
    assert [seen.count(each) for each in sorted({*seen})] == [PARENTS_AT_ONCE, PARENTS_AT_ONCE, 1]
