"""The beginning of a session and the changes of its settings."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codegen_lsp.lsp import options
from codegen_lsp.lsp.language_server import CodegenServer


def initialize(server: CodegenServer, params: types.InitializeParams) -> None:
    """Read the initialization options; they apply once the client is initialized."""
    server.initial_options, server.initial_problems = options.parse(params.initialization_options)


async def initialized(server: CodegenServer, _: Any) -> None:
    """Report the status and apply the client's settings, now and whenever they change."""
    server.session.board.update()
    if server.supports("workspace", "did_change_configuration", "dynamic_registration"):
        server.spawn(_watch_settings(server))
    await server.configure()


async def did_change_configuration(server: CodegenServer, params: types.DidChangeConfigurationParams) -> None:
    """Apply settings that the client pushed, or pull them."""
    pushed = params.settings
    await server.configure(pushed.get(options.SECTION) if isinstance(pushed, dict) else pushed)


async def _watch_settings(server: CodegenServer) -> None:
    registration = types.Registration(
        id="codegen-settings",
        method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
        register_options=types.DidChangeConfigurationRegistrationOptions(section=options.SECTION),
    )
    await server.client_register_capability_async(types.RegistrationParams(registrations=[registration]))
