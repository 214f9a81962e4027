"""Write the settings of the server's options into package.json: `python editors/vscode/settings.py [--check]`.

Knows which settings an untrusted workspace must not choose, and which belong to a machine rather than to a
person. Everything else, names, types, defaults and descriptions, is the server's own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from codegen_lsp.lsp import options

MANIFEST = Path(__file__).parent / "package.json"

RESTRICTED = (
    "allowPickle",
    "deviceMap",
    "maxMemory",
    "model",
    "offloadFolder",
    "revision",
    "server",
    "token",
)
"""What decides which files are loaded, what memory is taken, and where code is sent."""

MACHINE = ("deviceMap", "dtype", "maxMemory", "offloadFolder", "prefixCache", "threads")
"""What depends on the hardware: not synchronized between machines, but a workspace may still set it."""

SECRET = ("token",)
"""Only in the settings of this machine's user: neither synchronized nor committed with a workspace."""


def properties() -> dict[str, dict[str, Any]]:
    """The settings as VS Code's `contributes.configuration.properties` wants them, in the options' order."""
    settings = {}
    for order, option in enumerate(options.describe()):
        schema = {key: value for key, value in option.items() if key not in ("name", "description")}
        name = option["name"]
        scope = "machine" if name in SECRET else "machine-overridable" if name in MACHINE else "window"
        settings[f"{options.SECTION}.{name}"] = {
            **schema,
            "markdownDescription": option["description"],
            "scope": scope,
            "order": order,
        }
    return settings


def updated(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the server's settings in place of those that it holds."""
    prefix = f"{options.SECTION}."
    editor, server = manifest["contributes"]["configuration"]
    trust = manifest["capabilities"]["untrustedWorkspaces"]
    kept = [name for name in trust["restrictedConfigurations"] if not name.startswith(prefix)]
    restricted = kept + [prefix + name for name in RESTRICTED]
    return {
        **manifest,
        "capabilities": {
            **manifest["capabilities"],
            "untrustedWorkspaces": {**trust, "restrictedConfigurations": restricted},
        },
        "contributes": {
            **manifest["contributes"],
            "configuration": [editor, {**server, "properties": properties()}],
        },
    }


def main(arguments: list[str]) -> int:
    """Rewrite the manifest; with `--check` only say whether that would change it."""
    text = MANIFEST.read_text(encoding="utf-8")
    wanted = json.dumps(updated(json.loads(text)), indent=2, ensure_ascii=False) + "\n"
    if arguments == ["--check"]:
        if wanted == text:
            return 0
        sys.stderr.write(
            "package.json is behind the server's options; run python editors/vscode/settings.py\n"
        )
        return 1
    MANIFEST.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
