"""Ask an engine with OpenAI's own client: `python examples/openai_client.py http://127.0.0.1:8010 TOKEN`.

Start the engine with `codegen-lsp serve --port 8010 --token TOKEN`, on this machine or, with `--host`, on another one.
"""

from __future__ import annotations

import sys

from openai import OpenAI

PROMPT = "import os\n\n\nif __name__ =="


def main(url: str, token: str) -> None:
    """Print the models of an engine, then a completion of `PROMPT` while it is being written."""
    with OpenAI(base_url=f"{url}/v1", api_key=token) as client:
        model = next(iter(client.models.list())).id
        print(f"model: {model}")
        chunks = client.completions.create(
            model=model, prompt=PROMPT, max_tokens=16, temperature=0, stop="\n", stream=True
        )
        print(PROMPT, end="")
        for chunk in chunks:
            if chunk.choices:
                print(chunk.choices[0].text, end="", flush=True)
        print()


if __name__ == "__main__":
    main(*sys.argv[1:])
