"""Compilation of Jinja templates at the start, so that no request reads a file; translation."""

from collections.abc import Callable
from functools import partial
from types import CodeType

from jinja2 import Environment, pass_eval_context
from jinja2.bccache import Bucket, BytecodeCache
from jinja2.nodes import EvalContext
from markupsafe import Markup

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


def translate_templates(environment: Environment, currency: str) -> None:
    """Let the templates translate and format into the current language.

    They have `_("Save")`, `{% trans %}`, `language()`, and the filters `money`, `number` and
    `translated`, which is for texts that Python has marked.
    """
    languages()  # Read the catalogs now, so that no request does.
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    # The extension's own functions take ten times as long. It has added this attribute.
    environment.newstyle_gettext = True  # type: ignore[attr-defined]
    environment.globals |= {
        "_": _translate,
        "gettext": _translate,
        "ngettext": _translate_plural,
        "language": current_language,
    }
    environment.filters |= {
        "money": partial(format_money, currency=currency),
        "number": format_number,
        "translated": gettext,
    }


@pass_eval_context
def _translate(context: EvalContext, text: str, **values: object) -> str:
    return _fill_in(context, gettext(text), values)


@pass_eval_context
def _translate_plural(
    context: EvalContext, singular: str, plural: str, num: int, **values: object
) -> str:
    return _fill_in(context, ngettext(singular, plural, num), {"num": num, **values})


def _fill_in(context: EvalContext, text: str, values: dict[str, object]) -> str:
    """Return a translated text, which is HTML in a page, with the values, which are escaped."""
    marked = Markup(text) if context.autoescape else text  # noqa: S704 - it is from the catalogs
    return marked % values if values else marked
