"""The rounds: each workload by each contender in turn, again and again."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from rich.progress import Progress

from bench.answers import Answers, require_equal
from bench.contenders import CONTENDERS, Contender, Server, serving
from bench.database import Database, Person, made
from bench.errors import BenchError
from bench.load import CONNECTIONS, measure, require_wrk
from bench.machine import describe, packages
from bench.process import resident_mb
from bench.results import Life, Result
from bench.workloads import ITEMS, PEOPLE, WORKLOADS, Workload

STARTS = 3


def run(
    server_url: str, rounds: int, seconds: int, workloads: Sequence[Workload], progress: Progress
) -> Result:
    require_wrk()
    with made(server_url) as database, ExitStack() as stack:
        task = progress.add_task(
            "starts and answers", total=rounds * len(workloads) * len(CONTENDERS)
        )
        people = database.add_people(PEOPLE)
        database.add_items(people, 1, ITEMS)
        lives = {each.name: _start_some_times(each, database) for each in CONTENDERS}
        servers = [stack.enter_context(serving(each, database.url)) for each in CONTENDERS]
        _check_answers(servers, database, people)
        result = Result(
            machine=describe(database),
            packages=packages(),
            settings={"rounds": rounds, "seconds": seconds, "connections": CONNECTIONS},
            contenders=lives,
            workloads={each.name: {c.name: [] for c in CONTENDERS} for each in workloads},
        )
        _note_memory(servers, result)
        for number in range(rounds):
            for workload, server in _turns(workloads, servers, number):
                what = f"round {number + 1}, {workload.name}, {server.contender.title}"
                progress.update(task, description=what)
                _measure(workload, server, database, people, seconds, result)
                progress.advance(task)
            _note_memory(servers, result)
    return result


def _measure(
    workload: Workload,
    server: Server,
    database: Database,
    people: list[Person],
    seconds: int,
    result: Result,
) -> None:
    found = measure(server, database, workload.requests(people), seconds, workload.written)
    result.workloads[workload.name][server.contender.name].append(found)
    result.contenders[server.contender.name].requests += found.requests
    if workload.written:  # the next contender finds the table as this one did
        database.execute("DELETE FROM items WHERE id > $1", ITEMS)
        database.tidy()


def _turns(
    workloads: Sequence[Workload], servers: list[Server], number: int
) -> Iterator[tuple[Workload, Server]]:
    """In each round another contender is the first."""
    first = number % len(servers)
    for workload in workloads:
        for server in servers[first:] + servers[:first]:
            yield workload, server


def _start_some_times(contender: Contender, database: Database) -> Life:
    """The first start reads files that later ones find in memory; it does not count."""
    seconds = []
    for _ in range(STARTS + 1):
        with serving(contender, database.url) as server:
            seconds.append(server.start_seconds)
    return Life(title=contender.title, start_seconds=seconds[1:], resident_mb=[])


def _check_answers(servers: list[Server], database: Database, people: list[Person]) -> None:
    answers = {each.contender.title: Answers(each, database, people).check() for each in servers}
    require_equal(answers)


def _note_memory(servers: list[Server], result: Result) -> None:
    for server in servers:
        result.contenders[server.contender.name].resident_mb.append(resident_mb(server.pid))


def chosen(names: Sequence[str]) -> list[Workload]:
    by_name = {each.name: each for each in WORKLOADS}
    if unknown := set(names) - set(by_name):
        raise BenchError(f"No such workload: {', '.join(sorted(unknown))}. There are {[*by_name]}.")
    return [by_name[name] for name in names or by_name]
