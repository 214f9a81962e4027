;;; codegen-lsp-models.el --- Names of the models  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Written by editors/generate.py.

;;; Code:

(defconst codegen-lsp-models
  '("nano"
    "smollm2-135m"
    "350M-mono"
    "350M-multi"
    "350M-nl"
    "2B-mono"
    "2B-multi"
    "2B-nl"
    "6B-mono"
    "6B-multi"
    "6B-nl"
    "16B-mono"
    "16B-multi"
    "16B-nl"
    "Salesforce/codegen2-1B_P"
    "Salesforce/codegen2-3_7B_P"
    "Salesforce/codegen2-7B_P"
    "Salesforce/codegen2-16B_P"
    "tiiuae/Falcon-H1-Tiny-Coder-90M"
    "Qwen/Qwen2.5-Coder-0.5B"
    "Qwen/Qwen2.5-Coder-1.5B"
    "Qwen/Qwen2.5-Coder-3B"
    "Qwen/Qwen2.5-Coder-7B"
    "bigcode/starcoder2-3b"
    "deepseek-ai/deepseek-coder-1.3b-base"
    "ibm-granite/granite-3b-code-base-2k")
  "Names that `codegen-lsp-select-model' offers.")

(provide 'codegen-lsp-models)
;;; codegen-lsp-models.el ends here
