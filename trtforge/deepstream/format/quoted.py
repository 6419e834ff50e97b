"""Text of a model, which may hold anything, as a string literal."""

from __future__ import annotations

# Bytes that need no escape in C. A question mark may begin a trigraph of C.
PLAIN = frozenset(range(0x20, 0x7F)) - set(b'"\\?')


def quoted(text: str) -> str:
    """Return a literal for C++ and protobuf's text format: UTF-8, octal where it is not ASCII."""
    return (
        '"'
        + "".join(chr(byte) if byte in PLAIN else f"\\{byte:03o}" for byte in text.encode("utf-8"))
        + '"'
    )
