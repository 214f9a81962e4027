;;; codegen-lsp-connection.el --- How a buffer reaches codegen-lsp  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Decides which server a buffer asks: Eglot's, where Eglot manages the
;; buffer with one that offers inline completion, otherwise the connection
;; of our own.  The rest of the package sees no difference between them.

;;; Code:

(require 'cl-lib)
(require 'eglot)
(require 'codegen-lsp-server)
(require 'codegen-lsp-own)

;; Eglot has no public names for these; they are the same from 1.12 (Emacs 29) on.
(declare-function eglot--TextDocumentIdentifier "eglot")
(declare-function eglot--signal-textDocument/didChange "eglot")
(declare-function eglot--lookup-mode "eglot")

(defcustom codegen-lsp-connection 'auto
  "How a buffer reaches the server.
`auto' takes Eglot's server where that one offers inline completion, and
starts Eglot where `eglot-server-programs' names codegen-lsp for the mode;
elsewhere a connection of our own runs beside Eglot's server, or without
Eglot.  `eglot' never does the last, `own' does nothing else."
  :type '(choice (const auto) (const eglot) (const own))
  :group 'codegen-lsp)

(defvar-local codegen-lsp--eglot nil
  "Eglot's server of this buffer where requests go there, or nil.")

;;; Which of the two

(defun codegen-lsp--eglot-server ()
  "Eglot's server of this buffer if it knows inline completion, or nil."
  (when-let* ((server (and (eglot-managed-p) (eglot-current-server)))
             ;; An empty object, which says yes, is nil here.
             (provider (plist-member (slot-value server 'capabilities)
                                     :inlineCompletionProvider)))
    (and (not (eq (cadr provider) :json-false)) server)))

(defun codegen-lsp--eglot-starts-it-p ()
  "Non-nil where Eglot, if started in this buffer, would start codegen-lsp."
  (and buffer-file-name
       (eq (cdr (eglot--lookup-mode major-mode)) #'codegen-lsp-eglot-contact)))

(defun codegen-lsp-attach ()
  "Connect this buffer, now or when that is possible.
See `codegen-lsp-connection'."
  (let ((before codegen-lsp--eglot))
    (setq codegen-lsp--eglot (and (not (eq codegen-lsp-connection 'own))
                                  (codegen-lsp--eglot-server)))
    (unless (eq before codegen-lsp--eglot)
      (run-hooks 'codegen-lsp-disconnected-hook)))
  (cond
   ;; Buffers that nobody sees, as those in which Org colours its code blocks.
   ((string-prefix-p " " (buffer-name)) nil)
   ((or codegen-lsp--eglot (eq codegen-lsp-connection 'eglot)) (codegen-lsp--own-close))
   ((and (eq codegen-lsp-connection 'auto) (codegen-lsp--eglot-starts-it-p))
    (codegen-lsp--own-close)
    (unless (eglot-managed-p) (eglot-ensure)))
   (codegen-lsp--own-ready (codegen-lsp--own-open))
   (t (codegen-lsp--own-start))))

(defun codegen-lsp-detach ()
  "Undo `codegen-lsp-attach'."
  (codegen-lsp--own-close)
  (setq codegen-lsp--eglot nil))

(defun codegen-lsp-eglot-contact (&optional _interactive _project)
  "The contact for `eglot-server-programs': our class, then the command."
  (cons 'codegen-lsp-server codegen-lsp-command))

;;;###autoload
(defun codegen-lsp-eglot-setup (&optional modes)
  "Have Eglot start codegen-lsp for MODES.
MODES is spelled as in `eglot-server-programs'; by default `codegen-lsp-modes'."
  (add-to-list 'eglot-server-programs
               (cons (or modes codegen-lsp-modes) #'codegen-lsp-eglot-contact)))

;;; What the rest of the package asks for

(defun codegen-lsp-current-server ()
  "The server that can be asked about this buffer now, or nil."
  (let ((server (if codegen-lsp--opened codegen-lsp--own codegen-lsp--eglot)))
    (and server (jsonrpc-running-p server) server)))

(defun codegen-lsp-current-server-or-error ()
  "The server of this buffer; without one, an error with what to do."
  (or (codegen-lsp-current-server)
      (user-error "%s" (cond (codegen-lsp--own-problem
                              (concat "codegen-lsp does not run: " codegen-lsp--own-problem
                                      "; then M-x codegen-lsp-restart"))
                             ((not (bound-and-true-p codegen-lsp-mode))
                              "codegen-lsp is off in this buffer; try M-x codegen-lsp-mode")
                             (t "codegen-lsp is still starting")))))

(defun codegen-lsp-sync ()
  "Tell the server of this buffer what has changed in it."
  (if codegen-lsp--opened
      (codegen-lsp--own-sync)
    (eglot--signal-textDocument/didChange)))

(defun codegen-lsp-document ()
  "The identifier of this buffer's document, with its version where we count it."
  (if codegen-lsp--opened
      (codegen-lsp--own-document)
    (eglot--TextDocumentIdentifier)))

(cl-defun codegen-lsp-execute (command arguments &key success (timeout 60))
  "Have the server of this buffer execute COMMAND with ARGUMENTS, a vector.
SUCCESS is called with the result; an error is shown.  TIMEOUT is in
seconds.  Returns the request's id."
  (codegen-lsp-request
   (codegen-lsp-current-server-or-error) :workspace/executeCommand
   (list :command command :arguments arguments)
   :timeout timeout
   :success success
   :error (lambda (problem) (message "codegen-lsp: %s" (plist-get problem :message)))))

(defun codegen-lsp-last-request (function)
  "Call FUNCTION with what the server remembers of this buffer's last request."
  (codegen-lsp-current-server-or-error)
  (codegen-lsp-execute "codegen.showLastRequest"
                       (vector (list :uri (plist-get (codegen-lsp-document) :uri)))
                       :success function))

(provide 'codegen-lsp-connection)
;;; codegen-lsp-connection.el ends here
