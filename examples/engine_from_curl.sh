#!/usr/bin/env bash
# The engine without an editor: start one on a unix socket and ask it with curl. The API is that of OpenAI's completions.
set -euo pipefail

folder=$(mktemp -d)
codegen-lsp serve --model nano --socket "$folder/engine.sock" >/dev/null 2>"$folder/engine.log" &
engine=$!
trap 'kill "$engine" && wait "$engine" || true; rm -r "$folder"' EXIT

ask() { curl --silent --fail --unix-socket "$folder/engine.sock" "http://engine$1" "${@:2}"; }

# The socket is there within a second, the model a few seconds later.
until ask /health 2>/dev/null | grep --quiet '"ready"'; do
    kill -0 "$engine" || { cat "$folder/engine.log" >&2; exit 1; }
    sleep 0.2
done

ask /v1/models
echo

# The rest of a line, with the probability of each token.
ask /v1/completions --header 'content-type: application/json' --data '{
  "prompt": "import os\n\n\nif __name__ ==",
  "max_tokens": 8, "temperature": 0, "stop": ["\n"], "logprobs": 1
}'
echo
