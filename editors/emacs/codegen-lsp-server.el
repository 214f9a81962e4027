;;; codegen-lsp-server.el --- What codegen-lsp is told, and what it says of itself  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Knows the messages that any connection to the server has in common: how
;; it is greeted, configured and asked, and its status.  Knows neither how a
;; buffer finds its connection nor what is done with suggestions.

;;; Code:

(require 'cl-lib)
(require 'eglot)
(require 'jsonrpc)
(require 'seq)

(defgroup codegen-lsp nil
  "Code suggestions from a model that runs on your own machine."
  :group 'tools
  :prefix "codegen-lsp-")

(defcustom codegen-lsp-command '("codegen-lsp")
  "Program and arguments that start the language server on standard input."
  :type '(repeat string)
  :risky t)

(defcustom codegen-lsp-settings nil
  "What the server should do otherwise than by default, as a property list.
The names are those of the section `codegen', for example
\(:model \"350M-mono\" :candidates 5 :suffixRanking :json-false).  A section
`:codegen' of `eglot-workspace-configuration' goes before this."
  :type 'plist
  :risky t)

(defvar codegen-lsp-status-hook nil
  "Run with a server and its previous status when the server says how it is.")

(defclass codegen-lsp-server (eglot-lsp-server) ()
  :documentation "A connection to codegen-lsp, in Eglot or beside it.")

;;; What the server is told at the start

(cl-defmethod eglot-client-capabilities ((_server codegen-lsp-server))
  "What Eglot supports, and ghost text."
  (let* ((capabilities (copy-tree (cl-call-next-method)))
         (document (plist-get capabilities :textDocument)))
    (plist-put capabilities :textDocument
               (append document '(:inlineCompletion (:dynamicRegistration :json-false))))))

(cl-defmethod eglot-initialization-options ((_server codegen-lsp-server))
  "The user's settings, and which editor this is."
  (append codegen-lsp-settings
          `(:editorInfo (:name "Emacs" :version ,emacs-version)
            :editorPluginInfo (:name "codegen-lsp.el" :version "0.1.0"))))

(cl-defmethod eglot-handle-request
  ((_server codegen-lsp-server) (_method (eql workspace/configuration)) &key items)
  "Answer for ITEMS: Eglot's configuration, laid over `codegen-lsp-settings'."
  (seq-into
   (cl-mapcar (lambda (item found)
                (if (equal (plist-get item :section) "codegen")
                    (codegen-lsp--overlay-plists codegen-lsp-settings found)
                  found))
              items (cl-call-next-method))
   'vector))

(defun codegen-lsp--overlay-plists (base over)
  "A property list with what BASE has, and in its place what OVER has."
  (let ((all (copy-sequence base)))
    (cl-loop for (key value) on over by #'cddr do (setq all (plist-put all key value)))
    all))

;;; Status

(defvar codegen-lsp--statuses (make-hash-table :test #'eq :weakness 'key)
  "The last `didChangeStatus' of each server.")

(defun codegen-lsp-server-status (server)
  "The last status of SERVER, a property list, or nil where it told none."
  (gethash server codegen-lsp--statuses))

(cl-defmethod eglot-handle-notification
  (server (_method (eql didChangeStatus)) &rest status)
  "Keep STATUS of SERVER and show it."
  (codegen-lsp--set-status server status))

(defun codegen-lsp--set-status (server status)
  "Keep STATUS of SERVER, and say aloud what a person should act on."
  (let ((before (codegen-lsp-server-status server)))
    (puthash server status codegen-lsp--statuses)
    (when (and (equal (plist-get status :kind) "Error")
               (not (equal (plist-get before :message) (plist-get status :message))))
      (message "codegen-lsp: %s" (plist-get status :message)))
    (force-mode-line-update t)
    (run-hook-with-args 'codegen-lsp-status-hook server before)))

;;; Requests

(cl-defun codegen-lsp-request (server method params &key success error (timeout 60))
  "Ask SERVER for METHOD with PARAMS, and return at once the request's id or nil.
SUCCESS and ERROR are called in this buffer with the result or the error
object, if the buffer lives still.  TIMEOUT is in seconds."
  (let* ((buffer (current-buffer))
         (here (lambda (function argument)
                 (when (and function (buffer-live-p buffer))
                   (with-current-buffer buffer (funcall function argument)))))
         (answer
          ;; Only this one tells the id, without which nothing can be cancelled.
          (jsonrpc--async-request-1
           server method params
           :timeout timeout
           :success-fn (lambda (result) (funcall here success result))
           :error-fn (lambda (problem)
                       ;; What we cancelled ourselves is no error to show in Eglot's mode line.
                       (when (memql (plist-get problem :code) '(-32800 -32801 -32802))
                         (setf (jsonrpc-last-error server) nil))
                       (funcall here error problem))
           :timeout-fn (lambda () (funcall here error '(:code -1 :message "no answer in time"))))))
    (car-safe answer)))

(defun codegen-lsp-cancel-request (server id)
  "Tell SERVER that the answer to request ID is wanted no longer."
  (when (and id (jsonrpc-running-p server))
    (jsonrpc-notify server :$/cancelRequest (list :id id))))

(provide 'codegen-lsp-server)
;;; codegen-lsp-server.el ends here
