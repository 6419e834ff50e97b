"""GLib's real key files, by which nvinfer and deepstream-app read INI; and nvinfer's YAML, written
down anew.
"""

from __future__ import annotations

import ctypes
import os
from ctypes.util import find_library
from functools import cache
from typing import Any

import pytest

from trtforge.deepstream.format.keys import Key

GETTERS = {
    "int": "integer",
    "bool": "boolean",
    "float": "double",
    "string": "string",
    "path": "string",
    "ints": "integer_list",
    "floats": "double_list",
    "strings": "string_list",
    "paths": "string_list",
}


class GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p))


@cache
def library() -> Any:
    name = find_library("glib-2.0") or "libglib-2.0.so.0"
    try:
        glib = ctypes.CDLL(name)
    except OSError:
        if os.environ.get("CI"):
            pytest.fail("GLib is missing, and CI has to have it: apt-get install libglib2.0-0")
        pytest.skip("needs GLib 2: apt-get install libglib2.0-0")
    results = {
        "new": ctypes.c_void_p,
        "get_integer": ctypes.c_int,
        "get_boolean": ctypes.c_int,
        "get_double": ctypes.c_double,
        "get_string": ctypes.c_char_p,
        "get_integer_list": ctypes.POINTER(ctypes.c_int),
        "get_double_list": ctypes.POINTER(ctypes.c_double),
        "get_string_list": ctypes.POINTER(ctypes.c_char_p),
        "get_groups": ctypes.POINTER(ctypes.c_char_p),
        "get_keys": ctypes.POINTER(ctypes.c_char_p),
    }
    for function, result in results.items():
        getattr(glib, f"g_key_file_{function}").restype = result
    return glib


class KeyFile:
    """A file that GLib has loaded.

    Raises:
        ValueError: GLib refuses it.
    """

    def __init__(self, text: str) -> None:
        self.file = ctypes.c_void_p(library().g_key_file_new())
        data = text.encode("utf-8", errors="surrogateescape")
        self._call("load_from_data", data, ctypes.c_size_t(len(data)), 0)

    def __del__(self) -> None:
        library().g_key_file_free(self.file)

    def _call(self, function: str, *arguments: Any) -> Any:
        error = ctypes.POINTER(GError)()
        result = getattr(library(), f"g_key_file_{function}")(
            self.file, *arguments, ctypes.byref(error)
        )
        if error:
            raise ValueError(error.contents.message.decode())
        return result

    def groups(self) -> list[str]:
        count = ctypes.c_size_t()
        found = library().g_key_file_get_groups(self.file, ctypes.byref(count))
        return [found[index].decode() for index in range(count.value)]

    def keys(self, group: str) -> list[str]:
        count = ctypes.c_size_t()
        found = self._call("get_keys", group.encode(), ctypes.byref(count))
        return [found[index].decode() for index in range(count.value)]

    def get(self, group: str, key: str, kind: str) -> Any:
        getter, count = GETTERS[kind], ctypes.c_size_t()
        where = [group.encode(), key.encode()]
        if not getter.endswith("list"):
            value = self._call(f"get_{getter}", *where)
            return (
                value.decode()
                if isinstance(value, bytes)
                else bool(value)
                if kind == "bool"
                else value
            )
        found = self._call(f"get_{getter}", *where, ctypes.byref(count))
        items = [found[index] for index in range(count.value)]
        return tuple(item.decode() if isinstance(item, bytes) else item for item in items)


def read_ini(text: str, known: Any) -> dict[str, dict[str, Any]]:
    """All keys of a file by the getters that the parser calls; a group or key that it does not know
    is an error.
    """
    file = KeyFile(text)
    return {
        group: {key: file.get(group, key, known(group)[key].kind) for key in file.keys(group)}
        for group in file.groups()
    }


def read_yaml(text: str, known: Any) -> dict[str, dict[str, Any]]:
    """YAML by a real parser without types, as yaml-cpp hands out text, and nvinfer's conversions of
    it.
    """
    import yaml

    document = yaml.load(text, Loader=yaml.BaseLoader)
    return {
        group: {key: convert(known(group)[key], value) for key, value in keys.items()}
        for group, keys in document.items()
    }


def convert(key: Key, value: Any) -> Any:
    assert isinstance(value, str), "nvinfer reads scalars only"
    one = {
        "int": int,
        "float": float,
        "string": str,
        "path": str,
        "bool": lambda text: {"0": False, "1": True}[text],
    }
    assert "yaml" in key.dialects
    if key.kind in one:
        return one[key.kind](value)
    return tuple(one[key.kind[:-1]](item) for item in value.split(";"))
