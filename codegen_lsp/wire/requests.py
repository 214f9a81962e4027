"""The body of `POST /v1/completions`: what the language server asks an engine for.

Fields beyond OpenAI's, which only this project's engine understands (`/v1/models` says so with `"extensions"`):
`heal`, `branch`, `priority`, `echo_from`. A client leaves them out when it speaks to another server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PromptInput = str | tuple[int, ...]
"""One prompt: text, or token ids."""

EXTENSIONS = ("heal", "branch", "priority", "echo_from")
"""Request fields that are this project's own."""

MAX_N = 16
MAX_LOGPROBS = 20
MAX_STOPS = 16
MAX_PROMPTS = 64


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """The body of `POST /v1/completions`."""

    prompts: tuple[PromptInput, ...]
    """What to continue. Several prompts give `len(prompts) * n` choices, the first prompt's first."""
    model: str | None = None
    """The model's name; None takes the server's only one."""
    max_tokens: int = 16
    """Tokens to decode at most, a row. 0 prefills only: it warms the prefix cache, and scores with `echo`."""
    n: int = 1
    """Rows (candidates) a prompt."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus: sample from the fewest tokens whose probability reaches this."""
    stop: tuple[str, ...] = ()
    """Strings that end a row; the text ends before the first of them."""
    seed: int | None = None
    """Row i of a request with seed s draws what a request with n=1 and seed s + i draws."""
    logprobs: int | None = None
    """Log-probabilities of the tokens, and of that many most likely others at each place."""
    echo: bool = False
    """Give the prompt back too, with its tokens' log-probabilities where `logprobs` is set."""
    stream: bool = False
    """Answer as server-sent events, a chunk a step."""
    include_usage: bool = False
    """`stream_options.include_usage`: a last chunk with no choices holds the usage."""
    continuous_usage: bool = False
    """`stream_options.continuous_usage_stats`: every chunk holds the usage so far."""
    heal: bool = False
    """Extension. Token healing: the prompt's ragged last tokens are given back, and decoding chooses only
    tokens that spell their text again. The choices' text starts after the prompt, as without it."""
    branch: bool = False
    """Extension. Row i starts with the i-th most likely first token (after healing); from there on each row
    decodes as `temperature` says. At temperature 0 the rows are distinct and row 0 is the greedy one."""
    priority: int = 0
    """Extension. Lower is served first; one of 1 and above runs only while none of 0 and below waits."""
    echo_from: int = 0
    """Extension. With `echo`: the echoed part starts at the token that holds this character of the prompt."""

    def to_json(self, *, extensions: bool = True) -> dict[str, Any]:
        """The body to send; without the extensions for a server that is not ours."""
        prompt: Any = [p if isinstance(p, str) else list(p) for p in self.prompts]
        body: dict[str, Any] = {
            "prompt": prompt[0] if len(prompt) == 1 else prompt,
            "max_tokens": self.max_tokens,
            "n": self.n,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        optional: dict[str, Any] = {
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
        return body | {k: v for k, v in optional.items() if v is not None}
