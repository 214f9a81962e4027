"""The beginning of a session and the changes of its settings."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from lsprotocol import types

from codegen_lsp.lsp.options import options
from codegen_lsp.lsp.session.language_server import CodegenServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psutil

logger = logging.getLogger(__name__)

INITIALIZED_SECONDS = 5.0
"""How long to wait for `initialized` after `initialize`, in seconds."""
WATCH_SECONDS = 2.0
"""Seconds between two looks at the editor's process."""


def initialize(server: CodegenServer, params: types.InitializeParams) -> None:
    """Read the initialization options; they apply once the client is initialized."""
    initial = params.initialization_options
    server.initial_options, server.initial_problems = options.parse(initial)
    server.trusts_settings = options.filters_workspace_settings(initial)


async def initialized(server: CodegenServer, _: Any) -> None:
    """Report the status and apply the client's settings, now and whenever they change."""
    server.is_initialized = True
    server.session.board.update()
    if server.supports("workspace", "did_change_configuration", "dynamic_registration"):
        server.spawn(_watch_settings(server))
    await server.configure()


async def did_change_configuration(server: CodegenServer, params: types.DidChangeConfigurationParams) -> None:
    """Apply settings that the client pushed, or pull them."""
    pushed = params.settings
    await server.configure(pushed.get(options.SECTION) if isinstance(pushed, dict) else pushed)


async def expect_initialized(server: CodegenServer) -> None:
    """Start without the client's settings, and say so, if the client does not send `initialized`."""
    await asyncio.sleep(INITIALIZED_SECONDS)
    if server.is_initialized or not server.protocol.begun():
        return
    server.say(
        "the editor has not sent the notification `initialized`, so its settings are not known; "
        "suggestions start with the initialization options."
    )
    server.session.board.update()
    await server.apply_initial_options()


async def watch_editor(server: CodegenServer) -> None:
    """End when the editor's process has ended, even if something else keeps its end of the pipe open."""
    import psutil

    try:
        editor = psutil.Process(server.process_id or 0)
    except psutil.Error as error:  # For example the number of a process outside this container.
        logger.info("the editor's process can't be watched: %s", error)
        return
    while _runs(editor):  # noqa: ASYNC110  # The end of a process that is not our child sets no event.
        await asyncio.sleep(WATCH_SECONDS)
    logger.warning("the editor's process %s has ended", server.process_id)
    server.protocol.on_exit()


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


async def _watch_settings(server: CodegenServer) -> None:
    registration = types.Registration(
        id="codegen-settings",
        method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
        register_options=types.DidChangeConfigurationRegistrationOptions(section=options.SECTION),
    )
    await server.client_register_capability_async(types.RegistrationParams(registrations=[registration]))
