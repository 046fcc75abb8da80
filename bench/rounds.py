"""Runs the rounds. In each round every contender serves every workload."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from rich.progress import Progress

from bench.answers import Answers, require_equal
from bench.contenders import CONTENDERS, Contender, Server, running_server
from bench.database import Database, Person, temporary_database
from bench.errors import BenchError
from bench.load import CONNECTIONS, measure, require_wrk
from bench.machine import describe, packages
from bench.process import resident_mb
from bench.results import ContenderProcess, Result
from bench.workloads import ITEMS, PEOPLE, WORKLOADS, Workload

STARTS = 3


def run(
    server_url: str, rounds: int, seconds: int, workloads: Sequence[Workload], progress: Progress
) -> Result:
    require_wrk()
    with temporary_database(server_url) as database, ExitStack() as stack:
        task = progress.add_task(
            "starts and answers", total=rounds * len(workloads) * len(CONTENDERS)
        )
        people = database.add_people(PEOPLE)
        database.add_items(people, 1, ITEMS)
        processes = {each.name: _measure_start(each, database) for each in CONTENDERS}
        servers = [stack.enter_context(running_server(each, database.url)) for each in CONTENDERS]
        _check_answers(servers, database, people)
        result = Result(
            machine=describe(database),
            packages=packages(),
            settings={"rounds": rounds, "seconds": seconds, "connections": CONNECTIONS},
            contenders=processes,
            workloads={each.name: {c.name: [] for c in CONTENDERS} for each in workloads},
        )
        _record_memory(servers, result)
        for number in range(rounds):
            for workload, server in _turns(workloads, servers, number):
                description = f"round {number + 1}, {workload.name}, {server.contender.title}"
                progress.update(task, description=description)
                _measure(workload, server, database, people, seconds, result)
                progress.advance(task)
            _record_memory(servers, result)
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
    if workload.written:  # every contender starts with the same table
        database.execute("DELETE FROM items WHERE id > $1", ITEMS)
        database.vacuum()


def _turns(
    workloads: Sequence[Workload], servers: list[Server], number: int
) -> Iterator[tuple[Workload, Server]]:
    """Yield the workloads and servers. Each round starts with another contender."""
    first = number % len(servers)
    for workload in workloads:
        for server in servers[first:] + servers[:first]:
            yield workload, server


def _measure_start(contender: Contender, database: Database) -> ContenderProcess:
    """Measure the start. The first one is not counted, since it reads files from the disk."""
    seconds = []
    for _ in range(STARTS + 1):
        with running_server(contender, database.url) as server:
            seconds.append(server.start_seconds)
    return ContenderProcess(title=contender.title, start_seconds=seconds[1:], resident_mb=[])


def _check_answers(servers: list[Server], database: Database, people: list[Person]) -> None:
    answers = {each.contender.title: Answers(each, database, people).check() for each in servers}
    require_equal(answers)


def _record_memory(servers: list[Server], result: Result) -> None:
    for server in servers:
        result.contenders[server.contender.name].resident_mb.append(resident_mb(server.pid))


def select_workloads(names: Sequence[str]) -> list[Workload]:
    by_name = {each.name: each for each in WORKLOADS}
    if unknown := set(names) - set(by_name):
        raise BenchError(
            f"Unknown workload: {', '.join(sorted(unknown))}. Choose from {', '.join(by_name)}."
        )
    return [by_name[name] for name in names or by_name]
