"""`app new resource`: write the slice of a resource, its tests and its migration.

It is made in a copy of the project, and then moved, so that an interrupted run leaves nothing.
"""

import ast
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from jinja2 import Environment, FileSystemLoader, StrictUndefined, nodes

from app.project import html, samples
from app.project.deletion import delete
from app.project.fields import FieldError
from app.project.migration import exclusive_migrations, write_migration
from app.project.processes import interruptible, run
from app.project.resource import Resource

TEMPLATES = Path(__file__).parent / "templates/resource"
SUFFIX = ".jinja"
NO_DATABASE = "sqlite+aiosqlite://"
LINE_LENGTH = 100
SHELL = ("app/web/templates/base.html", "app/web/templates/owner.html")
# Names that a record cannot have in the templates: those of Jinja, and the arguments of `render`.
TEMPLATE_NAMES = {"caller", "context", "headers", "loop", "request", "status", "template"}
CATALOGS = "app/translations/*/LC_MESSAGES/*.po"
FEATURES = "app/features/__init__.py"
COPIED = ("app", "alembic", "tests")
TEMPLATE_PARSER = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
DOCSTRING = re.compile(
    r'^(?P<indent> *)"""(?P<first>[^"\n]+?\.) (?P<rest>[^"\n]+)"""$', re.MULTILINE
)


def new_resource(
    resource: Resource, root: Path, *, has_pages: bool, has_admin: bool, is_dry_run: bool
) -> str:
    """Write the files of the resource, and return what was written; a dry run keeps nothing."""
    check_variables(resource, root, has_pages=has_pages, has_admin=has_admin)
    (root / "data").mkdir(mode=0o700, exist_ok=True)  # Git ignores it.
    with (
        interruptible(),
        exclusive_migrations(root),
        TemporaryDirectory(dir=root / "data") as name,
    ):
        copy = Path(name)
        copy_project(root, copy)
        has_languages = any(root.glob(CATALOGS))
        files = render(
            resource, has_pages=has_pages, has_admin=has_admin, has_languages=has_languages
        )
        try:
            write(copy, files)
            migration = write_migration(copy, f"Create {resource.names_words}.")
        except subprocess.CalledProcessError as error:
            raise SystemExit(
                f"{error.stdout}{error.stderr}\nNothing was written: the generated code is not"
                " correct for this project."
            ) from None
        paths = [*sorted(files), str(migration.relative_to(copy))]
        word = "would create" if is_dry_run else "created"
        report = "\n".join([*(f"{word} {path}" for path in paths), "", migration.read_text()])
        if not is_dry_run:
            move(copy, root, [migration.relative_to(copy), *folders_of(resource)])
            # A server that reloads sees changes of files, and not a folder that was moved.
            (root / FEATURES).touch()
        return report


def copy_project(root: Path, copy: Path) -> None:
    """Copy what Alembic needs, and ruff, which tells modules of the project from others."""
    for folder in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / folder, copy / folder, ignore=ignored)
    shutil.copy(root / "pyproject.toml", copy)


def render(
    resource: Resource, *, has_pages: bool, has_admin: bool, has_languages: bool = False
) -> dict[str, str]:
    """Return the files of the resource by their paths, without the migration."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - It writes source code, whose own templates escape.
        undefined=StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {**html.FILTERS, **samples.FILTERS}
    context = resource.context() | {"has_pages": has_pages, "has_admin": has_admin}
    context |= {"has_languages": has_languages}
    context |= {"macros": html.macros_of(resource.all_fields, has_rows=bool(resource.children))}
    return {
        path: environment.get_template(template).render(context)
        for path, template in templates_of(resource, has_pages=has_pages, has_admin=has_admin)
    }


def templates_of(
    resource: Resource, *, has_pages: bool, has_admin: bool
) -> Iterator[tuple[str, str]]:
    """Yield the path of each file, and the name of its template.

    A resource with children has templates of its own where the others do not fit.
    """
    targets = {"slice": "app/features", "tests": "tests/features"}
    without = [*([] if has_pages else ["pages", "templates"]), *([] if has_admin else ["admin"])]
    folders = ["flat", "nested"] if resource.children else ["nested", "flat"]
    skipped, chosen = folders
    for file in sorted(TEMPLATES.rglob(f"*{SUFFIX}")):
        part, *path = file.relative_to(TEMPLATES).parts
        if part not in targets or path[0] == skipped:
            continue
        path = path[1:] if path[0] == chosen else path
        name = path[0].partition(".")[0].removeprefix("test_")
        if name not in without:
            target = "/".join([targets[part], resource.names, *path]).removesuffix(SUFFIX)
            yield target, file.relative_to(TEMPLATES).as_posix()


def write(copy: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(fold_docstrings(text))
    paths = [path for path in files if path.endswith(".py")]
    options = ("--quiet", "--no-respect-gitignore")
    # It removes the imports that this resource does not need, and sorts the rest.
    run(copy, NO_DATABASE, "ruff", "check", "--fix", "--exit-zero", *options, *paths)
    run(copy, NO_DATABASE, "ruff", "format", *options, *paths)
    check_bindings(copy, files)
    run(copy, NO_DATABASE, "ruff", "check", *options, *paths)


def fold_docstrings(text: str) -> str:
    """Give the later sentences of docstrings that are too long lines of their own."""

    def fold(match: "re.Match[str]") -> str:
        indent = match["indent"]
        if len(match[0]) <= LINE_LENGTH:
            return match[0]
        return f'{indent}"""{match["first"]}\n\n{indent}{match["rest"]}\n{indent}"""'

    return DOCSTRING.sub(fold, text)


def check_bindings(copy: Path, files: Mapping[str, str]) -> None:
    """Refuse names that are bound twice in a file, such as a class that hides an import."""
    for path in files:
        if path.endswith(".py"):
            tree = ast.parse((copy / path).read_text())
            bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
            for body in (tree.body, *bodies):
                for name, count in Counter(names_bound_in(body)).items():
                    if count > 1:
                        raise FieldError(
                            f"The name {name!r} would have two meanings in {path}: call a field or"
                            " the resource otherwise."
                        )


def check_variables(resource: Resource, root: Path, *, has_pages: bool, has_admin: bool) -> None:
    """Refuse a name that generated code, or a template around it, gives to something else."""
    placeholder = resource.renamed("placeholder")
    files = render(placeholder, has_pages=has_pages, has_admin=has_admin)
    taken = names_taken_in_shell(root) & {resource.name} if has_pages else set[str]()
    for path, text in files.items():
        if path.endswith(".py"):
            taken |= {*names_used_in(ast.parse(text))} & {resource.name, resource.names}
        else:
            taken |= {*template_variables(text)} & {resource.name}
    for name in sorted(taken):
        raise FieldError(f"{name!r} is taken: generated code has a variable of this name.")
    for child in resource.children:
        if child.name == "loop":  # The conflict page names a row so, and Jinja each of its loops.
            raise FieldError(f"{child.names!r} is taken: templates have a variable {child.name!r}.")


def names_taken_in_shell(root: Path) -> set[str]:
    """Return the variables that the pages give to the templates around them."""
    templates = [(root / file).read_text() for file in SHELL]
    used = {name for text in templates for name in template_variables(text)}
    own = {name for text in templates for name in template_variables(text, "store")}
    return (used - own) | TEMPLATE_NAMES


def template_variables(template: str, context: str = "load") -> Iterator[str]:
    """Yield the variables of a template, without those of its macros, which see no record."""
    found: list[nodes.Node] = [TEMPLATE_PARSER.parse(template)]
    for node in found:  # which grows meanwhile
        if isinstance(node, nodes.Name) and node.ctx == context:
            yield node.name
        found += [each for each in node.iter_child_nodes() if not isinstance(each, nodes.Macro)]


def names_used_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.alias(name=name):
                yield name


def names_bound_in(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (each.asname or each.name for each in names)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def folders_of(resource: Resource) -> list[Path]:
    return [Path(folder) / resource.names for folder in ("app/features", "tests/features")]


def move(copy: Path, root: Path, paths: list[Path]) -> None:
    """Move all of the paths into the project, or none."""
    moved = list[Path]()
    try:
        for path in paths:
            if (root / path).exists():  # Another run has written it meanwhile.
                raise FieldError(f"There is a {path} already.")
            moved.append(root / path)
            (copy / path).rename(root / path)
    except BaseException:
        for target in moved:
            if target.exists():
                delete(target)
        raise
