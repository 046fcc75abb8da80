from collections.abc import Callable
from types import CodeType

from jinja2 import Environment
from jinja2.bccache import Bucket, BytecodeCache

_compiled = dict[tuple[str, str], CodeType | None]()


class MemoryBytecodeCache(BytecodeCache):
    """In a process: it takes half a second, and every application has the same."""

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = _compiled.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        _compiled[bucket.key, bucket.checksum] = bucket.code


def compile_templates(environment: Environment, which: Callable[[str], bool] | None = None) -> None:
    """So that no request touches the disk."""
    for name in environment.list_templates(filter_func=which):
        environment.get_template(name)
