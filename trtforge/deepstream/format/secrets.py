"""Take passwords and other secrets out of texts that people and logs see."""

from __future__ import annotations

import re

# A path keeps one slash of two. A password may contain blanks and @, and may be cut off before its @.
# The patterns are bounded and searched once in a line or word, because files come from anybody: a
# line of a megabyte must not take minutes.
_SCHEME = r"\b[a-z][a-z0-9+.-]{0,30}"
_OPENING = re.compile(
    _SCHEME + r"(?::/+|\s{0,9}[:=]\s{0,9}//|:\s{1,9}/(?=[^\s/:]{1,99}:))", re.IGNORECASE
)
_CUT_OFF = re.compile(
    rf"({_SCHEME}:/{{1,2}}(?!/)[^\s/@:\[]{{1,999}}:)(?!\d{{1,5}}(?!\w))\S+", re.IGNORECASE
)
_URI = re.compile(_SCHEME + ":/+", re.IGNORECASE)


def redact(text: str) -> str:
    """Return a text without user, password and query of its URIs."""
    lines = "\n".join(map(_without_credentials, text.split("\n")))
    return re.sub(r"\S+", lambda word: _without_query(word[0]), _CUT_OFF.sub(r"\1***", lines))


def _without_credentials(line: str) -> str:
    end = line.rfind("@")
    opening = _OPENING.search(line)
    return f"{line[: opening.end()]}***{line[end:]}" if opening and opening.end() <= end else line


def _without_query(word: str) -> str:
    uri = _URI.search(word)
    begin = word.find("?", uri.end()) if uri else -1
    return f"{word[: begin + 1]}***" if begin >= 0 else word
