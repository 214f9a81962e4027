;;; codegen-lsp-commands.el --- Commands for the engine, the model and the server  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; What the menu of `codegen-lsp-mode' and `codegen-lsp-command-map' run:
;; status, pausing, restarting, choosing a model, the page about the last
;; request, and writing a body.

;;; Code:

(require 'seq)
(require 'eglot)
(require 'codegen-lsp-server)
(require 'codegen-lsp-documents)
(require 'codegen-lsp-standalone)
(require 'codegen-lsp-connection)
(require 'codegen-lsp-models)
(require 'codegen-lsp-suggest)
(require 'codegen-lsp-report)

(defun codegen-lsp-status ()
  "Show the status of the server in the echo area."
  (interactive)
  (let ((status (codegen-lsp-server-status (codegen-lsp-current-server-or-error))))
    (message "codegen-lsp: %s (%s)%s"
             (or (plist-get status :message) "the server has not reported a status yet")
             (or (plist-get status :state) "starting")
             (if (eq (codegen-lsp-current-server) codegen-lsp--standalone) "" ", through Eglot"))))

(defun codegen-lsp-pause (&optional buffer-only)
  "Pause or resume suggestions.
With prefix argument BUFFER-ONLY, do so only in this buffer."
  (interactive "P")
  (codegen-lsp-dismiss)
  (codegen-lsp-execute
   "codegen.pause"
   (progn (codegen-lsp-current-server-or-error)
          (if buffer-only
              (vector (list :uri (plist-get (codegen-lsp-document) :uri)))
            []))
   :success (lambda (result)
              (message "codegen-lsp: %s%s"
                       (if (eq t (plist-get result :paused)) "paused" "resumed")
                       (if buffer-only " in this buffer" "")))))

(defun codegen-lsp-restart (&optional server)
  "Restart the engine, the process that owns the model.
With prefix argument SERVER, or if no language server runs, restart the
language server as well."
  (interactive "P")
  (cond ((and (codegen-lsp-current-server) (not server))
         (codegen-lsp-execute "codegen.restartEngine" [])
         (message "codegen-lsp: restarting the engine"))
        ((and (codegen-lsp-current-server) (not (eq (codegen-lsp-current-server) codegen-lsp--standalone)))
         (eglot-reconnect (codegen-lsp-current-server)))
        (t (codegen-lsp--standalone-shutdown)
           (codegen-lsp--attach-all))))

(defun codegen-lsp-unload-model ()
  "Free the memory of the model until the next suggestion requires it."
  (interactive)
  (codegen-lsp-execute "codegen.unloadModel" []))

(defun codegen-lsp-select-model (model)
  "Use MODEL, a name or a folder, for the rest of this Emacs session."
  (interactive
   (list (completing-read "Model (a name, or a folder): " codegen-lsp-models nil nil nil nil
                          (plist-get codegen-lsp-settings :model))))
  (setq codegen-lsp-settings
        (plist-put (copy-sequence codegen-lsp-settings) :model
                   (if (file-name-absolute-p model) (expand-file-name model) model)))
  (dolist (server (seq-uniq (delq nil (mapcar (lambda (buffer)
                                                (with-current-buffer buffer (codegen-lsp-current-server)))
                                              (codegen-lsp--buffers)))))
    (jsonrpc-notify server :workspace/didChangeConfiguration
                    `(:settings (:codegen ,codegen-lsp-settings)))))

(defun codegen-lsp-show-last-request ()
  "Show the last request of this buffer.
The page has the prompt, the candidates, what each filter did, and timings."
  (interactive)
  (let* ((buffer (current-buffer))
         (fetch (lambda (show)
                  (unless (buffer-live-p buffer)
                    (user-error "The buffer of this request was killed"))
                  (with-current-buffer buffer (codegen-lsp-last-request show)))))
    (funcall fetch (lambda (request) (codegen-lsp-report request fetch)))))

;;; Write the body

(defvar-local codegen-lsp--body nil
  "(SERVER . ID) of the pending request to write a body, or nil.")

(defun codegen-lsp-write-body ()
  "Write the body of the function at point, or code for the comment at point.
\\[codegen-lsp-cancel-body] cancels it."
  (interactive "*")
  (let ((server (codegen-lsp-current-server-or-error))
        (buffer (current-buffer)))
    (codegen-lsp-dismiss)
    (codegen-lsp-sync)
    (setq codegen-lsp--body
          (cons server
                (codegen-lsp-request
                 server :workspace/executeCommand
                 (list :command "codegen.writeBody"
                       :arguments (vector (plist-get (codegen-lsp-document) :uri)
                                          (codegen-lsp-position)))
                 :timeout 600
                 :success (lambda (_result) (codegen-lsp--body-written buffer nil))
                 :error (lambda (problem) (codegen-lsp--body-written buffer problem)))))
    (message "codegen-lsp: writing the body; M-x codegen-lsp-cancel-body cancels it")))

(defun codegen-lsp--body-written (buffer problem)
  "End writing a body in BUFFER, and show PROBLEM unless it is nil."
  (with-current-buffer buffer
    (setq codegen-lsp--body nil)
    (when problem
      (message "codegen-lsp: the body was not written: %s" (plist-get problem :message)))))

(defun codegen-lsp-cancel-body ()
  "Cancel writing a body in this buffer."
  (interactive)
  (pcase codegen-lsp--body
    (`(,server . ,id) (codegen-lsp-cancel-request server id))
    (_ (user-error "No body is being written here"))))

(provide 'codegen-lsp-commands)
;;; codegen-lsp-commands.el ends here
