"""Compilation of Jinja templates at the start, so that no request reads a file; translation."""

from collections.abc import Callable
from types import CodeType

from jinja2 import Environment
from jinja2.bccache import Bucket, BytecodeCache

from app.core.translation import (
    current_language,
    format_money,
    format_number,
    gettext,
    languages,
    ngettext,
)

_compiled = dict[tuple[str, str], CodeType | None]()


class MemoryBytecodeCache(BytecodeCache):
    """A cache of compiled templates for all applications of a process.

    Compiling takes half a second, and the tests build many applications.
    """

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = _compiled.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        _compiled[bucket.key, bucket.checksum] = bucket.code


def compile_templates(
    environment: Environment, matches: Callable[[str], bool] | None = None
) -> None:
    """Compile and load the environment's templates."""
    for name in environment.list_templates(filter_func=matches):
        environment.get_template(name)


def translate_templates(environment: Environment) -> None:
    """Let the templates translate and format into the current language.

    They have `_("Save")`, `{% trans %}`, `language()`, and the filters `money`, `number` and
    `translated`, which is for texts that Python has marked.
    """
    languages()  # Read the catalogs now, so that no request does.
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    # The extension has added this method.
    environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {
        "money": format_money,
        "number": format_number,
        "translated": gettext,
    }
    environment.globals["language"] = current_language
