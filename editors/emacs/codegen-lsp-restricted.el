;;; codegen-lsp-restricted.el --- Settings of the user alone  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Written by editors/generate.py.

;;; Code:

(defconst codegen-lsp-restricted-settings
  '(:fillInTheMiddle
    :fimFormat
    :model
    :revision
    :dtype
    :quantize
    :deviceMap
    :maxMemory
    :offloadFolder
    :prefixCache
    :threads
    :allowPickle
    :idleTimeout
    :server
    :serverModel
    :token)
  "Settings that a directory may never choose.")

(provide 'codegen-lsp-restricted)
;;; codegen-lsp-restricted.el ends here
