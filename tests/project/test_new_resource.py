import ast
import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from uvicorn import Config
from uvicorn.supervisors import ChangeReload

from app.core.database.unit_of_work import Database
from app.project import generation
from app.project.migration import LOCKED, exclusive_migrations, require_one_head
from app.project.names import endpoints_of
from app.project.resource import Resource
from tests.conftest import make_settings
from tests.databases import ROOT
from tests.isolation import DEADLINE_SECONDS
from tests.project.conftest import PROGRAMS, Command, commit, git, run
from tests.project.generated import generate
from tests.slices import needs
from tests.waiting import eventually

NEW = ("new", "resource", "gadget", "name:str(20) unique", "price:money")
ITEM = ("name:str(255)", "description:text?", "price:money", "is_offer:bool=false")
EXAMPLE = re.compile(r"Field\(examples=\[[^\]]*\]\)")
OFFER_OPTIONS = (
    '      {% for value, label in (("", _("All")), ("true", _("On offer")),'
    ' ("false", _("Not on offer"))) %}'
)
BADGE = (
    "            {{% if item.is_offer %}}"
    '<span class="badge good">{{{{ _("{}") }}}}</span>'
    "{{% endif %}}"
)
CHIP = (
    '    ("is_offer", _("{}"), {{"true": _("{}"), "false": _("{}")}}'
    '.get(form.get("is_offer"), form.get("is_offer"))),'
)
# The only lines of the example that are not generated for a resource with its fields.
EXAMPLE_LINES = {
    "admin.py": [
        "from typing import ClassVar",
        '    labels: ClassVar = {"is_offer": "On offer"}',
    ],
    "models.py": [
        '    """An item for sale. Replace it with a resource of your own."""',
        "        # PostgreSQL also has trigram indexes for searches, which the migration creates.",
    ],
    "pages.py": ['LINKS = [Link(mark("Items"), "/items", "members", order=1)]'],
    "templates/conflict.html": [
        '        <dt>{{ _("On offer") }} {{ differs(differing, "is_offer") }}</dt>'
    ],
    "templates/fields.html": ['{{ checkbox(form, "is_offer", _("On offer")) }}'],
    "templates/list.html": [
        '    <label for="is_offer">{{ _("Offers") }}</label>',
        OFFER_OPTIONS,
        CHIP.format("Offers", "On offer", "Not on offer"),
        BADGE.format("On offer"),
    ],
}
# The only lines that are generated and not in the example.
GENERATED_LINES = {
    "pages.py": ['LINKS = [Link(mark("Items"), "/items", "members", order=3)]'],
    "templates/conflict.html": [
        '        <dt>{{ _("Offer") }} {{ differs(differing, "is_offer") }}</dt>'
    ],
    "templates/fields.html": ['{{ checkbox(form, "is_offer", _("Offer")) }}'],
    "templates/list.html": [
        '    <label for="is_offer">{{ _("Offer") }}</label>',
        '      {% for value, label in (("", _("All")), ("true", _("Yes")), ("false", _("No"))) %}',
        CHIP.format("Offer", "Yes", "No"),
        BADGE.format("Offer"),
    ],
}
WITH_CHILDREN = (
    "number:str(20) unique",
    "due:date?",
    "status:enum(draft,sent,paid)=draft",
    "customer:ref(users)",
    "item:ref(items)?",
    "lines:many(item:ref(items), quantity:int>=1, price:money, position:int unique)",
    "stops:many(place:text, order:ref(orders)? unique, helper:ref(users)?, data:json?)",
    "marks:many(note:str(20)?, kind:enum(a,b)=a, is_free:bool=false, at:datetime?, weight:float=1)",
)
ONLY_CHILDREN = ("lines:many(item:ref(items), quantity:int>=1, price:money, position:int unique)",)
CHILD_REFERENCE = re.compile(r"\w+:ref\(\w+\)[^,]*, ")
# Names that other parts of a list, a form or a query have, too, and that do no harm.
COMMON_NAMES = (
    "name:str(20)", "user:ref(users)", "after:ref(users)?", "now:bool=false", "expected_0:int?",
    "count:int", "content:text", "action:enum(buy,sell)", "method:enum(card,bank)=card",
    "format:str(9)?", "sort:str(9)?", "page:str(9)?", "search:str(9)?", "q:text?", "type:str(9)",
    "data:json?", "items:json?", "results:str(9)?", "next:str(9)?", "total:money", "status:str(9)?",
    "form:str(9)?", "request:str(9)?", "principal:str(9)?", "choices:str(9)?", "path:str(9)?",
    "value:float?", "position:int?", "number:int?", "label:str(9)?",
)  # fmt: skip
EVERY_TYPE = (
    "title:str(40) unique",
    "code:str(3)?",
    "notes:text(100)?",
    "label:str(20)='a b'",
    "count:int>=1<=10",
    "rank:int unique",
    "big:bigint=5",
    "total:money",
    "fee:money>=-100<=100=2.5",
    "weight:float?",
    "ratio:float>=0=0.5",
    "is_open:bool",
    "is_late:bool?",
    "is_done:bool=false",
    "is_on:bool=true",
    "due:date",
    "start:datetime?",
    "seen:datetime=2026-01-01T00:00:00",
    "token:uuid index",
    "extra:json?",
    "data:json",
    "status:enum(draft,sent)=draft",
    "kind:enum(a,b)",
    "level:enum(low,high)?",
    "customer:ref(users)",
    "order:ref(orders)",
    "item:ref(items)?",
    "helper:ref(users)? unique",
)


def lines_of(file: Path) -> list[str]:
    """Return the lines of a file; the examples of values in a schema do not matter."""
    text = EXAMPLE.sub("Field(...)", file.read_text())
    return re.sub(r"Annotated\[\s+(.*)\s+\]\n", r"Annotated[\1]\n", text).splitlines()


@pytest.fixture(scope="module")
def generated_items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate(folder, "item", ITEM)
    return folder / "app/features/items"


def files_of(folder: Path) -> dict[str, list[str]]:
    """Return the lines of the files of a slice."""
    files = [*folder.rglob("*.py"), *folder.rglob("*.html")]
    return {str(file.relative_to(folder)): lines_of(file) for file in files}


def lines_only_in(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, list[str]]:
    found = {path: [line for line in one[path] if line not in other[path]] for path in one}
    return {path: lines for path, lines in found.items() if lines}


@needs("items", "admin.py", "items/live.py")
def test_generated_slice_is_the_example(generated_items: Path) -> None:
    """The example and the templates cannot drift apart."""
    example, generated = files_of(ROOT / "app/features/items"), files_of(generated_items)
    del example["cli.py"]  # It creates sample items.
    assert example.keys() == generated.keys()
    assert lines_only_in(example, generated) == EXAMPLE_LINES
    assert lines_only_in(generated, example) == GENERATED_LINES


@pytest.mark.parametrize(
    ("name", "fields"), [("specimen", EVERY_TYPE), ("purchase_plan", WITH_CHILDREN)]
)
def test_generated_code_has_no_unknown_name_and_no_unused_import(
    tmp_path: Path, name: str, fields: tuple[str, ...]
) -> None:
    fields = tuple(CHILD_REFERENCE.sub("", field) for field in fields)
    generate(tmp_path, name, [field for field in fields if "ref(" not in field])
    assert len([*tmp_path.rglob("*.py")]) > 10
    subprocess.run([PROGRAMS / "ruff", "check", "--isolated", "--select=F", tmp_path], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gadget"], "Name at least one field"),
        (["gadget", "a:strr"], "There is no type 'strr'"),
        (["Gadget", "a:str"], "'Gadget' cannot be a name"),
        (["class", "a:str"], "'class' is a keyword of Python"),
        (["filter", "a:str"], "'filter' is taken: Python has"),
        (["value", "a:str"], "'values' is a keyword of SQL"),
        (["user", "a:str"], "'users' is taken: there is a table"),
        (["account", "a:str"], "'accounts' is taken: there is a slice"),
        (["problem", "a:str"], "'problems' is taken: the application has a page /problems"),
        (["input", "a:str"], "'input' is taken"),
        (["sheep", "a:str", "--plural", "sheep"], "'sheep' has no plural of its own"),
        (["x" * 20, "a:str"], "is too long: use up to 20 characters"),
        (["event", "a:str"], "'event' is taken: generated code has a variable of this name"),
        (["gadget", "id:int"], "'id' cannot be a field: every resource has it already"),
        (["gadget", "owner_id:int"], "every resource has it already"),
        (["gadget", "owner:ref(users)"], "every resource has it already"),
        (["gadget", "version:int"], "every resource has it already"),
        (["gadget", "created_at:datetime"], "every resource has it already"),
        (["gadget", "import:str"], "it is a keyword of Python"),
        (["gadget", "order:int"], "it is a keyword of SQL"),
        (["gadget", "date:date"], "it is the name of a type"),
        (["gadget", "xmin:int"], "every table of PostgreSQL has it already"),
        (["gadget", "lateral:int"], "it is a keyword of SQL"),
        (["gadget", "sort:enum(a,b)"], "lists have a parameter 'sort' already"),
        (["gadget", "format:enum(a,b)"], "lists have a parameter 'format' already"),
        (["gadget", "total_limit:bool"], "lists have a parameter 'total_limit' already"),
        (["gadget", "page:int"], "lists have a parameter 'page' already"),
        (["gadget", "save:bool"], "forms and lists use this name themselves"),
        (["gadget", "elements:str"], "forms and lists use this name themselves"),
        (["picture", "a:str"], "'picture' is taken: the application has an endpoint"),
        (["page", "a:str"], "'page' is taken: generated code has a variable of this name"),
        (["gadget", "loops:many(a:int)"], "'loops' is taken: templates have a variable 'loop'"),
        (["gadget", "json:json"], "models and schemas use this name themselves"),
        (["gadget", "metadata:json"], "models and schemas use this name themselves"),
        (["gadget", "once:str"], "forms and lists use this name themselves"),
        (["gadget", "a:str", "a:int"], "The field 'a' is listed twice"),
        (["gadget", "a:ref(nothing)"], "there is no table 'nothing' to refer to"),
        (["gadget", "a:ref(auth_sessions)"], "there is no table 'auth_sessions' to refer to"),
        (["gadget", "a:many(b:ref(nothing))"], "b: there is no table 'nothing' to refer to"),
        (["gadget", "a:many(b:int, row_order:int)"], "every resource has it already"),
        (["abcdefghijklmnopq", "a:many(abcdefghijklmnopqrst:int unique)"], "of a constraint has"),
        (
            ["gadget", "line_item:ref(users)", "lines:many(item:ref(users))"],
            "the name 'line_items'",
        ),
        (["gadget", "lines_item:ref(users)", "lines:many(item:ref(users))"], "'lines_item_id'"),
        (["gadget", "a:int", "a_op:enum(x,y)"], "lists have a parameter 'a_op' already"),
        (["gadget", "a:int", "b:many(id:int)"], "every resource has it already"),
        (["abcdefghijklmnop", "abcdefghijklmnopqrstuvwxy:str"], "characters together"),
    ],
)
def test_impossible_resource_is_refused_and_nothing_is_written(
    tmp_path: Path, command: Command, arguments: list[str], message: str
) -> None:
    result = command(tmp_path, "new", "resource", *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert result.output.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


def test_taken_folder_is_refused(repository: Path, command: Command) -> None:
    (repository / "tests/features/gadgets").mkdir()
    result = command(repository, *NEW)
    assert (result.exit_code, result.output) == (
        1,
        "'gadgets' is taken: there is a folder tests/features/gadgets.\n",
    )


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (("line_quantity:int", "lines:many(quantity:int)"), "LineQuantity"),
        (("text:enum(a,b)", "note:text"), "Text"),
    ],
)
def test_name_with_two_meanings_is_refused(
    repository: Path, command: Command, fields: tuple[str, ...], name: str
) -> None:
    result = command(repository, "new", "resource", "gadget", *fields)
    assert result.exit_code == 1
    assert result.output.startswith(f"The name {name!r} would have two meanings in app/features/")
    assert git(repository, "status", "--porcelain") == ""


@needs("pages.py")
@pytest.mark.parametrize("name", ["status", "notice", "theme", "link"])
def test_name_of_a_variable_of_the_pages_is_refused(
    repository: Path, command: Command, name: str
) -> None:
    result = command(repository, "new", "resource", name, "a:str")
    assert (result.exit_code, result.output) == (
        1,
        f"{name!r} is taken: generated code has a variable of this name.\n",
    )
    assert git(repository, "status", "--porcelain") == ""


def test_endpoints_of_a_resource_are_those_that_are_refused(generated_items: Path) -> None:
    files = [generated_items / f"{name}.py" for name in ("router", "pages", "live")]
    functions = [each for file in files for each in ast.parse(file.read_text()).body]
    names = {
        each.name
        for each in functions
        if isinstance(each, ast.AsyncFunctionDef) and each.decorator_list
    }
    bulk = {"show_delete_items", "delete_items"}
    assert endpoints_of(Resource("item", [], {})) == names | bulk


# The commands that write a migration.
WRITING = [NEW, pytest.param(("remove", "orders", "--yes"), marks=needs("orders"))]


def add_migration(repository: Path, revision: str) -> None:
    """Add a migration that follows the newest one of the template."""
    scripts = ScriptDirectory.from_config(AlembicConfig(toml_file=ROOT / "pyproject.toml"))
    text = f'revision, down_revision = "{revision}", "{scripts.get_current_head()}"\n'
    text += "def upgrade(): ...\ndef downgrade(): ...\n"
    (repository / f"alembic/versions/{revision}.py").write_text(text)


@pytest.mark.parametrize("arguments", WRITING)
def test_two_newest_migrations_are_refused_until_they_are_joined(
    repository: Path, command: Command, arguments: tuple[str, ...]
) -> None:
    add_migration(repository, "ours")
    add_migration(repository, "theirs")
    commit(repository)
    result = command(repository, *arguments)
    assert result.exit_code == 1
    assert result.output.startswith("The migrations ours and theirs are both the newest")
    assert result.output.count("\n") == 1
    assert git(repository, "status", "--porcelain") == ""
    join = shlex.split(result.output.partition(": ")[2])
    run(repository, join[0].removeprefix(".venv/bin/"), *join[1:])
    require_one_head(repository)


@pytest.mark.parametrize("arguments", WRITING)
def test_second_run_at_the_same_time_is_refused(
    repository: Path, command: Command, arguments: tuple[str, ...]
) -> None:
    with exclusive_migrations(repository):
        result = command(repository, *arguments)
    assert (result.exit_code, result.output) == (1, f"{LOCKED}\n")
    assert git(repository, "status", "--porcelain") == ""


def test_lock_of_a_killed_run_is_released(repository: Path) -> None:
    script = (
        "from pathlib import Path\nfrom app.project.migration import exclusive_migrations\n"
        "with exclusive_migrations(Path()):\n    print('locked', flush=True)\n    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=repository,
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(SystemExit, match="Another run"), exclusive_migrations(repository):
            pass
        process.kill()
    with exclusive_migrations(repository):
        pass


@pytest.mark.slow("it runs all migrations")
def test_dry_run_prints_everything_and_writes_nothing(repository: Path) -> None:
    output = run(repository, "app", *NEW, "--dry-run")
    assert "would create app/features/gadgets/models.py\n" in output
    assert 'op.create_table(\n        "gadgets",' in output
    assert git(repository, "status", "--porcelain") == ""


@pytest.mark.parametrize("last", ["app/features/gadgets", "tests/features/gadgets", "alembic"])
@pytest.mark.slow("it runs all migrations")
def test_interrupted_run_leaves_nothing(
    repository: Path, command: Command, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """It is interrupted after each of the moves in turn."""
    rename = Path.rename

    def interrupt(path: Path, target: Path) -> Any:
        rename(path, target)
        if str(target).startswith(str(repository / last)):
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupt)
    result = command(repository, *NEW)
    assert result.exit_code != 0
    assert git(repository, "status", "--porcelain") == ""
    assert [*(repository / "data").iterdir()] == []


@pytest.mark.slow("it runs all migrations")
def test_terminated_run_leaves_nothing(repository: Path) -> None:
    process = subprocess.Popen(
        [PROGRAMS / "app", *NEW],
        cwd=repository,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(repository)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: any(repository.glob("data/*/app/features/gadgets/models.py")))
    process.terminate()
    assert process.wait(DEADLINE_SECONDS) != 0
    assert git(repository, "status", "--porcelain") == ""
    assert [*(repository / "data").iterdir()] == []


@pytest.mark.slow("it runs all migrations")
def test_server_that_reloads_notices_a_new_resource(repository: Path) -> None:
    config = Config("app.main:app", reload=True, reload_dirs=[str(repository / "app")])
    reloader = ChangeReload(config, target=lambda *_: None, sockets=[])
    assert reloader.should_restart() is None  # It watches from now on.
    run(repository, "app", *NEW)
    eventually(reloader.should_restart)
    assert git(repository, "diff", "--name-only") == ""


def test_error_of_the_migration_leaves_nothing(
    repository: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(generation, "write_migration", fail)
    assert command(repository, *NEW).exit_code != 0
    assert git(repository, "status", "--porcelain") == ""
    assert [*(repository / "data").iterdir()] == []


def check_generated(repository: Path, names: str) -> None:
    """Check the style, types, contracts, migration and tests of a generated resource."""
    folders = f"app/features/{names}", f"tests/features/{names}"
    run(repository, "ruff", "format", "--check", *folders, "alembic")
    run(repository, "ruff", "check", *folders, "alembic")
    run(repository, "mypy", *folders)
    run(repository, "lint-imports")
    run(repository, "app", "db", "check")
    url = f"sqlite+aiosqlite:///{repository}/data/check.db"
    for step in (("upgrade", "head"), ("downgrade", "-1"), ("upgrade", "head")):
        run(repository, "alembic", *step, DATABASE_URL=url)
    tested = f"tests/features/{names}", "tests/test_translations.py"
    run(repository, "pytest", "-q", "-n0", *tested)


def index_of(reflected: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reflected index, with the conditions of partial ones as texts."""
    options = {name: str(value) for name, value in reflected.get("dialect_options", {}).items()}
    return {**reflected, "dialect_options": options}


def read_tables(connection: Connection) -> dict[str, Any]:
    """Return the columns, constraints and indexes of each table."""
    inspector = inspect(connection)
    return {
        table: (
            [
                (each["name"], str(each["type"]), each["nullable"])
                for each in inspector.get_columns(table)
            ],
            sorted(inspector.get_foreign_keys(table), key=str),
            sorted(map(index_of, inspector.get_indexes(table)), key=str),
            sorted(inspector.get_unique_constraints(table), key=str),
            sorted(inspector.get_check_constraints(table), key=str),
        )
        for table in sorted(inspector.get_table_names())
    }


def tables_of(database_url: str) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        database = Database(make_settings(database_url))
        async with database.engine.connect() as connection:
            found = await connection.run_sync(read_tables)
        await database.dispose()
        return found

    return asyncio.run(read())


def files_outside(repository: Path, names: str) -> list[str]:
    """Return the new files that are neither the resource's own nor its migration."""
    own = (f"app/features/{names}/", f"tests/features/{names}/", "alembic/versions/")
    lines = git(repository, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert all(line.startswith("?? ") for line in lines)
    return [line for line in lines if not line[3:].startswith(own)]


@needs("items", "orders")
@pytest.mark.slow("it runs all migrations")
@pytest.mark.parametrize(
    ("name", "arguments", "tables"),
    [
        ("specimen", EVERY_TYPE, ["specimens"]),
        (
            "purchase_plan",
            WITH_CHILDREN,
            [f"purchase_plan{end}" for end in ("_lines", "_marks", "_stops", "s")],
        ),
        ("person", ("age:int?", "--plural", "people"), ["people"]),
    ],
)
def test_removed_resource_leaves_its_migrations_only(
    repository: Path,
    empty_database_url: str,
    name: str,
    arguments: tuple[str, ...],
    tables: list[str],
) -> None:
    before = git(repository, "rev-parse", "HEAD").strip()
    run(repository, "app", "new", "resource", name, *arguments)
    commit(repository)
    run(repository, "alembic", "upgrade", "head", DATABASE_URL=empty_database_url)
    with_tables = tables_of(empty_database_url)
    run(repository, "app", "remove", "resource", name)
    commit(repository)
    changed = git(repository, "diff", "--name-only", before).splitlines()
    assert len(changed) == 2
    assert all(path.startswith("alembic/versions/") for path in changed)
    run(repository, "app", "db", "check")
    run(repository, "alembic", "upgrade", "head", DATABASE_URL=empty_database_url)
    assert sorted(with_tables.keys() - tables_of(empty_database_url).keys()) == tables
    run(repository, "alembic", "downgrade", "-1", DATABASE_URL=empty_database_url)
    assert tables_of(empty_database_url) == with_tables


@needs("items", "orders", "admin.py")
@pytest.mark.slow("it type-checks and tests a generated resource")
@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        ("specimens", ("specimen", *EVERY_TYPE)),
        ("purchase_plans", ("purchase_plan", *WITH_CHILDREN)),
        ("invoices", ("invoice", *ONLY_CHILDREN)),
        ("samples", ("sample", *COMMON_NAMES)),
        ("gadgets", (*NEW[2:], "--no-pages", "--no-admin")),
        ("people", ("person", "age:int?", "--plural", "people")),
    ],
)
def test_generated_resource_passes_every_check(
    repository: Path, names: str, arguments: tuple[str, ...]
) -> None:
    run(repository, "app", "new", "resource", *arguments)
    assert files_outside(repository, names) == []
    check_generated(repository, names)
    commit(repository)
