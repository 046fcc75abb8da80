import re
from pathlib import Path

import pytest
from flit_core import buildapi  # type: ignore[import-untyped]  # It has no types.

from app.core import about
from app.project.identity import slug_of
from app.project.renaming import current_identity
from tests.project.conftest import Command, commit, git
from tests.slices import needs

# A renamed project has none of the template's files.
pytestmark = needs("project/new_project/README.md")

NAME, SLUG, AUTHOR = "Acme & Sons' 가게", "acme-sons", "Ann Example"
OPTIONS = ("--description", 'Sells "lamps".', "--author", f"{AUTHOR} <ann@example.com>")


def texts_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".git" not in file.parts
    }


def metadata_of(folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the metadata of the package that the build backend builds from a project."""
    monkeypatch.chdir(folder)
    output.mkdir()
    name: str = buildapi.prepare_metadata_for_build_editable(output)
    return (output / name / "METADATA").read_text()


def test_old_name_remains_only_in_the_license_after_a_rename(
    repository: Path, command: Command
) -> None:
    result = command(repository, "rename", NAME, *OPTIONS)
    assert result.exit_code == 0, result.output
    git(repository, "add", "--all")
    pattern = f"{about.NAME}|{about.SLUG}"
    found = git(repository, "grep", "--cached", "--files-with-matches", "-i", "-E", pattern)
    assert found.split() == ["LICENSE"]


def test_name_and_description_are_replaced_in_all_files(
    repository: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(repository, "rename", NAME, *OPTIONS, "--license", "LicenseRef-Proprietary")
    identity = current_identity(repository)
    assert (identity.name, identity.slug) == (NAME, SLUG)
    metadata = metadata_of(repository, tmp_path / "metadata", monkeypatch)
    assert f"Name: {SLUG}\n" in metadata
    assert 'Summary: Sells "lamps".\n' in metadata
    assert f"Author-email: {AUTHOR} <ann@example.com>\n" in metadata
    assert "License-Expression: LicenseRef-Proprietary\n" in metadata
    assert f"\nname: {SLUG}\n" in (repository / "docker-compose.yml").read_text()
    readme = (repository / "README.md").read_text()
    assert readme.startswith(f'# {NAME}\n\nSells "lamps".\n')
    assert "```sh server\nmake run\n```" in readme
    assert "docker compose up" in readme
    assert "LicenseRef-Proprietary" in (repository / "LICENSE").read_text()
    notice = (repository / "LICENSE.template").read_text()
    assert notice == git(repository, "show", "HEAD:LICENSE")


def test_author_is_added_above_the_notice_of_the_mit_license(
    repository: Path, command: Command
) -> None:
    before = (repository / "LICENSE").read_text()
    command(repository, "rename", NAME, *OPTIONS)
    text = (repository / "LICENSE").read_text()
    line = re.search(rf"^Copyright \(c\) \d{{4}} {AUTHOR}\n", text, re.MULTILINE)
    assert line
    assert text.replace(line[0], "") == before


def test_rename_deletes_the_files_of_the_template(repository: Path, command: Command) -> None:
    for name in ("README.ko.md", "docs/items.png", "bench/results/latest.json"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    (repository / "app/project/new_project").mkdir(exist_ok=True)
    (repository / "docs/page.md").write_text(
        "# Page\n\n<!-- `app rename` deletes from here -->\nA\n\n## B\n\n<!-- to here -->\n\nC\n"
    )
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "Add the template's files")
    result = command(repository, "rename", NAME)
    assert "deleted bench/results\n" in result.output
    deleted = ("README.ko.md", "copier.yml", "docs/items.png", "bench/results")
    for name in (*deleted, "app/project/new_project"):
        assert not (repository / name).exists()
    assert (repository / "docs/page.md").read_text() == "# Page\n\nC\n"
    pages = [*repository.glob("*.md"), *repository.glob("*/*.md")]
    assert len(pages) > 3
    assert [page for page in pages if "`app rename` deletes" in page.read_text()] == []


@pytest.mark.parametrize("license_", ["MIT", "Apache-2.0"])
def test_second_rename_to_the_same_name_changes_nothing(
    repository: Path, command: Command, license_: str
) -> None:
    arguments = ("rename", NAME, *OPTIONS, "--license", license_)
    command(repository, *arguments)
    commit(repository)
    before = texts_of(repository)
    result = command(repository, *arguments)
    assert (result.exit_code, result.output) == (0, f"Nothing to change: this is {NAME}.\n")
    assert texts_of(repository) == before


def test_second_rename_keeps_what_the_project_has_written(
    repository: Path, command: Command
) -> None:
    command(repository, "rename", NAME, *OPTIONS)
    with (repository / "README.md").open("a") as file:
        file.write("\nOur own words.\n")
    (repository / "bench/results").mkdir(parents=True)
    (repository / "bench/results/latest.json").touch()
    commit(repository)
    result = command(repository, "rename", "Lamp Shop")
    assert result.exit_code == 0
    readme = (repository / "README.md").read_text()
    assert readme.startswith('# Lamp Shop\n\nSells "lamps".\n')
    assert readme.endswith("\nOur own words.\n")
    assert (repository / "bench/results/latest.json").exists()


@pytest.mark.parametrize("uncommitted", ["README.md", "new.txt"])
def test_uncommitted_changes_refuse_a_rename(
    repository: Path, command: Command, uncommitted: str
) -> None:
    with (repository / uncommitted).open("a") as file:
        file.write("A line.\n")
    before = texts_of(repository)
    result = command(repository, "rename", NAME, "--yes")
    assert result.exit_code == 1
    assert result.output == "There are uncommitted changes: commit them or stash them first.\n"
    assert texts_of(repository) == before


@pytest.mark.parametrize(("answer", "is_renamed"), [("y\n", True), ("n\n", False), ("", False)])
def test_project_without_git_is_renamed_after_a_confirmation(
    copy: Path, command: Command, answer: str, is_renamed: bool
) -> None:
    before = texts_of(copy)
    result = command(copy, "rename", NAME, answer=answer)
    assert "Continue?" in result.output
    assert result.exit_code == (0 if is_renamed else 1)
    assert (texts_of(copy) != before) == is_renamed


def test_yes_option_skips_the_confirmation(copy: Path, command: Command) -> None:
    result = command(copy, "rename", NAME, "--yes")
    assert "Continue?" not in result.output
    assert current_identity(copy).name == NAME


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["  "], "The name must have 1 to 40 characters"),
        ([". ."], "The name must have 1 to 40 characters"),
        (["x" * 41], "The name must have 1 to 40 characters"),
        (["Acme\nShop"], "The name must have 1 to 40 characters"),
        (["<b>Acme</b>"], "The name must have 1 to 40 characters"),
        (["가게"], "Set --slug"),
        (["Acme", "--slug", "Acme Shop"], "Set --slug"),
        (["Redis"], "a package called redis"),
        (["Acme", "--description", "one\ntwo"], "The description must be one line"),
        (["Acme", "--author", "Ann <ann>"], "The author must be a name"),
        (["Acme", "--license", "Mine"], "Unknown license"),
    ],
)
def test_invalid_value_is_refused_in_one_line(
    shared_repository: Path, command: Command, arguments: list[str], message: str
) -> None:
    result = command(shared_repository, "rename", *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count("\n") == 1
    assert git(shared_repository, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Acme Shop", "acme-shop"), ("Ann's Café 24!", "anns-cafe-24"), ("가게", "")],
)
def test_slug_has_the_ascii_letters_and_digits_of_the_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug
