;;; codegen-lsp-weave-tests.el --- Tests of suggestions around text after point  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Brackets and quotes after point, typed before or closed automatically,
;; must not appear twice, neither on the screen nor in the buffer.

;;; Code:

(require 'codegen-lsp-test-helper)

(ert-deftest codegen-lsp-tests-closed-brackets-are-not-doubled ()
  (codegen-lsp-tests-with "print(|)"
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest '("oo(a), b):\n    pass" . 1))
    (should (equal (codegen-lsp-tests-screen) "print(f|<oo(a), b>)<:\n    pass>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "print(foo(a), b):\n    pass|"))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-words-are-accepted-past-a-closed-bracket ()
  (codegen-lsp-tests-with "print(|)"
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest '("oo) + 1" . 1))
    (codegen-lsp-tests-do #'codegen-lsp-accept-word)
    (should (equal (codegen-lsp-tests-screen) "print(foo|)< + 1>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept-word)
    (should (equal (codegen-lsp-tests-screen) "print(foo)|< + 1>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "print(foo) + 1|"))))

(ert-deftest codegen-lsp-tests-electric-pairs-can-be-typed-through ()
  (codegen-lsp-tests-with "x = |"
    (electric-pair-local-mode 1)
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest "(\"a\", [1])\ny = 2")
    (codegen-lsp-tests-type "(")
    (should (equal (codegen-lsp-tests-screen) "x = f(|<\"a\", [1]>)<\ny = 2>"))
    (codegen-lsp-tests-type "\"a")
    (should (equal (codegen-lsp-tests-screen) "x = f(\"a|\"<, [1]>)<\ny = 2>"))
    (codegen-lsp-tests-type "\", [")
    (should (equal (codegen-lsp-tests-screen) "x = f(\"a\", [|<1>])<\ny = 2>"))
    (should (= 1 (codegen-lsp-tests-request-count)))
    (codegen-lsp-tests-do #'codegen-lsp-accept-line)
    (should (equal (codegen-lsp-tests-text) "x = f(\"a\", [1])|"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = f(\"a\", [1])\ny = 2|"))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-suffix-that-is-not-in-the-suggestion-is-replaced ()
  (codegen-lsp-tests-with "x = |old"
    (codegen-lsp-tests-type "n")
    (codegen-lsp-tests-suggest '("ew" . 3))
    (should (equal (codegen-lsp-tests-screen) "x = n|<ew>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = new|"))))

(ert-deftest codegen-lsp-tests-candidates-may-replace-more-or-less ()
  (codegen-lsp-tests-with "f(|))"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "b" '("c)" . 1))
    (should (equal (codegen-lsp-tests-screen) "f(a|<b>))"))
    (let ((inhibit-message t)) (codegen-lsp-tests-do #'codegen-lsp-next))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (buffer-string) "f(ac))"))))

(ert-deftest codegen-lsp-tests-weave-finds-the-closing-bracket ()
  (should (equal (codegen-lsp-weave "foo(x))" ")") '("foo(x)" "")))
  (should (equal (codegen-lsp-weave ") + g()" ")") '("" " + g()")))
  (should (equal (codegen-lsp-weave "a', 'b']" "']") '("a', 'b" "" "")))
  (should (equal (codegen-lsp-weave "a\", [1]):" "\")") '("a" ", [1]" ":")))
  (should (equal (codegen-lsp-weave "x" "") '("x")))
  (should-not (codegen-lsp-weave "new" "old")))

(provide 'codegen-lsp-weave-tests)
;;; codegen-lsp-weave-tests.el ends here
