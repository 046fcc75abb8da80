from bench.answers import Answers, require_equal
from bench.contenders import CONTENDERS, running_server
from bench.database import Database
from bench.workloads import PEOPLE
from tests.conftest import only


@only("postgresql")
def test_floors_answer_as_the_project_does(database_url: str) -> None:
    database = Database(database_url)
    people = database.add_people(PEOPLE)
    database.add_items(people, 1, 100 * PEOPLE)
    answers = {}
    for contender in CONTENDERS:
        with running_server(contender, database_url) as server:
            answers[contender.name] = Answers(server, database, people).check()
    assert set(answers) == {"starlette", "fastapi", "project"}
    require_equal(answers)
