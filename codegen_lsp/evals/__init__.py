"""What the model card promises, as commands: HumanEval, MTPB, infilling, a typing replay, likelihood, features.

Everything here is a client: it asks an engine, or a language server, over its public door, and so runs against a
remote server as well as against this machine's. Generated code runs in `sandbox.py` and nowhere else.
"""
