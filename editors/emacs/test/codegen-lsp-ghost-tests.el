;;; codegen-lsp-ghost-tests.el --- Tests of ghost text  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; What is on the screen while the user types, moves, and edits other lines.
;; A bar stands for point, and angle brackets for ghost text.

;;; Code:

(require 'codegen-lsp-test-helper)

(ert-deftest codegen-lsp-tests-shows-what-follows ()
  (codegen-lsp-tests-with "def add(a, b):\n    |"
    (codegen-lsp-tests-type "r")
    (codegen-lsp-tests-suggest "eturn a + b" "aise ValueError")
    (should (equal (codegen-lsp-tests-screen) "def add(a, b):\n    r|<eturn a + b>"))
    (should (equal (buffer-string) "def add(a, b):\n    r"))
    (let ((params (car (codegen-lsp-tests-sent :textDocument/inlineCompletion))))
      (should (equal (plist-get params :position) '(:line 1 :character 5)))
      (should (equal (plist-get params :context) '(:triggerKind 2)))
      (should (equal (plist-get (plist-get params :formattingOptions) :insertSpaces) t)))
    (should (= 1 (length (codegen-lsp-tests-sent :textDocument/didShowCompletion))))))

(ert-deftest codegen-lsp-tests-typing-through-sends-no-request ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "o")
    (codegen-lsp-tests-suggest "pen(path)\ny = 1")
    (let* ((screens nil)
           ;; What the screen would show if a command redisplayed before it ends.
           (look (lambda (&rest _) (push (codegen-lsp-tests-screen) screens))))
      (add-hook 'after-change-functions look 90 t)
      (codegen-lsp-tests-type "pen(")
      (remove-hook 'after-change-functions look t)
      (should (equal (reverse screens)
                     '("x = op|<en(path)\ny = 1>" "x = ope|<n(path)\ny = 1>"
                       "x = open|<(path)\ny = 1>" "x = open(|<path)\ny = 1>"))))
    (should (= 1 (codegen-lsp-tests-request-count)))
    (codegen-lsp-tests-do #'backward-delete-char-untabify)
    (should (equal (codegen-lsp-tests-screen) "x = open|<(path)\ny = 1>"))
    (codegen-lsp-tests-type "(path)\ny = 1")
    (should (equal (codegen-lsp-tests-screen) "x = open(path)\ny = 1|"))
    (should (= 2 (codegen-lsp-tests-request-count)))))

(ert-deftest codegen-lsp-tests-newline-and-indentation-are-typed-through ()
  (codegen-lsp-tests-with "def f(|"
    (electric-indent-local-mode 1)
    (codegen-lsp-tests-type "x")
    (codegen-lsp-tests-suggest "):\n    return x")
    (codegen-lsp-tests-type "):\n")
    (should (equal (codegen-lsp-tests-screen) "def f(x):\n    |<return x>"))))

(ert-deftest codegen-lsp-tests-another-character-clears-and-requests ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc" "bd")
    (codegen-lsp-tests-type "q")
    (should (equal (codegen-lsp-tests-screen) "x = aq|"))
    (should (= 2 (codegen-lsp-tests-request-count)))))

(ert-deftest codegen-lsp-tests-another-candidate-takes-over ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc" "bd" "zz")
    (codegen-lsp-tests-type "bd")
    (should-not codegen-lsp--ghost)     ; typed to its end
    (codegen-lsp-tests-suggest "one" "two")
    (codegen-lsp-tests-type "t")
    (should (equal (codegen-lsp-tests-screen) "x = abdt|<wo>"))
    (should (= 2 (codegen-lsp-tests-request-count)))))

(ert-deftest codegen-lsp-tests-deleting-more-than-was-typed-clears-the-ghost ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (codegen-lsp-tests-do #'backward-delete-char-untabify)
    (should (equal (codegen-lsp-tests-screen) "x = |"))
    (should (= 2 (codegen-lsp-tests-request-count)))))

(ert-deftest codegen-lsp-tests-moving-away-clears-the-ghost ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (codegen-lsp-tests-do #'backward-char)
    (should (equal (codegen-lsp-tests-screen) "x = |a"))
    (should (= 1 (codegen-lsp-tests-request-count)))))

(ert-deftest codegen-lsp-tests-an-edit-above-moves-the-ghost ()
  (codegen-lsp-tests-with "x = 1\ny = |\nz = 3\n"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc\nd = 4")
    (save-excursion (goto-char (point-min)) (insert "import os\n\n"))
    (should (equal (codegen-lsp-tests-screen)
                   "import os\n\nx = 1\ny = a|<bc\nd = 4>\nz = 3\n"))
    (save-excursion (goto-char (point-max)) (insert "# end\n"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text)
                   "import os\n\nx = 1\ny = abc\nd = 4|\nz = 3\n# end\n"))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-an-edit-in-its-line-clears-the-ghost ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (save-excursion (goto-char (point-min)) (insert "if y: "))
    (should (equal (codegen-lsp-tests-screen) "if y: x = a|"))))

(ert-deftest codegen-lsp-tests-leaving-the-window-clears-the-ghost ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (let ((window (selected-window)))
      (split-window)
      (other-window 1)
      (switch-to-buffer "*scratch*")
      (codegen-lsp-window-changed window)
      (should-not (buffer-local-value 'codegen-lsp--ghost (window-buffer window)))
      (select-window window)
      (codegen-lsp-window-changed window))
    (should (equal (codegen-lsp-tests-sent :textDocument/didFocus)
                   '((:textDocument (:uri "untitled:tests.py")))))))

(ert-deftest codegen-lsp-tests-dismiss-stays-dismissed ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "1")
    (codegen-lsp-tests-do #'codegen-lsp-dismiss)
    (should (equal (codegen-lsp-tests-screen) "x = a|"))
    (should (= 1 (codegen-lsp-tests-request-count)))))

(ert-deftest codegen-lsp-tests-tab-indents-where-the-suggestion-is-indentation ()
  (codegen-lsp-tests-with "def f():\n|"
    (codegen-lsp-complete)
    (codegen-lsp-tests-suggest "    return 1")
    (should-not (eq (key-binding (kbd "TAB")) #'codegen-lsp-accept))
    (codegen-lsp-tests-type "    ")
    (should (eq (key-binding (kbd "TAB")) #'codegen-lsp-accept))
    (should (eq (key-binding (kbd "M-f")) #'codegen-lsp-accept-word))
    (codegen-lsp-tests-do #'codegen-lsp-dismiss)
    (should-not (eq (key-binding (kbd "M-f")) #'codegen-lsp-accept-word))))

(provide 'codegen-lsp-ghost-tests)
;;; codegen-lsp-ghost-tests.el ends here
