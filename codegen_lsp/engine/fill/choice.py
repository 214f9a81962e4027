"""Decide at load how a model is asked for a middle: by its family, the probe, and the user's setting."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints import fill_verdicts as verdicts
from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.fill import assembly
from codegen_lsp.engine.fill.probe import probe
from codegen_lsp.engine.model.model import Model
from codegen_lsp.wire.config import EngineConfig, option
from codegen_lsp.wire.errors import ConfigError
from codegen_lsp.wire.fill import families
from codegen_lsp.wire.fill.description import described, named_format
from codegen_lsp.wire.fill.formats import FillChoice, FillFormat

log = logging.getLogger(__name__)

DECLARATION = "fill_in_the_middle"
"""The key of a checkpoint's `config.json` under which it describes its own format."""


def choose(model: Model, config: EngineConfig, checkpoint: Path) -> FillChoice | None:
    """Return how a loaded model is asked for a middle; None if it has no tokens for that.

    The probe's verdict about a checkpoint is kept, so that the probe runs once.

    Raises:
        CheckpointError: the format that the user named is wrong, or the model lacks its tokens.
    """
    fill_format = _format(model, config)
    if fill_format is None:
        return None
    if config.fill_in_the_middle == "never":
        return FillChoice(fill_format, None, reason="switched off")
    if fill_format.left_to_right and config.fill_in_the_middle == "auto":
        return FillChoice(fill_format, None, reason="its description prefers left to right")
    choice = verdicts.recall(checkpoint, fill_format)
    if choice is None:
        choice = probe(model, fill_format)
        verdicts.remember(checkpoint, choice)
    log.info("fill-in-the-middle of %s (%s): %s", model.name, fill_format.family, choice.reason)
    if config.fill_in_the_middle == "always" and choice.order is None:
        order = max(fill_format.orders, key=lambda name: choice.scores.get(name, -math.inf))
        return FillChoice(fill_format, order, choice.scores, f"forced, although {choice.reason}")
    return choice


def _format(model: Model, config: EngineConfig) -> FillFormat | None:
    """Return the format of the user, of the model's own configuration, or of its family."""
    declared: Any = getattr(model.module.config, DECLARATION, None)
    try:
        if config.fim_format:
            return _fitting(model, named_format(config.fim_format))
        if declared is not None:
            return _fitting(model, described(declared))
    except ConfigError as error:
        if config.fim_format:
            raise CheckpointError(f"{error}; set another {option('fim-format', 'FILE')}") from error
        log.warning("the configuration of %s describes no format to fill with: %s", model.name, error)
    return families.detect(lambda token: assembly.id_of(model.vocabulary, token))


def _fitting(model: Model, fill_format: FillFormat) -> FillFormat:
    """Return a format if the model has its tokens.

    Raises:
        ConfigError: it lacks some.
    """
    lacking = ", ".join(assembly.missing(model.vocabulary, fill_format))
    if lacking:
        raise ConfigError(
            f"{model.name} has no token {lacking}, which the format {fill_format.family} requires"
        )
    return fill_format
