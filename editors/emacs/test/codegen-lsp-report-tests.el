;;; codegen-lsp-report-tests.el --- Tests of the page about the last request  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; The record in `codegen-lsp-tests-request' has every field of the answer
;; to `codegen.showLastRequest'.

;;; Code:

(require 'codegen-lsp-test-helper)

(defconst codegen-lsp-tests-request
  '(:id "r1" :uri "file:///tmp/a%20b.py" :version 3 :position (:line 1 :character 4)
    :method "textDocument/inlineCompletion" :trigger "automatic" :reason nil :source "engine"
    :prompt (:text "def f():\n    " :header "" :window "def f():\n    " :shape "line"
             :tokens 10 :cachedTokens 5 :cachedCharacters 7
             :otherFiles [(:path "lib/a.py" :source "import" :why "f is used near the cursor"
                           :text "def f(): ..." :tokens 6)])
    :candidates [(:id "c1" :text "return 1" :raw "return 1" :meanLogprob -0.5 :suffixLogprob nil
                  :score -0.25 :parts (:mean_logprob -0.5 :parse 0.25) :shown t :reason nil
                  :trail ["stop: cut at the end of the line"]
                  :tokens ["return" " 1"] :tokenLogprobs [-0.01 -2.5])
                 (:id "c2" :text "" :raw "" :meanLogprob nil :score nil :shown :json-false
                  :reason "empty" :trail [] :tokens [] :tokenLogprobs [])]
    :timings (:queue_ms 0.5 :prefill_ms 12) :usage (:prompt_tokens 10 :completion_tokens 2)
    :model "nano"))

(ert-deftest codegen-lsp-tests-the-last-request-is-readable ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-show-last-request)
    (should (equal (car (codegen-lsp-tests-sent :workspace/executeCommand))
                   '(:command "codegen.showLastRequest" :arguments [(:uri "untitled:tests.py")])))
    (codegen-lsp-tests-answer :workspace/executeCommand codegen-lsp-tests-request)
    (with-current-buffer "*codegen-lsp last request*"
      (let ((text (buffer-string)))
        (dolist (part '(" at /tmp/a b.py:2:5" "nano, from the engine" "shown, score -0.250"
                        "mean_logprob -0.500 + parse 0.250" "dropped: empty" "stop: cut at"
                        "10 tokens, 5 from the prefix cache" "def f():"
                        "lib/a.py: f is used near the cursor (import), 6 tokens" "prefill" "12"))
          (should (string-search part text)))
        (goto-char (point-min))
        (search-forward "def f()")
        (should (eq (get-text-property (1- (point)) 'face) 'codegen-lsp-report-cached))
        (should-not (get-text-property (point) 'face))
        (goto-char (point-min))
        (search-forward "return")
        (should (eq (get-text-property (1- (point)) 'face) 'codegen-lsp-report-likely))
        (should (eq (get-text-property (1+ (point)) 'face) 'codegen-lsp-report-unlikely)))
      (revert-buffer)
      (should (= 2 (length (codegen-lsp-tests-sent :workspace/executeCommand))))
      (kill-buffer))))

(ert-deftest codegen-lsp-tests-the-cached-part-of-a-remote-prompt-is-estimated ()
  (save-window-excursion
    (codegen-lsp-report
     (plist-put (copy-sequence codegen-lsp-tests-request)
                :prompt '(:text "abcdefghij" :shape "line" :tokens 4 :cachedTokens 2
                          :cachedCharacters nil))
     #'ignore)
    (with-current-buffer "*codegen-lsp last request*"
      (goto-char (point-min))
      (should (search-forward "about the shaded part" nil t))
      (search-forward "abcde")
      (should (eq (get-text-property (1- (point)) 'face) 'codegen-lsp-report-cached))
      (should-not (get-text-property (point) 'face))
      (kill-buffer))))

(ert-deftest codegen-lsp-tests-an-empty-report ()
  (save-window-excursion
    (codegen-lsp-report nil #'ignore)
    (with-current-buffer "*codegen-lsp last request*"
      (should (string-search "No suggestion was requested" (buffer-string)))
      (kill-buffer))))

(provide 'codegen-lsp-report-tests)
;;; codegen-lsp-report-tests.el ends here
