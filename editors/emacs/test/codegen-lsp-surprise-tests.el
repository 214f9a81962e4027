;;; codegen-lsp-surprise-tests.el --- Tests of surprise  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; The answer in `codegen-lsp-tests-surprise' has a token of each shade,
;; and an emoji, so that columns differ between encodings.

;;; Code:

(require 'codegen-lsp-test-helper)

(defconst codegen-lsp-tests-surprise
  '(:uri "untitled:tests.py" :version 1 :model "nano" :reason nil :message ""
    :totals (:tokens 4 :bits 20.0 :bitsPerToken 5.0 :bitsPerByte 1.5 :perplexity 32.0)
    :lines [(:line 1 :bits 13.5 :bitsPerToken 13.5 :tokens 1 :text "y = zebra")
            (:line 0 :bits 6.5 :bitsPerToken 2.2 :tokens 3 :text "s = \"😀\" + t")]
    :tokens [(:range (:start (:line 0 :character 5) :end (:line 0 :character 7)) :bits 4.0)
             (:range (:start (:line 0 :character 11) :end (:line 0 :character 12)) :bits 0.5)
             (:range (:start (:line 0 :character 12) :end (:line 1 :character 0)) :bits 2.0)
             (:range (:start (:line 1 :character 4) :end (:line 1 :character 9)) :bits 13.5)]))

(defun codegen-lsp-tests-coloured ()
  "Return the coloured pieces of the buffer, each with the number of its face."
  (sort (cl-loop for overlay in (overlays-in (point-min) (point-max))
                 when (overlay-get overlay 'codegen-lsp-surprise)
                 collect (cons (buffer-substring-no-properties (overlay-start overlay)
                                                               (overlay-end overlay))
                               (string-to-number (substring (symbol-name (overlay-get overlay 'face)) -1))))
        (lambda (one other) (< (cdr one) (cdr other)))))

(defun codegen-lsp-tests-measure ()
  "Show the surprise of this buffer."
  (let ((inhibit-message t))
    (codegen-lsp-surprise)
    (should (equal (car (last (codegen-lsp-tests-sent :workspace/executeCommand)))
                   '(:command "codegen.surprise" :arguments [(:uri "untitled:tests.py")])))
    (codegen-lsp-tests-answer :workspace/executeCommand codegen-lsp-tests-surprise)))

(ert-deftest codegen-lsp-tests-surprise-is-coloured-and-listed ()
  (codegen-lsp-tests-call
   "s = \"😀\" + t|\ny = zebra\n" "utf-16"
   (lambda ()
     (codegen-lsp-tests-measure)
     (should (equal (codegen-lsp-tests-coloured) '(("\n" . 1) ("😀" . 2) ("zebra" . 4))))
     (let ((source (current-buffer)))
       (with-current-buffer "*codegen-lsp surprise*"
         (should (string-match-p "13\\.5.* 2 .*y = zebra\n.*2\\.2.* 1 .*s = " (buffer-string)))
         (goto-char (point-min))
         (codegen-lsp-surprise-goto))
       (should (eq (current-buffer) source))
       (should (looking-at "y = zebra")))
     (codegen-lsp-surprise)
     (should-not (codegen-lsp-tests-coloured))
     (sleep-for 0.05)
     (should-not (get-buffer "*codegen-lsp surprise*")))))

(ert-deftest codegen-lsp-tests-a-change-removes-surprise ()
  (codegen-lsp-tests-with "s = \"😀\" + t|\ny = zebra\n"
    (codegen-lsp-tests-measure)
    (should (codegen-lsp-tests-coloured))
    (codegen-lsp-tests-type "x")
    (should-not (codegen-lsp-tests-coloured))
    (sleep-for 0.05)
    (should-not (get-buffer "*codegen-lsp surprise*"))))

(ert-deftest codegen-lsp-tests-surprise-of-another-text-is-not-shown ()
  (codegen-lsp-tests-with "s = \"😀\" + t|\ny = zebra\n"
    (let ((inhibit-message t))
      (codegen-lsp-surprise)
      (let ((request (car (slot-value codegen-lsp-tests-server 'sent))))
        (codegen-lsp-tests-type "x")
        (jsonrpc-connection-receive
         codegen-lsp-tests-server
         (list :jsonrpc "2.0" :id (plist-get request :id) :result codegen-lsp-tests-surprise)))
      (should-not (codegen-lsp-tests-coloured))
      (codegen-lsp-surprise)
      (codegen-lsp-surprise)
      (should (= 1 (length (codegen-lsp-tests-sent :$/cancelRequest))))
      (codegen-lsp-tests-answer :workspace/executeCommand codegen-lsp-tests-surprise)
      (should-not (codegen-lsp-tests-coloured))
      (codegen-lsp-surprise)
      (codegen-lsp-tests-answer :workspace/executeCommand
                                '(:reason "nothing-to-go-on" :message "The document is empty."
                                  :tokens [] :lines []))
      (should-not (codegen-lsp-tests-coloured))
      (should-not codegen-lsp--surprise-request))))

(provide 'codegen-lsp-surprise-tests)
;;; codegen-lsp-surprise-tests.el ends here
