;;; codegen-lsp-models.el --- Names of the models  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Written by editors/generate.py.

;;; Code:

(defconst codegen-lsp-models
  '("nano"
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
    "16B-nl")
  "Names that `codegen-lsp-select-model' offers.")

(provide 'codegen-lsp-models)
;;; codegen-lsp-models.el ends here
