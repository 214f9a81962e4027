"""Write the files of the editors that repeat what the Python code knows: `python editors/generate.py [--check]`.

The server's options become the settings in VS Code's `package.json` and README. The names and sizes of the models
become the model menu of each editor. One generator serves all editors, so that a new option or model is added in one
place; `tests/e2e/editors/test_generate.py` fails if a file is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from codegen_lsp.engine.advice.named_models import NamedModel, named_models
from codegen_lsp.engine.checkpoints.checkpoint import NANO
from codegen_lsp.lsp.options import option_docs, options

EDITORS = Path(__file__).parent
MANIFEST = EDITORS / "vscode" / "package.json"
README = EDITORS / "vscode" / "README.md"

# The settings of VS Code -----------------------------------------------------------------------------------


def settings() -> dict[str, dict[str, Any]]:
    """Return VS Code's `contributes.configuration.properties`, in the order of the options."""
    properties = {}
    for order, option in enumerate(option_docs.describe()):
        schema = {key: value for key, value in option.items() if key not in ("name", "description")}
        name = option["name"]
        # VS Code ignores a workspace's value of a setting with the scope `machine`.
        scope = "machine" if name in options.restricted() else "window"
        properties[f"{options.SECTION}.{name}"] = {
            **schema,
            "markdownDescription": option["description"],
            "scope": scope,
            "order": order,
        }
    return properties


def manifest() -> str:
    """Return `package.json` with the settings of the server's options."""
    content = json.loads(MANIFEST.read_text(encoding="utf-8"))
    prefix = f"{options.SECTION}."
    process, server = content["contributes"]["configuration"]
    trust = content["capabilities"]["untrustedWorkspaces"]
    others = [name for name in trust["restrictedConfigurations"] if not name.startswith(prefix)]
    # VS Code ignores these in an untrusted workspace.
    ignored = sorted(options.restricted() + options.exclusions())
    trust["restrictedConfigurations"] = others + [prefix + name for name in ignored]
    content["contributes"]["configuration"] = [process, {**server, "properties": settings()}]
    return _json(content)


def readme() -> str:
    """Return VS Code's README with a table of the settings."""
    rows = ["| setting | default | description |", "|---|---|---|"]
    for name, schema in settings().items():
        description = schema["markdownDescription"].replace("|", "\\|")
        rows.append(f"| `{name}` | `{json.dumps(schema['default'])}` | {description} |")
    head, _, remainder = README.read_text(encoding="utf-8").partition("<!-- settings -->\n")
    tail = remainder.partition("<!-- end settings -->")[2]
    return "\n".join([f"{head}<!-- settings -->", *rows, f"<!-- end settings -->{tail}"])


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


# The model menus -------------------------------------------------------------------------------------------


@cache
def models() -> tuple[dict[str, str], ...]:
    """Return name and description of all named models, in the order of `codegen-lsp models recommend`."""
    return tuple({"name": model.name, "description": _description(model)} for model in named_models())


def _description(model: NamedModel) -> str:
    size = f"{model.weight_bytes(2) / 2**30:.1f} GiB in bfloat16"
    parts = [model.about, "nothing to download" if model.name == NANO else size, model.licence]
    return " · ".join(parts + ["fills in the middle"] * model.fills)


def typescript_models() -> str:
    """Return the models for VS Code, which TypeScript imports as JSON."""
    return _json(models())


def lua_models() -> str:
    """Return the names of the models as a Lua module."""
    names = "".join(f"  '{model['name']}',\n" for model in models())
    return f"--- Names of the models, written by editors/generate.py.\nreturn {{\n{names}}}\n"


def lisp_models() -> str:
    """Return the names of the models as an Emacs Lisp library."""
    names = "\n    ".join(f'"{model["name"]}"' for model in models())
    return f""";;; codegen-lsp-models.el --- Names of the models  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Written by editors/generate.py.

;;; Code:

(defconst codegen-lsp-models
  '({names})
  "Names that `codegen-lsp-select-model' offers.")

(provide 'codegen-lsp-models)
;;; codegen-lsp-models.el ends here
"""


# The settings that a workspace may never choose -------------------------------------------------------------


def lua_restricted() -> str:
    """Return the names of the restricted settings as a Lua module."""
    names = "".join(f"  '{name}',\n" for name in options.restricted())
    return f"--- Settings that a project may never choose, written by editors/generate.py.\nreturn {{\n{names}}}\n"


def lisp_restricted() -> str:
    """Return the names of the restricted settings as an Emacs Lisp library."""
    names = "\n    ".join(f":{name}" for name in options.restricted())
    return f""";;; codegen-lsp-restricted.el --- Settings of the user alone  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Written by editors/generate.py.

;;; Code:

(defconst codegen-lsp-restricted-settings
  '({names})
  "Settings that a directory may never choose.")

(provide 'codegen-lsp-restricted)
;;; codegen-lsp-restricted.el ends here
"""


FILES: dict[Path, Callable[[], str]] = {
    MANIFEST: manifest,
    README: readme,
    EDITORS / "vscode" / "src" / "models.json": typescript_models,
    EDITORS / "nvim" / "lua" / "codegen_lsp" / "models.lua": lua_models,
    EDITORS / "nvim" / "lua" / "codegen_lsp" / "restricted.lua": lua_restricted,
    EDITORS / "emacs" / "codegen-lsp-models.el": lisp_models,
    EDITORS / "emacs" / "codegen-lsp-restricted.el": lisp_restricted,
}
"""The generated files, each with the function that returns its text."""


def outdated() -> dict[Path, str]:
    """Return the files whose text differs from the generated one, with the generated text."""
    texts = {path: generate() for path, generate in FILES.items()}
    return {
        path: text
        for path, text in texts.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main(arguments: list[str]) -> int:
    """Write the files that are out of date; with `--check` only name them."""
    changes = outdated()
    if arguments == ["--check"]:
        for path in changes:
            sys.stderr.write(f"{path.relative_to(EDITORS)} is out of date; run python editors/generate.py\n")
        return min(len(changes), 1)
    for path, text in changes.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
