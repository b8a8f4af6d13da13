"""Names inside messages that River words."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A name in double quotes, as Go's ``%q`` prints it into River's messages."""
    return '"' + "".join(_quoted_char(char) for char in name) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\"} | dict(
    zip("\a\b\f\n\r\t\v", ("\\a", "\\b", "\\f", "\\n", "\\r", "\\t", "\\v"), strict=True)
)


def _quoted_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
