"""A fake of the Python extension (ms-python.python), which is not on npm.

It has the part of the API that our extension uses: the active environment, and the event of its change. A test
selects an interpreter by writing its path to a file.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

FILE_VARIABLE = "CODEGEN_LSP_TEST_PYTHON"
"""The environment variable with the path of the file."""

MANIFEST = {
    "name": "python",
    "publisher": "ms-python",
    "version": "2026.1.0",
    "engines": {"vscode": "^1.93.0"},
    "main": "./extension.js",
    "activationEvents": [],
    "capabilities": {"untrustedWorkspaces": {"supported": True}},
}

SCRIPT = f"""
const fs = require('node:fs')
const vscode = require('vscode')

exports.activate = () => {{
  const file = process.env.{FILE_VARIABLE}
  const changed = new vscode.EventEmitter()
  fs.watchFile(file, {{ interval: 200 }}, () => changed.fire({{}}))
  const selected = () => fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim() : ''
  return {{
    ready: Promise.resolve(),
    environments: {{
      getActiveEnvironmentPath: () => ({{ id: 'selected', path: selected() }}),
      resolveEnvironment: async ({{ path }}) =>
        path === '' ? undefined : {{ executable: {{ uri: vscode.Uri.file(path) }} }},
      onDidChangeActiveEnvironmentPath: changed.event,
    }},
  }}
}}
"""


def build(vsix: Path) -> Path:
    """Write the extension as a package for VS Code, and return its path."""
    with zipfile.ZipFile(vsix, "w") as package:
        package.writestr("extension/package.json", json.dumps(MANIFEST))
        package.writestr("extension/extension.js", SCRIPT)
    return vsix
