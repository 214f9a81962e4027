"""The engine: owns the model, the prefix cache and the decoding, and serves them over HTTP.

Never imports `codegen_lsp.lsp`, pygls or lsprotocol. Both sides share `codegen_lsp.wire`. Inside, imports point down:
`http`, `worker`, `decode`, `model`, `checkpoints`.
"""
