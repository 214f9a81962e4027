;;; codegen-lsp-weave.el --- Fit a suggestion around text that is already there  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; A suggestion may contain text that is in the buffer after point already,
;; such as a bracket that was closed automatically.  This file finds the
;; pieces of the suggestion around that text.  Strings in, strings out.

;;; Code:

(require 'cl-lib)
(require 'seq)

(defun codegen-lsp-weave (text suffix)
  "Split TEXT at the characters of SUFFIX, in their order.
Return the pieces before, between and after these characters, one more
than SUFFIX has; or nil if SUFFIX doesn't occur in TEXT.  A closing
bracket of SUFFIX is the first one that has no opening bracket in TEXT:

  (codegen-lsp-weave \"foo(x)) + 1\" \")\") => (\"foo(x)\" \" + 1\")"
  (let ((whole (codegen-lsp--find text 0 suffix))
        (closers (string-match-p "\\`[])}\"'`:;, \t]*\\'" suffix))
        (start 0)
        (pieces nil))
    (cond
     (whole
      (append (list (substring text 0 whole))
              (make-list (max 0 (1- (length suffix))) "")
              (unless (string-empty-p suffix)
                (list (substring text (+ whole (length suffix)))))))
     (closers
      (cl-loop for char across suffix
               for index = (codegen-lsp--find text start (string char))
               unless index return nil
               do (push (substring text start index) pieces)
               do (setq start (1+ index))
               finally return (nreverse (cons (substring text start) pieces)))))))

(defun codegen-lsp--find (text start suffix)
  "Return the index of SUFFIX in TEXT at or after START, or nil.
If SUFFIX begins with a closing bracket, skip brackets opened after START."
  (cond
   ((string-empty-p suffix) (length text))
   ((not (seq-contains-p ")]}" (aref suffix 0))) (string-search suffix text start))
   (t (let ((depth 0))
        (cl-loop for index from start below (length text)
                 for char = (aref text index)
                 do (cond ((seq-contains-p "([{" char) (cl-incf depth))
                          ((seq-contains-p ")]}" char) (cl-decf depth)))
                 when (< depth 0)
                 return (and (string-prefix-p suffix (substring text index)) index))))))

(provide 'codegen-lsp-weave)
;;; codegen-lsp-weave.el ends here
