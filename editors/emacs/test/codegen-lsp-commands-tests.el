;;; codegen-lsp-commands-tests.el --- Tests of the mode line and the commands  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; The text in the mode line for each status, and pausing.

;;; Code:

(require 'codegen-lsp-test-helper)

(ert-deftest codegen-lsp-tests-the-mode-line-shows-the-state ()
  (codegen-lsp-tests-with "|"
    (cl-flet ((shown () (codegen-lsp-tests-lighter))
              (status (state kind &optional percent)
                (let ((inhibit-message t))
                  (codegen-lsp-tests-notify "didChangeStatus" :state state :kind kind :model "nano"
                                            :message (concat state "!") :busy :json-false
                                            :percent percent))))
      (should (equal (shown) "CG:starting"))
      (status "loading" "Inactive" 42)
      (should (equal (shown) "CG:42%"))
      (status "ready" "Normal")
      (should (equal (shown) "CG:nano"))
      (codegen-lsp-tests-notify "didChangeStatus" :state "ready" :kind "Normal"
                                :model "/models/100%/my model/" :message "ready")
      (should (equal (shown) "CG:my model"))
      (status "busy" "Normal")
      (should (equal (shown) "CG:nano*"))
      (status "paused" "Inactive")
      (should (equal (shown) "CG:paused"))
      (status "error" "Error")
      (should (equal (shown) "CG:error"))
      (setq codegen-lsp--opened nil)
      (should (equal (shown) "CG:off")))))

(ert-deftest codegen-lsp-tests-pausing ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (let ((inhibit-message t))
      (codegen-lsp-pause)
      (should-not codegen-lsp--ghost)
      (codegen-lsp-tests-answer :workspace/executeCommand '(:paused t))
      (should (equal (current-message) nil))
      (codegen-lsp-pause t))
    (should (equal (codegen-lsp-tests-sent :workspace/executeCommand)
                   '((:command "codegen.pause" :arguments [])
                     (:command "codegen.pause" :arguments [(:uri "untitled:tests.py")]))))))

(provide 'codegen-lsp-commands-tests)
;;; codegen-lsp-commands-tests.el ends here
