;;; codegen-lsp-accept.el --- Accepting and choosing suggestions  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Commands that accept the suggestion that is shown, or a part of it, and
;; commands that show another one.  Both are reported to the server.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'codegen-lsp-connection)
(require 'codegen-lsp-ghost)
(require 'codegen-lsp-suggest)

(defun codegen-lsp--accept (length)
  "Insert the first LENGTH characters of the ghost, and tell the server."
  (let ((ghost (codegen-lsp--insert length)))
    (when-let* ((server (codegen-lsp-current-server)))
      (codegen-lsp-sync)
      (if codegen-lsp--ghost
          (jsonrpc-notify server :textDocument/didPartiallyAcceptCompletion
                          (list :item (codegen-lsp--item ghost)
                                :acceptedLength (codegen-lsp--accepted-length ghost)))
        (when-let* ((command (plist-get (codegen-lsp--item ghost) :command)))
          (codegen-lsp-execute (plist-get command :command)
                               (plist-get command :arguments)))))))

(defun codegen-lsp--accepted-length (ghost)
  "Return the accepted length of the item of GHOST in UTF-16 code units.
The text of the item may begin with text that was before point already,
and the text of GHOST may end with text that is after point."
  (let* ((insert-text (codegen-lsp--decode (plist-get (codegen-lsp--item ghost) :insertText)))
         (typed (codegen-lsp--ghost-typed ghost))
         (start (or (string-search typed insert-text) 0))
         (end (min (length insert-text) (+ start (length typed)))))
    (codegen-lsp--utf-16-length (substring insert-text 0 end))))

(defun codegen-lsp--utf-16-length (text)
  "Return the number of UTF-16 code units of TEXT."
  (+ (length text) (seq-count (lambda (char) (> char #xffff)) text)))

(defun codegen-lsp-accept ()
  "Insert the suggestion that is shown."
  (interactive "*")
  (codegen-lsp--accept most-positive-fixnum))

(defun codegen-lsp-accept-word ()
  "Insert the next word of the suggestion, or the next run of other characters."
  (interactive "*")
  (let ((remainder (codegen-lsp--remainder (codegen-lsp--ghost-or-error))))
    (string-match "\\`[ \t\n\r]*\\(?:[[:alnum:]_]+\\|[^[:alnum:]_ \t\n\r]+\\)?" remainder)
    (codegen-lsp--accept (max 1 (match-end 0)))))

(defun codegen-lsp-accept-line ()
  "Insert the suggestion up to the end of its line.
At the end of a line, insert the next one."
  (interactive "*")
  (let ((remainder (codegen-lsp--remainder (codegen-lsp--ghost-or-error))))
    (string-match "\\`\n*[^\n]*" remainder)
    (codegen-lsp--accept (max 1 (match-end 0)))))

(defun codegen-lsp--cycle (step)
  "Show the suggestion STEP places further on.
If there is only one, request more."
  (let* ((ghost (codegen-lsp--ghost-or-error))
         (typed (codegen-lsp--ghost-typed ghost))
         (items (codegen-lsp--ghost-items ghost))
         (fitting (seq-filter (lambda (index) (string-prefix-p typed (car (nth index items))))
                              (number-sequence 0 (1- (length items)))))
         (current (seq-position fitting (codegen-lsp--ghost-index ghost))))
    (if (and (null (cdr fitting)) (not (codegen-lsp--ghost-invoked ghost)))
        (codegen-lsp-suggest t)
      (let ((next (mod (+ current step) (length fitting))))
        (setf (codegen-lsp--ghost-index ghost) (nth next fitting))
        (codegen-lsp--draw)
        (message "codegen-lsp: suggestion %d of %d" (1+ next) (length fitting))))))

(defun codegen-lsp-next ()
  "Show the next suggestion."
  (interactive)
  (codegen-lsp--cycle 1))

(defun codegen-lsp-previous ()
  "Show the previous suggestion."
  (interactive)
  (codegen-lsp--cycle -1))

(provide 'codegen-lsp-accept)
;;; codegen-lsp-accept.el ends here
