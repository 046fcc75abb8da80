import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from alembic.script import ScriptDirectory

from app.core import about
from app.project import history
from app.project.creation import create
from app.project.identity import Identity
from app.project.parts import parts
from app.project.renaming import DEFAULT_DESCRIPTION
from tests.copies import NEW_PROJECTS, copier_command
from tests.databases import ROOT
from tests.project.conftest import commit, git, run
from tests.slices import needs

# Copier makes projects of the template alone.
pytestmark = needs("project/new_project/README.md")

ACME = Identity("Acme Shop", "acme-shop", "Sells lamps.", None, "MIT")
REDUCED = [pytest.param(kept, id=name) for name, kept in NEW_PROJECTS.items()]
SELECTIONS = [pytest.param(parts(ROOT), id="everything"), *REDUCED]


def copy_by_copier(template: Path, project: Path, kept: Sequence[str]) -> None:
    run(project.parent, *copier_command(template, project, kept))
    git(project, "init", "--quiet")
    commit(project)


def test_copier_knows_the_parts_and_the_files_that_git_ignores() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text())
    assert [*questions["parts"]["choices"].values()] == questions["parts"]["default"]
    # A part that was removed from this checkout can still be asked for.
    assert {*questions["parts"]["default"]} >= {*parts(ROOT)}
    assert questions["description"]["default"] == DEFAULT_DESCRIPTION
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert {pattern.strip("/") for pattern in questions["_exclude"]} > ignored


def test_creation_needs_no_package_that_copier_lacks() -> None:
    script = """if True:
        import sys
        before = {*sys.modules}
        import app.project.creation
        files = [getattr(sys.modules[name], "__file__", None) for name in {*sys.modules} - before]
        found = {file.partition("site-packages/")[2].split("/")[0] for file in filter(None, files)}
        sys.exit(f"{found}" if found - {"", "packaging"} else 0)
    """
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_migration_changes_the_tables_of_one_slice() -> None:
    """Otherwise it could not be left out together with the feature."""
    slices = dict[str, str]()
    for file in sorted((ROOT / "app").rglob("*.py")):
        if "lab" not in file.parts:  # It maps tables of others.
            for table in history.TABLE.findall(file.read_text()):
                is_feature = file.is_relative_to(ROOT / "app/features")
                slices[table] = file.parent.name if is_feature else "app"
    assert "app" in slices.values()
    for migration in history.migrations(ROOT):
        text = migration.read_text()
        changed = {slices[table] for table in slices if history.names_table(text, [table])}
        assert len(changed) <= 1, migration.name


@pytest.mark.parametrize("kept", REDUCED)
@pytest.mark.slow("it runs all migrations")
def test_migrations_of_a_new_project_can_be_undone_and_repeated(
    copy: Path, kept: Sequence[str], empty_database_url: str
) -> None:
    create(ACME, kept, ROOT, copy)
    for arguments in (["upgrade", "head"], ["downgrade", "base"], ["upgrade", "head"], ["check"]):
        run(copy, "alembic", *arguments, DATABASE_URL=empty_database_url)
    texts = [file.read_text() for file in history.migrations(copy)]
    assert any(history.names_table(text, ["orders"]) for text in texts) == ("orders" in kept)


@pytest.mark.parametrize("kept", SELECTIONS)
@pytest.mark.slow("it type-checks a copy")
def test_new_project_passes_its_checks(
    repository: Path, tmp_path: Path, kept: Sequence[str]
) -> None:
    project = tmp_path / "acme-shop"
    copy_by_copier(repository, project, kept)
    found = git(project, "grep", "--name-only", "-i", "-E", f"{about.NAME}|{about.SLUG}")
    assert found.split() == ["LICENSE.template"]  # Its notice has to stay.
    answers_of_project = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert {*answers_of_project["parts"]} == {*kept}
    run(project, "ruff", "format", "--check", ".")
    run(project, "ruff", "check", ".")
    run(project, "mypy")
    run(project, "lint-imports")
    run(project, "app", "db", "check")
    near = ("tests/core/test_about.py", "tests/docs", "tests/test_architecture.py")
    run(project, "pytest", "-q", "-m", "not slow", *near, "tests/test_cli.py")


@pytest.mark.slow("it makes four copies of the project")
def test_update_merges_changes_of_the_template_and_of_the_project(
    repository: Path, tmp_path: Path
) -> None:
    template, project = tmp_path / "template", tmp_path / "acme-shop"
    git(tmp_path, "clone", "--quiet", str(repository), str(template))
    git(template, "tag", "1.0.0")
    copy_by_copier(template, project, ["pages", "project"])
    (project / "README.md").write_text((project / "README.md").read_text() + "\nOur words.\n")
    commit(project)

    (head,), (kept_head,) = (
        ScriptDirectory(str(folder / "alembic")).get_heads() for folder in (template, project)
    )
    for revision, follows, table in (("one", head, "orders"), ("two", "one", "users")):
        (template / f"alembic/versions/{revision}.py").write_text(
            f'revision = "{revision}"\ndown_revision = "{follows}"\n# "{table}"\n'
        )
    (template / "app/features/items/new.py").touch()
    new_readme = template / "app/project/new_project/README.md"
    new_readme.write_text(new_readme.read_text().replace("## Start", "## Begin"))
    commit(template)
    git(template, "tag", "1.1.0")
    run(project, "copier", "update", "--trust", "--defaults", "--quiet")

    readme = (project / "README.md").read_text()
    assert readme.startswith(f"# {ACME.name}\n")
    assert "## Begin" in readme
    assert readme.endswith("\nOur words.\n")
    versions = project / "alembic/versions"
    assert f'down_revision = "{kept_head}"' in (versions / "two.py").read_text()
    changes = git(project, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert changes == [" M .copier-answers.yml", " M README.md", "?? alembic/versions/two.py"]
