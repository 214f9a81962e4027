"""Evaluations: HumanEval, MTPB, single-line infilling, a typing replay, likelihood and features.

Evaluations are clients. They ask an engine over HTTP, or start the real language server and type into it, so that
they run against a remote server as well as against this machine's engine. Infilling runs the language server's
suggestion pipeline in this process, with the same filters and ranking that editors get.

    benchmarks ──▶ harness ──▶ codegen_lsp.wire
        │             │
        └─────────────┴──────▶ sandbox (the only place where generated code runs)
"""
