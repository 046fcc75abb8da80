"""Compilation of Jinja templates at the start, so that no request reads a file."""

from collections.abc import Callable
from types import CodeType

from jinja2 import Environment
from jinja2.bccache import Bucket, BytecodeCache

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
