;;; codegen-lsp-connection.el --- How a buffer reaches codegen-lsp  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Chooses the connection of each buffer: Eglot's server if it offers inline
;; completion, otherwise the standalone connection.  The other files of the
;; package use both through the functions at the end.

;;; Code:

(require 'cl-lib)
(require 'eglot)
(require 'codegen-lsp-documents)
(require 'codegen-lsp-server)
(require 'codegen-lsp-standalone)

(defvar codegen-lsp-mode)

;; Eglot has no public names for these; they are the same from 1.12 (Emacs 29) on.
(declare-function eglot--TextDocumentIdentifier "eglot")
(declare-function eglot--signal-textDocument/didChange "eglot")
(declare-function eglot--lookup-mode "eglot")

(defcustom codegen-lsp-connection 'auto
  "How a buffer is connected to the language server.
The value `auto' uses Eglot's server if it offers inline completion, and
starts Eglot if `eglot-server-programs' names codegen-lsp for the major
mode; otherwise it uses the standalone connection, which doesn't depend on
Eglot's server.  The value `eglot' never uses the standalone connection;
the value `standalone' always does."
  :type '(choice (const auto) (const eglot) (const standalone))
  :group 'codegen-lsp)

(defvar-local codegen-lsp--eglot nil
  "Eglot's server if this buffer sends its requests to it, otherwise nil.")

;;; Choosing a connection

(defun codegen-lsp--eglot-server ()
  "Return Eglot's server of this buffer if capable of inline completion, or nil."
  (when-let* ((server (and (eglot-managed-p) (eglot-current-server)))
             ;; An empty object, which means yes, is parsed as nil.
             (provider (plist-member (slot-value server 'capabilities)
                                     :inlineCompletionProvider)))
    (and (not (eq (cadr provider) :json-false)) server)))

(defun codegen-lsp--eglot-starts-it-p ()
  "Return non-nil if Eglot would start codegen-lsp for this buffer."
  (and buffer-file-name
       (eq (cdr (eglot--lookup-mode major-mode)) #'codegen-lsp-eglot-contact)))

(defun codegen-lsp-attach ()
  "Connect this buffer, as soon as a connection is available.
See `codegen-lsp-connection'."
  (let ((previous codegen-lsp--eglot))
    (setq codegen-lsp--eglot (and (not (eq codegen-lsp-connection 'standalone))
                                  (codegen-lsp--eglot-server)))
    (unless (eq previous codegen-lsp--eglot)
      (run-hooks 'codegen-lsp-disconnected-hook)))
  (cond
   ;; Hidden buffers, such as those in which Org fontifies its code blocks.
   ((string-prefix-p " " (buffer-name)) nil)
   ((or codegen-lsp--eglot (eq codegen-lsp-connection 'eglot)) (codegen-lsp--standalone-close))
   ((and (eq codegen-lsp-connection 'auto) (codegen-lsp--eglot-starts-it-p))
    (codegen-lsp--standalone-close)
    (unless (eglot-managed-p) (eglot-ensure)))
   (codegen-lsp--standalone-ready (codegen-lsp--standalone-open))
   (t (codegen-lsp--standalone-start))))

(defun codegen-lsp-detach ()
  "Disconnect this buffer."
  (codegen-lsp--standalone-close)
  (setq codegen-lsp--eglot nil))

(defun codegen-lsp-eglot-contact (&optional _interactive _project)
  "Return the class and command of codegen-lsp for `eglot-server-programs'."
  (cons 'codegen-lsp-server codegen-lsp-command))

;;;###autoload
(defun codegen-lsp-eglot-setup (&optional modes)
  "Make Eglot start codegen-lsp for MODES, by default `codegen-lsp-modes'.
The format of MODES is that of `eglot-server-programs'."
  (add-to-list 'eglot-server-programs
               (cons (or modes codegen-lsp-modes) #'codegen-lsp-eglot-contact)))

;;; Using the connection

(defun codegen-lsp-current-server ()
  "Return the live server of this buffer, or nil."
  (let ((server (if codegen-lsp--opened codegen-lsp--standalone codegen-lsp--eglot)))
    (and server (jsonrpc-running-p server) server)))

(defun codegen-lsp-current-server-or-error ()
  "Return the server of this buffer, or signal an error with advice."
  (or (codegen-lsp-current-server)
      (user-error "%s" (cond (codegen-lsp--standalone-problem
                              (concat "codegen-lsp doesn't run: " codegen-lsp--standalone-problem
                                      "; then M-x codegen-lsp-restart"))
                             ((not (bound-and-true-p codegen-lsp-mode))
                              "codegen-lsp is off in this buffer; try M-x codegen-lsp-mode")
                             (t "codegen-lsp is still starting")))))

(defun codegen-lsp-sync ()
  "Send pending edits of this buffer to its server."
  (if codegen-lsp--opened
      (codegen-lsp--standalone-sync)
    (eglot--signal-textDocument/didChange)))

(defun codegen-lsp-document ()
  "Return the identifier of this buffer's document.
It has a version in the standalone connection."
  (if codegen-lsp--opened
      (codegen-lsp--standalone-document)
    (eglot--TextDocumentIdentifier)))

(cl-defun codegen-lsp-execute (command arguments &key success (timeout 60))
  "Make the server of this buffer execute COMMAND with ARGUMENTS, a vector.
Call SUCCESS with the result; show an error as a message.  TIMEOUT is in
seconds.  Return the id of the request."
  (codegen-lsp-request
   (codegen-lsp-current-server-or-error) :workspace/executeCommand
   (list :command command :arguments arguments)
   :timeout timeout
   :success success
   :error (lambda (problem) (message "codegen-lsp: %s" (plist-get problem :message)))))

(defun codegen-lsp-last-request (function)
  "Call FUNCTION with the server's record of this buffer's last request."
  (codegen-lsp-current-server-or-error)
  (codegen-lsp-execute "codegen.showLastRequest"
                       (vector (list :uri (plist-get (codegen-lsp-document) :uri)))
                       :success function))

(defun codegen-lsp--buffers ()
  "Return the buffers in which `codegen-lsp-mode' is on."
  (seq-filter (lambda (buffer) (buffer-local-value 'codegen-lsp-mode buffer)) (buffer-list)))

(defun codegen-lsp--attach-all ()
  "Connect every buffer in which `codegen-lsp-mode' is on."
  (dolist (buffer (codegen-lsp--buffers))
    (with-current-buffer buffer (codegen-lsp-attach))))

(provide 'codegen-lsp-connection)
;;; codegen-lsp-connection.el ends here
