"""CodeGen for other engines: the same weights as a Phi folder (vLLM, SGLang) or a GGUF file (llama.cpp, Ollama)."""
