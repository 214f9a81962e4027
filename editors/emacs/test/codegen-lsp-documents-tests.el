;;; codegen-lsp-documents-tests.el --- Tests of the server's copy of a buffer  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; The text of the document, which the fake server computes from the
;; notifications alone, has to be that of the buffer after any change.

;;; Code:

(require 'codegen-lsp-test-helper)

(ert-deftest codegen-lsp-tests-a-file-name-given-later-keeps-the-document ()
  (codegen-lsp-tests-with "x = |"
    (let ((file (make-temp-file "codegen-lsp" nil ".py"))
          (inhibit-message t))
      (unwind-protect
          (progn
            (set-visited-file-name file t)
            (codegen-lsp-tests-type "a")
            (should (equal "untitled:tests.py"
                           (plist-get (plist-get (car (codegen-lsp-tests-sent
                                                       :textDocument/inlineCompletion))
                                                 :textDocument)
                                      :uri))))
        (delete-file file)))))

(ert-deftest codegen-lsp-tests-every-change-reaches-the-server ()
  (codegen-lsp-tests-with "one two three\nföur 😀 five\n|six\n"
    (random "codegen-lsp")
    (dotimes (round 300)
      (goto-char (+ (point-min) (random (1+ (buffer-size)))))
      (pcase (random 9)
        (0 (insert "new\nline 😀"))
        (1 (delete-region (point) (min (point-max) (+ (point) (random 9)))))
        (2 (capitalize-word 1))
        (3 (upcase-region (point) (min (point-max) (+ (point) (random 20)))))
        (4 (ignore-errors (transpose-words 1)))
        (5 (subst-char-in-region (point-min) (point-max) ?e ?E))
        (6 (save-restriction (narrow-to-region (point) (pos-eol)) (insert "narrow")))
        (7 (let ((text (buffer-string))
                 (edited (current-buffer)))
             (with-temp-buffer
               (insert text "tail")
               (let ((source (current-buffer)))
                 (with-current-buffer edited (replace-buffer-contents source))))))
        (8 (indent-region (point-min) (point-max) 2)))
      (when (zerop (mod round 3)) (codegen-lsp-sync)))
    (codegen-lsp-sync)
    (should (equal (codegen-lsp-tests-document)
                   (buffer-substring-no-properties (point-min) (point-max))))))

(ert-deftest codegen-lsp-tests-a-narrowed-buffer-counts-all-lines ()
  (codegen-lsp-tests-with "x = 1\ny = |\n"
    (narrow-to-region (pos-bol) (pos-eol))
    (codegen-lsp-tests-type "a")
    (should (equal (plist-get (car (codegen-lsp-tests-sent :textDocument/inlineCompletion)) :position)
                   '(:line 1 :character 5)))
    (codegen-lsp-tests-suggest "bc")
    (should (equal (codegen-lsp-tests-screen) "y = a|<bc>"))))

(ert-deftest codegen-lsp-tests-reverting-opens-the-document-again ()
  (let ((file (make-temp-file "codegen-lsp" nil ".py" "x = 1\n")))
    (unwind-protect
        (codegen-lsp-tests-with "|"
          (let ((visiting (find-file-noselect file)))
            (with-current-buffer visiting
              (codegen-lsp-mode)
              (write-region "y = 2\n" nil file nil 'quiet)
              (revert-buffer t t)
              (codegen-lsp-mode)
              (should (equal (buffer-string) "y = 2\n"))
              (should (equal (codegen-lsp-tests-document) "y = 2\n")))
            (kill-buffer visiting)))
      (delete-file file))))

(ert-deftest codegen-lsp-tests-the-uri-and-language-id ()
  (codegen-lsp-tests-with "|"
    (let ((document (plist-get (car (codegen-lsp-tests-sent :textDocument/didOpen)) :textDocument)))
      (should (equal (plist-get document :languageId) "python"))
      (should (equal (plist-get document :uri) "untitled:tests.py")))
    (with-temp-buffer
      (c++-mode)
      (should (equal (codegen-lsp--language-id) "cpp"))
      (fundamental-mode)
      (should (equal (codegen-lsp--language-id) "fundamental")))))

(ert-deftest codegen-lsp-tests-a-body-is-applied-unless-the-text-changed ()
  (codegen-lsp-tests-with "def f():\n    \"\"\"One.\"\"\"|\n"
    (let ((inhibit-message t)
          (edit (lambda (version)
                  (jsonrpc-connection-receive
                   codegen-lsp-tests-server
                   `(:jsonrpc "2.0" :id 9 :method "workspace/applyEdit"
                     :params (:label "body"
                              :edit (:documentChanges
                                     [(:textDocument (:uri "untitled:tests.py" :version ,version)
                                       :edits [(:range (:start (:line 2 :character 0)
                                                        :end (:line 2 :character 0))
                                                :newText "    return 1\n")])])))))))
      (codegen-lsp-write-body)
      (should (equal (car (codegen-lsp-tests-sent :workspace/executeCommand))
                     '(:command "codegen.writeBody"
                       :arguments ["untitled:tests.py" (:line 1 :character 14)])))
      (funcall edit codegen-lsp--version)
      (should (equal (buffer-string) "def f():\n    \"\"\"One.\"\"\"\n    return 1\n"))
      (funcall edit 0)
      (should (equal (buffer-string) "def f():\n    \"\"\"One.\"\"\"\n    return 1\n"))
      (should (plist-get (car (slot-value codegen-lsp-tests-server 'sent)) :error))
      (codegen-lsp-cancel-body)
      (should (= 1 (length (codegen-lsp-tests-sent :$/cancelRequest)))))))

(provide 'codegen-lsp-documents-tests)
;;; codegen-lsp-documents-tests.el ends here
