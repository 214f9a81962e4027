;;; codegen-lsp-suggest-tests.el --- Tests of requests and their answers  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; When a request is sent, repeated or cancelled, and which answers are
;; ignored because they are late or don't fit.

;;; Code:

(require 'codegen-lsp-test-helper)

(ert-deftest codegen-lsp-tests-a-late-answer-is-dropped ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (let ((request (car (slot-value codegen-lsp-tests-server 'sent)))
          (items (codegen-lsp-tests-items "late")))
      (codegen-lsp-tests-type "b")
      (should (equal (codegen-lsp-tests-sent :$/cancelRequest)
                     (list (list :id (plist-get request :id)))))
      (jsonrpc-connection-receive codegen-lsp-tests-server
                                  (list :jsonrpc "2.0" :id (plist-get request :id) :result items))
      (should (equal (codegen-lsp-tests-screen) "x = ab|"))
      (codegen-lsp-tests-suggest "c")
      (should (equal (codegen-lsp-tests-screen) "x = ab|<c>")))))

(ert-deftest codegen-lsp-tests-moving-cancels ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-do #'backward-char)
    (should (= 1 (length (codegen-lsp-tests-sent :$/cancelRequest))))
    (codegen-lsp-tests-suggest "bc")
    (should-not codegen-lsp--ghost)))

(ert-deftest codegen-lsp-tests-an-error-answers-with-nothing ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (let ((id (plist-get (car (slot-value codegen-lsp-tests-server 'sent)) :id)))
      (jsonrpc-connection-receive
       codegen-lsp-tests-server
       (list :jsonrpc "2.0" :id id :error '(:code -32800 :message "cancelled"))))
    (should-not codegen-lsp--ghost)
    (should-not codegen-lsp--request)
    (should-not (jsonrpc-last-error codegen-lsp-tests-server))))

(ert-deftest codegen-lsp-tests-no-request-while-inhibited ()
  (codegen-lsp-tests-with "x = |"
    (let ((codegen-lsp-idle-delay nil))
      (codegen-lsp-tests-type "a"))
    (let ((transient-mark-mode t))
      (push-mark (point-min) t t)
      (codegen-lsp--schedule)
      (deactivate-mark))
    (let ((buffer-read-only t)) (codegen-lsp--schedule))
    (let ((completion-in-region-mode t)) (codegen-lsp--schedule))
    (should (= 0 (codegen-lsp-tests-request-count)))
    (codegen-lsp-complete)
    (should (equal '(:triggerKind 1)
                   (plist-get (car (codegen-lsp-tests-sent :textDocument/inlineCompletion)) :context)))))

(ert-deftest codegen-lsp-tests-a-menu-clears-the-ghost ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (let ((completion-in-region-mode t))
      (codegen-lsp-tests-do #'ignore)
      (should-not codegen-lsp--ghost))))

(ert-deftest codegen-lsp-tests-idle-delay-waits ()
  (codegen-lsp-tests-with "x = |"
    (let ((codegen-lsp-idle-delay 0.3))
      (codegen-lsp-tests-type "a")
      (should (= 0 (codegen-lsp-tests-request-count)))
      (should (timerp codegen-lsp--timer))
      (timer-event-handler codegen-lsp--timer)
      (should (= 1 (codegen-lsp-tests-request-count))))))

(ert-deftest codegen-lsp-tests-repeats-the-request-once-ready ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-notify "didChangeStatus" :state "loading" :kind "Inactive" :busy :json-false
                              :message "loading nano" :model "nano" :percent 40)
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest)
    (should (= 1 (codegen-lsp-tests-request-count)))
    (codegen-lsp-tests-notify "didChangeStatus" :state "ready" :kind "Normal" :busy :json-false
                              :message "ready" :model "nano" :percent nil)
    (should (= 2 (codegen-lsp-tests-request-count)))))

(ert-deftest codegen-lsp-tests-items-that-do-not-fit-are-ignored ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-answer
     :textDocument/inlineCompletion
     '(:items [(:insertText "x = other" :range (:start (:line 0 :character 0)
                                                :end (:line 0 :character 5)))
               (:insertText "far" :range (:start (:line 7 :character 0) :end (:line 9 :character 5)))
               (:range nil)
               (:insertText (:kind "snippet" :value "x = abc")
                :range (:start (:line 0 :character 0) :end (:line 0 :character 99)))]))
    (should (equal (codegen-lsp-tests-screen) "x = a|<bc>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = abc|"))))

(ert-deftest codegen-lsp-tests-an-empty-answer-has-a-reason ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-complete)
    (codegen-lsp-tests-suggest)
    (should (equal "codegen.showLastRequest"
                   (plist-get (car (codegen-lsp-tests-sent :workspace/executeCommand)) :command)))
    (should (string-search "low-confidence" (codegen-lsp--reason-message '(:reason "low-confidence"))))
    (should (string-search "no reason" (codegen-lsp--reason-message nil)))))

(provide 'codegen-lsp-suggest-tests)
;;; codegen-lsp-suggest-tests.el ends here
