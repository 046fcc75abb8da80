from jinja2.bccache import Bucket, BytecodeCache

_compiled = dict[str, bytes]()


class CompiledOnce(BytecodeCache):
    """In a process: it takes half a second, and every application has the same."""

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in _compiled:
            bucket.bytecode_from_string(_compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        _compiled[bucket.key] = bucket.bytecode_to_string()
