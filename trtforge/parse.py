"""Old names of ``trtforge.options.values``, for modules that still use them."""

from __future__ import annotations

from trtforge.options import values

batch = values.parse_batch
size = values.parse_size
memory = values.parse_memory
seconds = values.parse_seconds
timeout = values.parse_timeout
version = values.parse_version
shard = values.parse_shard
kwargs = values.parse_kwargs
provider = values.parse_provider
one_of = values.parse_choice


def in_range(value: int, allowed: range, option: str) -> int:
    """Return the number if it is in the range."""
    return values.check_range(value, allowed[0], allowed[-1], option)
