"""The body of `POST /v1/completions`: the request for completions of a prompt.

`heal`, `branch`, `priority`, `echo_from`, `files`, `path`, `draft` and `words` extend OpenAI's API. An engine that
understands them lists them under `"extensions"` in `/v1/models`; clients leave them out of requests to other servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codegen_lsp.wire.fill.formats import FileText

PromptInput = str | tuple[int, ...]
"""One prompt: text, or token ids."""

FIRST_EXTENSIONS = ("heal", "branch", "priority", "echo_from")
"""Request fields of this project's own that every engine of it understands."""
EXTENSIONS = (*FIRST_EXTENSIONS, "files", "path", "draft", "words")
"""Request fields that are this project's own."""

MAX_N = 16
MAX_LOGPROBS = 20
MAX_STOPS = 16
MAX_PROMPTS = 64
MAX_FILES = 256
MAX_WORDS, MAX_WORD = 2000, 200
"""Maximum number of words, and of characters of each."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """The body of `POST /v1/completions`."""

    prompts: tuple[PromptInput, ...]
    """Texts to continue. Several prompts give `len(prompts) * n` choices, those of the first prompt first."""
    suffix: str = ""
    """The text after the place to complete. A model that can fill in the middle reads it too; a completion that runs
    into it ends there with every model. If both are too long together, the parts farthest from the place go first."""
    model: str | None = None
    """Name of the model; None takes the server's only one."""
    max_tokens: int = 16
    """Maximum number of tokens to decode per row. 0 only prefills, to warm the prefix cache or to score with `echo`."""
    n: int = 1
    """Number of rows (candidates) per prompt."""
    temperature: float = 1.0
    """Sampling temperature; 0 decodes greedily."""
    top_p: float = 1.0
    """Nucleus sampling: sample from the smallest set of tokens whose probabilities add up to this value."""
    stop: tuple[str, ...] = ()
    """Strings that end a row; its text ends before the first of them."""
    seed: int | None = None
    """Row i of a request with seed s is the row of a request with n=1 and seed s + i."""
    logprobs: int | None = None
    """Return log-probabilities of the tokens, and of this number of most likely alternatives at each position."""
    echo: bool = False
    """Also return the prompt, with the log-probabilities of its tokens if `logprobs` is set."""
    stream: bool = False
    """Answer with server-sent events, one chunk per step."""
    include_usage: bool = False
    """`stream_options.include_usage`: the last chunk has the usage, and no choices."""
    continuous_usage: bool = False
    """`stream_options.continuous_usage_stats`: every chunk has the usage so far."""
    heal: bool = False
    """Extension. Token healing: remove the last tokens of the prompt, which may be half of a longer one, and decode
    only tokens that spell their text again. The text of the choices starts after the prompt, as without healing."""
    branch: bool = False
    """Extension. The rows share out the likely continuations: row 0 is the greedy one, the others part from it and from
    each other where the model is in doubt, and never begin with what would end them at once. A row continues at
    `temperature` when no other has the same tokens."""
    priority: int = 0
    """Extension. Lower is served first; requests of 1 and above run only while none of 0 and below is waiting."""
    echo_from: int = 0
    """Extension. With `echo`: the echoed part starts at the token that contains this character of the prompt."""
    files: tuple[FileText, ...] = ()
    """Extension. Texts of other files, which come before the prompt with the separators of the model's family."""
    path: str = ""
    """Extension. With `files`: the path of the file that the prompt is part of."""
    draft: str = ""
    """Extension. A text that the completion probably has parts of, such as the rest of a suggestion that was shown. Its
    tokens are verified several at a time, which saves time and never changes the completion."""
    words: tuple[str, ...] = ()
    """Extension. The completion begins with one of these words, and the word ends there: a letter, digit or underscore
    does not follow it. Each is the continuation of what the prompt ends with; an empty one says that this may be a
    whole word already. Where the model's vocabulary can spell none of them, they are without effect."""

    session: str = ""
    """Sent as the header `x-session-id` to servers on the network, not in the body: names the document, see
    `transport.session_id`."""

    def to_json(self, *, extensions: bool = True) -> dict[str, Any]:
        """Return the body to send, without the extensions for a server of another project."""
        prompt: Any = [p if isinstance(p, str) else list(p) for p in self.prompts]
        body: dict[str, Any] = {
            "prompt": prompt[0] if len(prompt) == 1 else prompt,
            "max_tokens": self.max_tokens,
            "n": self.n,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        optional: dict[str, Any] = {
            "suffix": self.suffix or None,
            "model": self.model,
            "stop": list(self.stop) or None,
            "seed": self.seed,
            "logprobs": self.logprobs,
            "echo": self.echo or None,
            "stream": self.stream or None,
        }
        if self.stream and (self.include_usage or self.continuous_usage):
            optional["stream_options"] = {"include_usage": self.include_usage}
            if self.continuous_usage and extensions:
                optional["stream_options"]["continuous_usage_stats"] = True
        if extensions:
            optional |= {"heal": self.heal or None, "branch": self.branch or None}
            optional |= {"priority": self.priority or None, "echo_from": self.echo_from or None}
            files = [{"path": file.path, "text": file.text} for file in self.files]
            optional |= {"files": files or None, "path": self.path or None, "draft": self.draft or None}
            optional |= {"words": list(self.words) or None}
        return body | {k: v for k, v in optional.items() if v is not None}
