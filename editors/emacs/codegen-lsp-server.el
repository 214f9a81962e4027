;;; codegen-lsp-server.el --- Messages to and from the language server  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Defines the class of every connection to the language server, inside
;; Eglot or standalone: its capabilities, configuration, status and
;; requests.  How a buffer finds its connection is in
;; codegen-lsp-connection.el.

;;; Code:

(require 'cl-lib)
(require 'eglot)
(require 'jsonrpc)
(require 'seq)
(require 'codegen-lsp-restricted)

(defgroup codegen-lsp nil
  "Code suggestions from a model that runs on your own machine."
  :group 'tools
  :prefix "codegen-lsp-")

(defcustom codegen-lsp-command '("codegen-lsp")
  "Program and arguments that start the language server on standard I/O."
  :type '(repeat string)
  :risky t)

(defcustom codegen-lsp-settings nil
  "Settings of the language server that differ from its defaults.
A property list with the names of the section `codegen', for example
\(:model \"350M-mono\" :candidates 5 :suffixRanking :json-false).  A section
`:codegen' in `eglot-workspace-configuration' takes precedence, but a
directory-local one can't set any of `codegen-lsp-restricted-settings',
and can only switch off suggestions, not on."
  :type 'plist
  :risky t)

(defvar codegen-lsp-status-hook nil
  "Abnormal hook that is run when a server reports a new status.
Its functions are called with the server and the previous status.")

(defclass codegen-lsp-server (eglot-lsp-server) ()
  :documentation "A connection to codegen-lsp, managed by Eglot or standalone.")

;;; Capabilities and configuration

(cl-defmethod eglot-client-capabilities ((_server codegen-lsp-server))
  "Return Eglot's capabilities with inline completion added."
  (let* ((capabilities (copy-tree (cl-call-next-method)))
         (document (plist-get capabilities :textDocument)))
    (plist-put capabilities :textDocument
               (append document '(:inlineCompletion (:dynamicRegistration :json-false))))))

(cl-defmethod eglot-initialization-options ((server codegen-lsp-server))
  "Return the settings of the user of SERVER, and name and version of the editor."
  (append (codegen-lsp--user-settings server)
          `(:editorInfo (:name "Emacs" :version ,emacs-version)
            :editorPluginInfo (:name "codegen-lsp.el" :version "0.1.0")
            :filtersWorkspaceSettings t)))

(cl-defmethod eglot-handle-request
  ((server codegen-lsp-server) (_method (eql workspace/configuration)) &key items)
  "Return the configuration for ITEMS.
What a directory configures stands apart from the user's settings of
SERVER, see `codegen-lsp--apply-directory-settings'."
  (seq-into
   (cl-mapcar (lambda (item configuration)
                (if (equal (plist-get item :section) "codegen")
                    (codegen-lsp--apply-directory-settings
                     (codegen-lsp--user-settings server) configuration)
                  configuration))
              items (cl-call-next-method))
   'vector))

(defun codegen-lsp--user-settings (server)
  "Return the settings for SERVER that the user has chosen.
These are `codegen-lsp-settings' and the section `:codegen' in the default
value of `eglot-workspace-configuration', which files and directories
can't change."
  (let* ((value (default-value 'eglot-workspace-configuration))
         (configuration (if (functionp value) (funcall value server) value)))
    (codegen-lsp--merge-plists codegen-lsp-settings
                               (and (plistp configuration) (plist-get configuration :codegen)))))

(defun codegen-lsp--apply-directory-settings (settings directory)
  "Return SETTINGS with the property list DIRECTORY apart from them.
Eglot reads DIRECTORY from `.dir-locals.el', a file that may come with a
cloned repository.  The server takes nothing from it that would choose the
engine, or show suggestions where the user switched them off; what can be
recognized as one of `codegen-lsp-restricted-settings' is not even sent."
  (let ((others (cl-loop for (key value) on (and (plistp directory) directory) by #'cddr
                         for name = (and (symbolp key) (codegen-lsp--setting-name key))
                         unless (or (null name) (memq name codegen-lsp-restricted-settings))
                         append (list name value))))
    (if others (append settings (list :workspaceSettings others)) settings)))

(defun codegen-lsp--setting-name (symbol)
  "Return the keyword that stands for SYMBOL in JSON, with or without a colon."
  (intern (concat ":" (string-remove-prefix ":" (symbol-name symbol)))))

(defun codegen-lsp--merge-plists (defaults overrides)
  "Return a copy of the property list DEFAULTS, updated from OVERRIDES."
  (let ((merged (copy-sequence defaults)))
    (cl-loop for (key value) on overrides by #'cddr
             do (setq merged (plist-put merged key value)))
    merged))

;;; Status

(defvar codegen-lsp--statuses (make-hash-table :test #'eq :weakness 'key)
  "The latest status of each server, from its `didChangeStatus' notifications.")

(defun codegen-lsp-server-status (server)
  "Return the latest status of SERVER as a property list.
Return nil if SERVER hasn't reported a status yet."
  (gethash server codegen-lsp--statuses))

(cl-defmethod eglot-handle-notification
  (server (_method (eql didChangeStatus)) &rest status)
  "Store STATUS of SERVER and show it."
  (codegen-lsp--set-status server status))

(defun codegen-lsp--set-status (server status)
  "Store STATUS of SERVER, and show a message if it is a new error."
  (let ((before (codegen-lsp-server-status server)))
    (puthash server status codegen-lsp--statuses)
    (when (and (equal (plist-get status :kind) "Error")
               (not (equal (plist-get before :message) (plist-get status :message))))
      (message "codegen-lsp: %s" (plist-get status :message)))
    (force-mode-line-update t)
    (run-hook-with-args 'codegen-lsp-status-hook server before)))

;;; Requests

(cl-defun codegen-lsp-request (server method params &key success error (timeout 60))
  "Send the request METHOD with PARAMS to SERVER and return its id, or nil.
Don't wait for the answer: SUCCESS or ERROR is called in this buffer with
the result or the error object, if the buffer is still alive.  TIMEOUT is
in seconds."
  (let* ((buffer (current-buffer))
         (call (lambda (function argument)
                 (when (and function (buffer-live-p buffer))
                   (with-current-buffer buffer (funcall function argument)))))
         (request
          ;; The public function doesn't return the id that is required to cancel.
          (jsonrpc--async-request-1
           server method params
           :timeout timeout
           :success-fn (lambda (result) (funcall call success result))
           :error-fn (lambda (problem)
                       ;; A request that we cancelled is not an error for Eglot's mode line.
                       (when (memql (plist-get problem :code) '(-32800 -32801 -32802))
                         (setf (jsonrpc-last-error server) nil))
                       (funcall call error problem))
           :timeout-fn (lambda () (funcall call error '(:code -1 :message "the request timed out"))))))
    (car-safe request)))

(defun codegen-lsp-cancel-request (server id)
  "Tell SERVER to cancel the request ID."
  (when (and id (jsonrpc-running-p server))
    (jsonrpc-notify server :$/cancelRequest (list :id id))))

(provide 'codegen-lsp-server)
;;; codegen-lsp-server.el ends here
