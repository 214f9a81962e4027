"""What modules of Python's standard library have, as the Python knows it that runs the language server.

Nothing is looked up in files: a module that this process has not loaded is imported if it is one of those that are used
most, and is unknown otherwise.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from abc import ABCMeta
from functools import cache
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from codegen_lsp.lsp.names.values import BUILTIN, STANDARD, Members, Value

_MOST_USED = """
    abc argparse ast asyncio atexit base64 bisect bz2 calendar cmath codecs collections collections.abc
    concurrent.futures configparser contextlib contextvars copy csv ctypes dataclasses datetime decimal
    difflib email enum fnmatch fractions functools getpass gettext glob gzip hashlib heapq hmac html
    http http.client importlib importlib.metadata importlib.resources importlib.util inspect io
    ipaddress itertools json keyword linecache locale logging logging.handlers lzma math mimetypes
    numbers operator os os.path pathlib pickle pkgutil platform pprint queue random re secrets select
    selectors shlex shutil signal socket sqlite3 ssl stat statistics string struct subprocess sys
    sysconfig tarfile tempfile textwrap threading time timeit traceback types typing unicodedata
    unittest unittest.mock urllib.error urllib.parse urllib.request uuid warnings weakref
    xml.etree.ElementTree zipfile zlib zoneinfo
"""
IMPORTED = frozenset(_MOST_USED.split())
"""The modules that are imported to see what they have. Importing one does nothing else."""
_BUILTIN_VALUES = (str, bytes, int, float, bool, list, dict, tuple, set, frozenset)


def standard_module(name: str) -> Value | None:
    """Return a module of the standard library; None if it is none, or not known."""
    return Value("module", STANDARD + name) if _loaded(name) is not None else None


def standard_member(module: str, name: str) -> Value | None:
    """Return what a module of the standard library calls by a name; None if that is not known."""
    members = members_of_standard(module)
    value = members.values.get(name) if members is not None else None
    return value or standard_module(f"{module}.{name}")


@cache
def members_of_standard(key: str) -> Members | None:
    """Return the members of `json` or of `json:JSONDecoder`; None if they are not known."""
    name, _, attribute = key.partition(":")
    module = _loaded(name)
    if module is None:
        return None
    if attribute:
        return _members_of_class(getattr(module, attribute, None))
    values = {
        attribute: _value(getattr(module, attribute, None), name, attribute)
        for attribute in dir(module)
        if not _is_foreign(module, attribute)
    }
    values |= {part: standard_module(f"{name}.{part}") for part in _submodules(name)}
    return Members(values, is_open=hasattr(module, "__getattr__"))


def _members_of_class(found: Any) -> Members | None:
    if not isinstance(found, type):
        return None
    # Values with a dictionary of their own have more members than their class, and those of a metaclass may too.
    is_open = found.__dictoffset__ != 0 or type(found) not in (type, ABCMeta)
    return Members(dict.fromkeys(dir(found)), is_open=is_open)


def _is_foreign(module: ModuleType, attribute: str) -> bool:
    """Return whether a module has only imported another one for itself."""
    value = getattr(module, attribute, None)
    if attribute in getattr(module, "__all__", ()) or not isinstance(value, ModuleType):
        return False
    return not value.__name__.startswith(f"{module.__name__}.")


def _submodules(name: str) -> set[str]:
    """Return the parts of a package that are known: of `importlib` also `metadata`."""
    start = f"{name}."
    return {other.removeprefix(start).partition(".")[0] for other in IMPORTED if other.startswith(start)}


def _value(found: Any, module: str, attribute: str) -> Value | None:
    if isinstance(found, ModuleType):
        return standard_module(f"{module}.{attribute}")
    if isinstance(found, type):
        is_builtin = vars(builtins).get(found.__name__) is found
        if is_builtin:
            return Value("class", BUILTIN + found.__name__)
        return Value("class", f"{STANDARD}{module}:{attribute}")
    if isinstance(found, (FunctionType, BuiltinFunctionType)):
        return Value("function")
    return Value("instance", BUILTIN + type(found).__name__) if type(found) in _BUILTIN_VALUES else None


@cache
def _loaded(name: str) -> ModuleType | None:
    if name.partition(".")[0] not in sys.stdlib_module_names:
        return None
    if name in IMPORTED:
        try:
            return importlib.import_module(name)
        except ImportError:  # Python can be built without some of them
            return None
    return sys.modules.get(name)
