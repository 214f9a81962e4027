;;; codegen-lsp-accept-tests.el --- Tests of accepting and choosing suggestions  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Whole and partial acceptance, the messages to the server about it, and
;; the text that is in the buffer afterwards: columns, line ends and tabs.

;;; Code:

(require 'codegen-lsp-test-helper)

(ert-deftest codegen-lsp-tests-accept-runs-the-command-and-can-be-undone ()
  (codegen-lsp-tests-with "def add(a, b):\n    |"
    (codegen-lsp-tests-type "r")
    (codegen-lsp-tests-suggest "eturn a + b")
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "def add(a, b):\n    return a + b|"))
    (should (equal (codegen-lsp-tests-sent :workspace/executeCommand)
                   '((:command "codegen.accepted" :arguments ["id-0"]))))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))
    (codegen-lsp-tests-do #'undo-only)
    (should (equal (buffer-string) "def add(a, b):\n    r"))
    (should-not codegen-lsp--ghost)))

(ert-deftest codegen-lsp-tests-accept-by-word-and-by-line ()
  (codegen-lsp-tests-with "|"
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest "or 😀x in y:\n    print(x)\n    pass")
    (dolist (step '((codegen-lsp-accept-word . "for|")
                    (codegen-lsp-accept-word . "for 😀|")
                    (codegen-lsp-accept-word . "for 😀x|")
                    (codegen-lsp-accept-line . "for 😀x in y:|")
                    (codegen-lsp-accept-line . "for 😀x in y:\n    print(x)|")
                    (codegen-lsp-accept-word . "for 😀x in y:\n    print(x)\n    pass|")))
      (codegen-lsp-tests-do (car step))
      (should (equal (codegen-lsp-tests-text) (cdr step))))
    (should (equal (mapcar (lambda (params) (plist-get params :acceptedLength))
                           (codegen-lsp-tests-sent :textDocument/didPartiallyAcceptCompletion))
                   '(2 5 6 12 25)))
    (should (= 1 (length (codegen-lsp-tests-sent :workspace/executeCommand))))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-partial-length-counts-from-the-start-of-the-item ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-answer
     :textDocument/inlineCompletion
     '(:items [(:insertText "x = abc def"
                :range (:start (:line 0 :character 0) :end (:line 0 :character 5)))]))
    (codegen-lsp-tests-do #'codegen-lsp-accept-word)
    (should (equal 7 (plist-get (car (codegen-lsp-tests-sent
                                      :textDocument/didPartiallyAcceptCompletion))
                                :acceptedLength)))))

(ert-deftest codegen-lsp-tests-accept-without-a-ghost-is-an-error ()
  (codegen-lsp-tests-with "x = |"
    (should-error (codegen-lsp-accept) :type 'user-error)
    (should-error (codegen-lsp-next) :type 'user-error)))

(ert-deftest codegen-lsp-tests-next-and-previous ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "1" "2" "3")
    (let ((inhibit-message t))
      (codegen-lsp-tests-do #'codegen-lsp-previous)
      (should (equal (codegen-lsp-tests-screen) "x = a|<3>"))
      (codegen-lsp-tests-do #'codegen-lsp-next)
      (codegen-lsp-tests-do #'codegen-lsp-next)
      (should (equal (codegen-lsp-tests-screen) "x = a|<2>")))
    (should (= 3 (length (codegen-lsp-tests-sent :textDocument/didShowCompletion))))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-sent :workspace/executeCommand)
                   '((:command "codegen.accepted" :arguments ["id-1"]))))))

(ert-deftest codegen-lsp-tests-next-requests-more-than-one ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "1")
    (codegen-lsp-tests-do #'codegen-lsp-next)
    (should (equal (codegen-lsp-tests-screen) "x = a|<1>"))
    (should (= 2 (codegen-lsp-tests-request-count)))
    (codegen-lsp-tests-suggest "1" "2")
    (let ((inhibit-message t)) (codegen-lsp-tests-do #'codegen-lsp-next))
    (should (equal (codegen-lsp-tests-screen) "x = a|<2>"))))

(ert-deftest codegen-lsp-tests-text-after-point-stays ()
  (codegen-lsp-tests-with "x = |  # why"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (should (equal (codegen-lsp-tests-screen) "x = a|<bc>  # why"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = abc|  # why"))))

(ert-deftest codegen-lsp-tests-emoji-before-point ()
  (dolist (encoding '("utf-16" "utf-32" "utf-8"))
    (codegen-lsp-tests-call
     "s = \"😀é\" + |\n" encoding
     (lambda ()
       (codegen-lsp-tests-type "t")
       (should (equal (plist-get (plist-get (car (codegen-lsp-tests-sent
                                                  :textDocument/inlineCompletion))
                                            :position)
                                 :character)
                      (pcase encoding ("utf-16" 13) ("utf-32" 12) ("utf-8" 16))))
       (codegen-lsp-tests-suggest "ail")
       (codegen-lsp-tests-do #'codegen-lsp-accept)
       (should (equal (buffer-string) "s = \"😀é\" + tail\n"))))))

(ert-deftest codegen-lsp-tests-carriage-returns ()
  (codegen-lsp-tests-with "x = 1\n|"
    (set-buffer-file-coding-system 'utf-8-dos t)
    (codegen-lsp-tests-type "y")
    (codegen-lsp-tests-suggest " = 2\r\nz = 3")
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (buffer-string) "x = 1\ny = 2\nz = 3"))))

(ert-deftest codegen-lsp-tests-tabs ()
  (codegen-lsp-tests-with "if x:\n\t|"
    (setq indent-tabs-mode t tab-width 8)
    (codegen-lsp-tests-type "y")
    (should (equal :json-false
                   (plist-get (plist-get (car (codegen-lsp-tests-sent :textDocument/inlineCompletion))
                                         :formattingOptions)
                              :insertSpaces)))
    (codegen-lsp-tests-suggest " = 1\n\tz = 2")
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (buffer-string) "if x:\n\ty = 1\n\tz = 2"))))

(provide 'codegen-lsp-accept-tests)
;;; codegen-lsp-accept-tests.el ends here
