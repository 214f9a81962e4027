"""Describe the options for the settings tables of README and of VS Code's `package.json`."""

from __future__ import annotations

import ast
import inspect
import itertools
from typing import Any

import msgspec

from codegen_lsp.lsp.options.options import Options, by_json_name
from codegen_lsp.wire.schema import choices_of


def describe() -> list[dict[str, Any]]:
    """Return every option as documentation needs it: `name`, `description`, and a JSON schema's `type`, `default`, ...

    The descriptions are the strings below the fields, read from this file's source.
    """
    texts = _descriptions()
    return [
        {"name": name, "description": texts[option.name], "default": option.shown_default}
        | _schema(option.form)
        for name, option in by_json_name().items()
    ]


def _schema(form: Any) -> dict[str, Any]:
    """Return the JSON schema of a type, in the subset that VS Code's settings editor shows best."""
    if choices := choices_of(form):
        return {"type": "string", "enum": list(choices)}
    schema = msgspec.json.schema(form)
    if "anyOf" in schema:
        return {"type": [each["type"] for each in schema["anyOf"]]}
    return schema


def _descriptions() -> dict[str, str]:
    module = ast.parse(inspect.getsource(inspect.getmodule(Options) or Options))
    body = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == "Options").body
    texts: dict[str, str] = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            target, value = statement.target, following.value
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                texts[target.id] = " ".join(str(value.value).split())
    return texts
