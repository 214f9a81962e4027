"""The language server: turns documents into prompts and continuations into ranked edits.

Never imports torch, transformers or accelerate.
"""
