"""The engine: owns the model, the prefix cache and the decoding; serves them over HTTP.

Never imports pygls or lsprotocol. `config` is standard library only and may be imported by either side.
"""
