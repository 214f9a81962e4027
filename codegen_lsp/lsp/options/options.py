"""What a user can set: one frozen dataclass, read from `initializationOptions` and the section `codegen` of settings.

An annotation gives an option's type, bounds and whether a workspace may choose it; the string below describes it. The
settings in README and in VS Code's `package.json` are written from here, see `option_docs`. A bad value never stops
the server: it gives one sentence, and the default applies.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from msgspec import Meta

from codegen_lsp.lsp.options.option_types import (
    CACHE_SIZE,
    EXCLUDES_ABOVE,
    EXCLUDES_CHOICE,
    EXCLUDES_IF_FALSE,
    EXCLUDES_LANGUAGES,
    EXCLUDES_PATTERNS,
    USER_ONLY,
    DeviceMapText,
    Languages,
    MaxMemoryText,
    ModelText,
    NameText,
    Option,
    OtherFilesChoice,
    Patterns,
    ServerText,
    TokenText,
    bytes_written_as,
    never,
)
from codegen_lsp.wire.config import DType, EngineConfig, Quantize, expanded
from codegen_lsp.wire.errors import ConfigError
from codegen_lsp.wire.fill.formats import FillMode
from codegen_lsp.wire.transport.http import is_loopback

SECTION = "codegen"
"""The section of `workspace/configuration` and of an editor's settings file."""

TOO_SMALL = ("nano", "smollm2-135m")
"""Models that get no more lines right with other files in the prompt (`codegen-lsp eval crossfile`)."""

IGNORED = ("editorInfo", "editorPluginInfo", "trace", "connectionToken", "filtersWorkspaceSettings")
"""Keys that clients send in addition to settings."""

FILTERED = "filtersWorkspaceSettings"
"""Initialization option of a client that never passes on a workspace's value of a restricted option.

LSP doesn't tell the settings of a user from those of a workspace: the answer to `workspace/configuration`, with
`scopeUri` and without it, and the content of `workspace/didChangeConfiguration` are what the client has merged. Only
`initializationOptions` belong to those who configured the command of the server. So restricted options are accepted
from there alone, unless the client vouches for its settings with this key.
"""

WORKSPACE = "workspaceSettings"
"""Key under which such a client passes on what a workspace has chosen, apart from what the user has."""


@dataclass(frozen=True)
class Options:
    """All settings; JSON names are in camel case."""

    enabled: Annotated[bool, EXCLUDES_IF_FALSE] = True
    """Give suggestions. If false, nothing is answered and no engine is started."""
    inline: Annotated[bool, EXCLUDES_IF_FALSE] = True
    """Answer requests for ghost text (`textDocument/inlineCompletion`)."""
    menu: Annotated[bool, EXCLUDES_IF_FALSE] = True
    """Offer suggestions in the completion menu (`textDocument/completion`)."""
    write_body: Annotated[bool, EXCLUDES_IF_FALSE] = True
    """Offer the code action *Write the body* on functions with a docstring and on comments."""
    languages: Annotated[Languages, EXCLUDES_LANGUAGES] = field(default_factory=lambda: {"*": True})
    """Languages in which to give suggestions, by language id; `*` stands for every id that is not listed."""
    max_file_size: Annotated[int, bytes_written_as("1MiB"), EXCLUDES_ABOVE] = 2**20
    """Maximum size of a file in which to give suggestions."""
    candidates: Annotated[int, Meta(ge=1, le=10)] = 3
    """Number of suggestions to generate per request; an editor can cycle through them. A server on the network writes
    one while you type. When you ask by hand, a few more are generated."""
    max_tokens_line: Annotated[int, Meta(ge=1, le=512)] = 40
    """Maximum number of tokens in a single-line suggestion."""
    max_tokens_block: Annotated[int, Meta(ge=1, le=1024)] = 128
    """Maximum number of tokens in a suggestion of several lines."""
    max_tokens_body: Annotated[int, Meta(ge=16, le=1536)] = 384
    """Maximum number of tokens that *Write the body* generates."""
    prompt_tokens: Annotated[int, Meta(ge=256, le=2**20)] = 2048
    """Maximum number of tokens in a prompt, together with its suggestion, if the model can read more. With more it
    knows more of a long file, and takes longer for the first suggestion there."""
    multiline: Literal["auto", "never", "always"] = "auto"
    """When to suggest several lines: if the code at the cursor calls for a block, never, or always."""
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.35
    """Minimum mean probability of a suggestion's tokens; ignored if you ask for a suggestion explicitly."""
    debounce: Annotated[int, Meta(ge=0, le=5000)] = 0
    """Milliseconds to wait for another keystroke before a request is sent to the model."""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    """Sampling temperature; 0 takes the most likely tokens. Servers of other projects sample at 0.4 instead of 0 what
    they write in addition to the most likely suggestion."""
    top_p: Annotated[float, Meta(ge=0.01, le=1)] = 0.95
    """Sample from the smallest set of tokens whose probabilities add up to this value; not used at temperature 0."""
    suffix_ranking: bool = True
    """Also rank suggestions by how likely they make the text after the cursor; costs a short second request. Models
    that fill in the middle read that text instead, except those whose description asks for both."""
    warm: Annotated[bool, EXCLUDES_IF_FALSE] = True
    """Read a file into the model's cache when it is opened, focused or changed above the cursor."""
    other_files: Annotated[OtherFilesChoice, EXCLUDES_CHOICE] = "auto"
    """Show the model what other files of the workspace say: definitions that the current file imports. `auto` does so
    unless the model is nano or smollm2-135m, which gain nothing from it, or `server` is another machine; with `always`,
    the text of other files is sent to that machine too. `never` doesn't read other files at all."""
    similar_files: Annotated[bool, EXCLUDES_IF_FALSE] = False
    """Also show it passages of open and recently edited files that are like the code at the cursor."""
    other_files_share: Annotated[float, Meta(ge=0, le=0.5), EXCLUDES_ABOVE] = 0.25
    """Maximum part of a prompt for other files; they get only what the current file leaves."""
    other_files_limit: Annotated[int, Meta(ge=1, le=1000), EXCLUDES_ABOVE] = 40
    """Maximum number of other files to read for one file."""
    other_file_size: Annotated[int, bytes_written_as("256KiB"), EXCLUDES_ABOVE] = 2**18
    """Size of the largest other file to read."""
    exclude: Annotated[Patterns, EXCLUDES_PATTERNS] = ()
    """Patterns, as in `.gitignore`, of files that are never shown to a model and in which nothing is suggested. They
    add to those of environment files, keys, certificates and credentials, and to what `.gitignore` names; `!PATTERN`
    takes back."""
    timeout: Annotated[int, Meta(ge=1, le=3600)] = 60
    """Maximum number of seconds to wait for the engine to send something."""
    fill_in_the_middle: Annotated[FillMode, USER_ONLY] = "auto"
    """Let the model read the text after the cursor: if it was trained for that, always, or never."""
    fim_format: Annotated[NameText, USER_ONLY] = ""
    """Family of the model's fill-in-the-middle tokens, or a JSON file that describes them; empty detects it."""
    model: Annotated[ModelText, USER_ONLY] = "nano"
    """Model of the local engine: nano, smollm2-135m, a CodeGen name from 350M-mono to 16B-nl, a name on the Hugging
    Face hub, a folder, or a GGUF file."""
    revision: Annotated[NameText, USER_ONLY] = ""
    """Branch, tag or commit of the model on the hub; empty takes the default branch."""
    dtype: Annotated[DType, USER_ONLY] = "auto"
    """Number format of the weights; auto takes bfloat16 if the hardware computes in it."""
    quantize: Annotated[Quantize, USER_ONLY] = "auto"
    """Number format of the weights in memory; auto takes int8 where the processor is faster with it and it is
    accurate, none keeps the checkpoint's weights."""
    device_map: Annotated[DeviceMapText, USER_ONLY] = "auto"
    """Where to place the layers: auto, balanced, balanced_low_0, sequential, cpu, cuda:0, or a JSON file."""
    max_memory: Annotated[MaxMemoryText, USER_ONLY] = field(default_factory=dict)
    """Maximum memory for weights per device, written as `0=20GiB,cpu=16GiB`."""
    offload_folder: Annotated[NameText, USER_ONLY] = ""
    """Folder for layers that fit into no device's memory."""
    prefix_cache: Annotated[int | None, CACHE_SIZE, USER_ONLY] = None
    """Maximum memory for the keys and values of text that the model has already read; auto allows 12 full
    contexts, up to 1 GiB."""
    threads: Annotated[int, Meta(ge=0, le=1024), USER_ONLY] = 0
    """Number of the engine's processor threads; 0 leaves it to torch."""
    allow_pickle: Annotated[bool, USER_ONLY] = False
    """Load checkpoints that contain pickles. These can run code, so allow it only for sources that you trust."""
    idle_timeout: Annotated[int, Meta(ge=0, le=7 * 86400), USER_ONLY] = 900
    """Seconds without requests after which the engine exits and frees its memory; 0 keeps it running."""
    server: Annotated[ServerText, USER_ONLY] = ""
    """Address of a completions server to use instead of an engine on this machine; of several, separated by commas, the
    next one is used from when one can't be reached. Your code is sent there."""
    server_model: Annotated[NameText, USER_ONLY] = ""
    """Name of the model to request from that server; empty takes the first one that the server lists."""
    token: Annotated[TokenText, USER_ONLY] = ""
    """Bearer token for that server; empty takes the environment's CODEGEN_LSP_TOKEN."""
    log_level: Literal["error", "warning", "info", "debug"] = "warning"
    """What the language server writes to its log (standard error)."""

    def serves(self, language: str) -> bool:
        """Return whether suggestions are wanted in this language."""
        return self.languages.get(language, self.languages.get("*", True))

    @property
    def shows_other_files(self) -> bool:
        """Whether the model is shown other files: by default if it gains from them and they stay on this machine."""
        if self.other_files == "auto":
            return is_loopback(self.server) if self.server else self.model not in TOO_SMALL
        return self.other_files == "always"

    @property
    def tells_names(self) -> bool:
        """Whether the model may be told names of other files: by default if they stay on this machine."""
        return self.other_files != "auto" or not self.server or is_loopback(self.server)

    def engine_config(self) -> EngineConfig:
        """Return the configuration of the local engine for these options, with absolute paths."""
        return EngineConfig(
            model=_absolute(self.model),
            revision=self.revision or None,
            dtype=self.dtype,
            quantize=self.quantize,
            device_map=_absolute(self.device_map) if self.device_map.endswith(".json") else self.device_map,
            max_memory=dict(self.max_memory),
            offload_folder=_absolute(self.offload_folder, always=True) if self.offload_folder else None,
            prefix_cache=self.prefix_cache,
            threads=self.threads,
            allow_pickle=self.allow_pickle,
            # An engine that may fill serves both: whether it is asked to is decided here.
            fill_in_the_middle="always" if self.fill_in_the_middle == "always" else "auto",
            fim_format=_absolute(self.fim_format) if self.fim_format.endswith(".json") else self.fim_format,
        )


def _absolute(name: str, *, always: bool = False) -> str:
    path = expanded(name)
    looks_local = (
        always or name.startswith((".", "~")) or path.is_absolute() or name.endswith((".json", ".gguf"))
    )
    # A bare name such as `nano` means the model, even if a folder has the same name.
    return str(path.resolve()) if looks_local else name


@cache
def by_json_name() -> dict[str, Option]:
    """Return the options by their names in JSON."""
    hints = get_type_hints(Options, include_extras=True)
    default = Options()
    options = (
        Option.of(each.name, hints[each.name], getattr(default, each.name)) for each in fields(Options)
    )
    return {option.json_name: option for option in options}


def restricted() -> tuple[str, ...]:
    """Return the JSON names of the options that a workspace may never choose."""
    return tuple(name for name, option in by_json_name().items() if option.stricter is never)


def exclusions() -> tuple[str, ...]:
    """Return the JSON names of the options that a workspace may make stricter, and not weaker."""
    return tuple(name for name, option in by_json_name().items() if option.stricter not in (never, None))


def filters_workspace_settings(initial: object) -> bool:
    """Return whether a client's initialization options vouch for its settings, see `FILTERED`."""
    return isinstance(initial, dict) and initial.get(FILTERED) is True


def parse_layers(answer: object, base: Options) -> tuple[Options, tuple[str, ...]]:
    """Return the options after a client's answer to `workspace/configuration` has been laid over `base`.

    The client keeps apart what the user has chosen and, under `WORKSPACE`, what the workspace has, which isn't trusted.
    A section within the section is not unwrapped: a client that leaves out names of settings may not look into it.
    """
    if not isinstance(answer, dict):
        return parse(answer, base)
    workspace = answer.get(WORKSPACE)
    users = {key: value for key, value in answer.items() if key not in (WORKSPACE, SECTION)}
    options, problems = parse(users, base)
    options, others = parse(workspace, options, trusted=False)
    return options, _shortened([*problems, *others])


def parse(
    settings: object, base: Options | None = None, *, trusted: bool = True
) -> tuple[Options, tuple[str, ...]]:
    """Return the options after `settings` have been laid over `base`, and a sentence for each thing that was wrong.

    A key that is absent keeps what `base` has; null, or a bad value, gives the default. Settings that a workspace may
    have chosen are not `trusted`: they can't change a restricted option, and can't make an exclusion weaker.
    """
    base = base or Options()
    if settings is None:
        return base, ()
    if not isinstance(settings, dict):
        return base, (f"The settings must be an object, not {_describe(settings)}; they are ignored.",)
    problems: list[str] = []
    values: dict[str, Any] = {}
    for key, value in _flat(settings).items():
        option = by_json_name().get(key)
        if option is None:
            problems += [] if key in IGNORED else [_unknown(key)]
            continue
        chosen = option.default
        try:
            if value is not None:
                chosen = option.read(value)
        except ConfigError as error:
            problems.append(_bad(key, value, option, error))
        if not trusted and option.stricter is not None:
            previous = getattr(base, option.name)
            if option.stricter is never and value is not None and chosen != previous:
                problems.append(_refused(key))
            chosen = option.stricter(previous, chosen)
        values[option.name] = chosen
    options = replace(base, **values)
    if options.token and options.token == base.token and options.server != base.server:
        options = replace(options, token="")
        problems.append(TOKEN_DROPPED)
    return options, _shortened(problems)


TOKEN_DROPPED = (
    f"Setting {SECTION}.token was given for another address than that of {SECTION}.server, so it is not sent; "
    f"set both in the same place."
)

MAX_PROBLEMS = 20
"""Maximum number of sentences about one set of settings."""


def _shortened(problems: list[str]) -> tuple[str, ...]:
    if len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    return (*problems[:MAX_PROBLEMS], f"{len(problems) - MAX_PROBLEMS:,} more settings are wrong.")


def _refused(key: str) -> str:
    return (
        f"Setting {SECTION}.{key} is ignored, because a workspace could have chosen it; "
        f"set it in the editor's initialization options of codegen-lsp."
    )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings without the section that some clients wrap them in."""
    nested = settings.get(SECTION)
    if not isinstance(nested, dict):
        return settings
    return {key: value for key, value in settings.items() if key != SECTION} | nested


def _bad(key: str, value: object, option: Option, error: Exception) -> str:
    reason = str(error).rstrip(".")
    shown = "" if ", got " in reason or key == "token" else f"; got {_describe(value)}"
    return f"Setting {SECTION}.{key}{reason}{shown}, so the default {option.shown_default!r} is used."


def _describe(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # An integer of thousands of digits, a list a thousand levels deep.
        return "a value that is too long to show"
    text = re.sub(r"//[^/]*@", "//...@", text)  # the password of an address
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key[:60], list(by_json_name()), n=1, cutoff=0.5)
    hint = f"; did you mean {SECTION}.{near[0]}?" if near else "."
    return f"Setting {SECTION}.{key[:60]} is not known{hint}"
