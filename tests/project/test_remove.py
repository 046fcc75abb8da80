import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.project.history import delete_migrations
from app.project.mentions import dead_paths
from app.project.parts import features, features_of_resources, parts, patterns_of, removed_with
from tests.conftest import only
from tests.databases import ROOT, alembic, connect
from tests.project.conftest import Command, commit, git, run
from tests.slices import needs


@needs("items", "orders", "lab", "pages.py", "frontend.py")
@pytest.mark.parametrize("part", parts(ROOT))
def test_patterns_of_a_part_find_files(part: str) -> None:
    assert [each for each in patterns_of(part, ROOT) if not [*ROOT.glob(each)]] == []


@needs("items", "orders", "lab")
def test_removed_part_includes_the_features_that_need_it() -> None:
    folders = {path for path in patterns_of("items", ROOT) if path.startswith("app/")}
    assert {"app/features/items", "app/features/orders"} <= folders
    assert "app/features/items" not in patterns_of("orders", ROOT)


@needs("items", "orders")
@pytest.mark.parametrize(("name", "feature"), [("item", "items"), ("order", "orders")])
def test_resource_is_found_by_its_singular(name: str, feature: str) -> None:
    assert features_of_resources([name], ROOT) == [feature]


@pytest.mark.parametrize("names", [[], ["nothing"], ["items"], ["order_line"]])
def test_unknown_resource_is_refused_in_one_line(
    repository: Path, command: Command, names: Sequence[str]
) -> None:
    result = command(repository, "remove", "resource", *names)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert git(repository, "status", "--porcelain") == ""


@needs("orders")
@pytest.mark.slow("it runs all migrations")
def test_model_without_its_migration_refuses_the_removal(repository: Path) -> None:
    """The migration that drops the tables must not contain the other change as well."""
    models = repository / "app/features/orders/models.py"
    models.write_text(models.read_text().replace("String(1000)", "String(2000)"))
    commit(repository)
    with pytest.raises(AssertionError, match="The models have changed without a migration"):
        run(repository, "app", "remove", "orders")
    assert git(repository, "status", "--porcelain") == ""


@needs("orders")
@pytest.mark.slow("it runs all migrations")
def test_removed_part_names_the_parts_that_need_it(repository: Path, command: Command) -> None:
    result = command(repository, "remove", "items")
    assert "removed orders too, which needs items\n" in result.output


@needs("admin.py")
def test_removal_of_the_pages_removes_the_admin() -> None:
    assert removed_with("pages", ROOT) == ["admin"]
    assert {*patterns_of("admin", ROOT)} < {*patterns_of("pages", ROOT)}


@pytest.mark.parametrize("names", [["none"], ["project", "../app"], [""]])
def test_unknown_part_is_refused_in_one_line(
    repository: Path, command: Command, names: Sequence[str]
) -> None:
    result = command(repository, "remove", *names)
    assert result.exit_code == 1
    assert result.output.startswith("There is no part ")
    assert result.output.count("\n") == 1
    assert git(repository, "status", "--porcelain") == ""


def test_uncommitted_changes_refuse_a_removal(repository: Path, command: Command) -> None:
    (repository / "new.txt").touch()
    result = command(repository, "remove", "project", "--yes")
    assert result.exit_code == 1
    assert result.output == "There are uncommitted changes: commit them or stash them first.\n"
    assert (repository / "app/project").exists()


def test_dead_paths_are_found_from_the_root_from_app_and_from_the_page(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text(
        "`app/features/items` and `features/items/models.py`\n"
        "`app/features/items_of_others`, `app/features`\n"
        "[a test](../tests/features/items/test_crud.py)\n"
    )
    deleted = [tmp_path / "app/features/items", tmp_path / "tests/features/items"]
    assert [*dead_paths(deleted, tmp_path)] == [
        "docs/page.md:1 names app/features/items, features/items/models.py",
        "docs/page.md:3 names ../tests/features/items/test_crud.py",
    ]


def test_removal_names_the_lines_that_name_what_was_deleted(
    repository: Path, command: Command
) -> None:
    (repository / "NOTES.md").write_text("# Notes\n\nSee `app/project/cli.py`.\n")
    commit(repository)
    result = command(repository, "remove", "project")
    assert "\nNOTES.md:3 names app/project/cli.py\n" in result.output
    assert "shorten AGENTS.md" in result.output


def test_server_imports_no_development_command() -> None:
    script = (
        "import app.main, sys; assert not [name for name in sys.modules if 'app.project' in name]"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


# What an extension has made is not of a migration.
OBJECTS = """
WITH extended AS (SELECT objid FROM pg_depend WHERE deptype = 'e')
SELECT 'function ' || proname FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND oid NOT IN (SELECT objid FROM extended)
UNION SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
UNION SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
AND typrelid = 0 AND typelem = 0 AND oid NOT IN (SELECT objid FROM extended)
UNION SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""


def objects_of(database_url: str) -> set[str]:
    """Return the kinds and names of what is in the database."""
    with connect(database_url) as connection:
        return {str(name) for (name,) in connection.execute(OBJECTS)}


@only("postgresql")
@pytest.mark.slow("it runs all migrations")
def test_removed_features_leave_nothing_in_the_database(
    repository: Path, empty_database_url: str
) -> None:
    names = features(ROOT)
    run(repository, "alembic", "upgrade", "head", DATABASE_URL=empty_database_url)
    run(repository, "app", "remove", *names)
    run(repository, "alembic", "upgrade", "head", DATABASE_URL=empty_database_url)
    left = objects_of(empty_database_url)
    with connect(empty_database_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    git(repository, "checkout", ".")
    git(repository, "clean", "-fdq", "alembic")
    delete_migrations(names, repository, ROOT)
    run(repository, "alembic", "upgrade", "head", DATABASE_URL=empty_database_url)
    assert left == objects_of(empty_database_url)


DEFINITIONS = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
UNION SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION SELECT pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype
"""


def definitions_of(database_url: str) -> set[str]:
    """Return what is beside the tables on PostgreSQL, of which the models declare only a part."""
    if not database_url.startswith("postgresql"):
        return set()
    with connect(database_url) as connection:
        return {str(definition) for (definition,) in connection.execute(DEFINITIONS)}


@pytest.mark.slow("it runs all migrations")
def test_removal_of_features_can_be_undone(repository: Path, empty_database_url: str) -> None:
    url = empty_database_url
    alembic(url, "upgrade", "head")
    before = definitions_of(url)
    run(repository, "app", "remove", *features(ROOT))
    alembic(url, "upgrade", "head", folder=repository)
    alembic(url, "downgrade", "-1", folder=repository)
    assert "No new upgrade operations" in alembic(url, "check")
    assert definitions_of(url) == before
    for target in ("upgrade head", "downgrade base", "upgrade head"):
        alembic(url, *target.split(), folder=repository)


@needs("items", "orders", "lab", "admin.py")
@pytest.mark.slow("it type-checks a copy")
def test_renamed_project_without_a_part_passes_its_checks(repository: Path) -> None:
    run(repository, "app", "rename", "Acme Shop", "--author", "Ann Example")
    commit(repository)
    run(repository, "app", "remove", "orders", "project")
    assert not (repository / "app/features/orders").exists()
    (migration,) = git(
        repository, "ls-files", "--others", "--exclude-standard", "alembic"
    ).splitlines()
    assert 'op.drop_table("orders")' in (repository / migration).read_text()
    run(repository, "ruff", "format", "--check", ".")
    run(repository, "ruff", "check", ".")
    run(repository, "mypy")
    run(repository, "lint-imports")
    run(repository, "app", "db", "check")
    near = (
        "tests/core/test_about.py",
        "tests/docs",
        "tests/web/test_shell.py",
        "tests/test_cli.py",
    )
    run(repository, "pytest", "-q", "-m", "not slow", *near)
