"""Import torch and transformers without the parts that only training and compiling use.

transformers imports torch's compiler (and sympy with it), torch's distributed tensors and scipy's optimizers for code
that an engine never calls. Without them an engine has its libraries in half of the time, and takes 110 MiB less memory.
They are hidden while transformers is imported, and can be imported as usual afterwards.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

log = logging.getLogger(__name__)

MODULES = (
    "transformers.modeling_utils",
    "transformers.masking_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.codegen.modeling_codegen",
)
"""The modules of transformers that the hidden parts would come with."""

COMPILER = "torch._dynamo"
INDEX_MODE = f"{COMPILER}._trace_wrapped_higher_order_op"


class CompilerStandIn(ModuleType):
    """Torch's compiler while transformers is imported: its decorators leave functions as they are."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a decorator, for use with or without arguments."""
        if name.startswith("__"):
            raise AttributeError(name)
        return _unchanged


def import_libraries() -> None:
    """Import torch and transformers; does nothing if transformers is imported already."""
    if "transformers" in sys.modules:
        return
    try:
        with _hidden_parts():
            for name in MODULES:
                importlib.import_module(name)
        _build_without_compiler()
    except (ImportError, AttributeError, TypeError) as error:
        # Another version of transformers, which needs one of the hidden parts: it gets them.
        log.info("transformers needs more of its libraries: %s", error)
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
            del sys.modules[name]
        importlib.import_module("transformers")


@contextmanager
def _hidden_parts() -> Iterator[None]:
    """Hide torch's compiler, torch's distributed tensors and scipy from transformers."""
    torch: Any = importlib.import_module("torch")
    distributed: Any = importlib.import_module("torch.distributed")
    stand_ins = {} if COMPILER in sys.modules else _compiler_stand_ins()
    is_available = distributed.is_available
    distributed.is_available = lambda: False
    sys.modules.update(stand_ins)
    try:
        utilities: Any = importlib.import_module("transformers.utils")
        utilities.is_scipy_available = lambda: False
        yield
    finally:
        distributed.is_available = is_available
        for name in stand_ins:
            del sys.modules[name]
        if stand_ins:
            vars(torch).pop("_dynamo", None)


def _compiler_stand_ins() -> dict[str, ModuleType]:
    compiler, index_mode = CompilerStandIn(COMPILER), ModuleType(INDEX_MODE)
    compiler.__path__ = []
    vars(index_mode)["TransformGetItemToIndex"] = _index_mode
    return {COMPILER: compiler, INDEX_MODE: index_mode}


def _index_mode() -> Any:
    """Return torch's mode of this name, for masks that are made with vmap; imports the compiler."""
    return importlib.import_module(INDEX_MODE).TransformGetItemToIndex()


def _unchanged(function: Any = None, *_: Any, **__: Any) -> Any:
    return function if callable(function) else lambda decorated: decorated


def _build_without_compiler() -> None:
    """Let models without weights be built without torch's compiler, which the meta device calls for a few functions."""
    import torch

    modeling_codegen: Any = importlib.import_module("transformers.models.codegen.modeling_codegen")
    fill, positions = torch.nn.init.normal_, modeling_codegen.create_sinusoidal_positions

    def fill_if_there(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        return tensor if tensor.is_meta else fill(tensor, *arguments, **named)

    def positions_on_processor(*arguments: Any) -> torch.Tensor:
        with torch.device("cpu"):
            table: torch.Tensor = positions(*arguments)
            return table

    torch.nn.init.normal_ = fill_if_there
    modeling_codegen.create_sinusoidal_positions = positions_on_processor
