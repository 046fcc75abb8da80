from types import CodeType

from jinja2.bccache import Bucket, BytecodeCache

_compiled = dict[tuple[str, str], CodeType | None]()


class CompiledOnce(BytecodeCache):
    """In a process: it takes half a second, and every application has the same."""

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = _compiled.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        _compiled[bucket.key, bucket.checksum] = bucket.code
