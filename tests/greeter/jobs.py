from starlette.datastructures import State


async def greet(state: State, name: str, number: int) -> None:
    await state.mailer.send(f"{name}@example.com", "greeting", name=name, token=number)


JOBS = [greet]
