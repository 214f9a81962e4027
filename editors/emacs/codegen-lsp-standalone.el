;;; codegen-lsp-standalone.el --- A connection that Eglot does not manage  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Eglot allows one server per buffer.  The standalone connection serves the
;; buffers in which Eglot runs another server, or none: a single process for
;; all of them, with the class and the handlers of Eglot's connections, but
;; without Eglot's state in the buffers.  This file starts and ends the
;; process; codegen-lsp-documents.el keeps its documents up to date.

;;; Code:

(require 'subr-x)
(require 'codegen-lsp-documents)
(require 'codegen-lsp-server)

(defvar codegen-lsp-connected-hook nil
  "Hook that is run when the standalone connection accepts documents.
It is also run when a new connection should be started.")

(defvar codegen-lsp--standalone-ready nil
  "Non-nil once the standalone server has answered `initialize'.")

(defvar codegen-lsp--standalone-problem nil
  "Why the standalone server doesn't run, a sentence; or nil.")

(defvar codegen-lsp--standalone-deaths nil
  "Times (`float-time') at which a standalone server exited, the latest first.")

;;; The process

(defun codegen-lsp--standalone-start ()
  "Start the standalone server unless it is running or has failed.
Don't wait for its answer to `initialize'."
  (unless (or codegen-lsp--standalone codegen-lsp--standalone-problem)
    (setq codegen-lsp--standalone-ready nil)
    (condition-case problem
        (let ((server (codegen-lsp--standalone-make)))
          (setq codegen-lsp--standalone server)
          (jsonrpc-async-request
           server :initialize (codegen-lsp--standalone-initialize-params server)
           :timeout eglot-connect-timeout
           :success-fn (lambda (result) (codegen-lsp--standalone-initialized server result))
           :error-fn (lambda (answer)
                       (codegen-lsp--standalone-failed (plist-get answer :message)))
           :timeout-fn (lambda () (codegen-lsp--standalone-failed "it doesn't answer"))))
      (file-missing
       (codegen-lsp--standalone-failed
        (format "there is no program `%s'; set `codegen-lsp-command', or install it from a \
clone of codegen-lsp with `pip install -c .ci/constraints.txt \".[engine]\"'"
                (car codegen-lsp-command))))
      (error (codegen-lsp--standalone-failed (error-message-string problem))))))

(defun codegen-lsp--standalone-make ()
  "Start a server process and return the connection to it."
  (let* ((default-directory (expand-file-name "~/"))
         (name "codegen-lsp")
         (server
          (apply
           #'make-instance 'codegen-lsp-server
           :name name
           :notification-dispatcher (codegen-lsp--dispatcher #'eglot-handle-notification)
           :request-dispatcher (codegen-lsp--dispatcher #'eglot-handle-request)
           :on-shutdown #'codegen-lsp--standalone-gone
           :process (lambda ()
                      (make-process :name name :command codegen-lsp-command
                                    :connection-type 'pipe :coding 'utf-8-emacs-unix :noquery t
                                    :stderr (get-buffer-create (format "*%s stderr*" name))))
           (if (boundp 'eglot-events-buffer-config) ; Eglot 1.16; Emacs 29 has 1.12
               (list :events-buffer-config eglot-events-buffer-config)
             (list :events-buffer-scrollback-size (symbol-value 'eglot-events-buffer-size))))))
    (setf (slot-value server 'project) (cons 'transient default-directory)
          (slot-value server 'project-nickname) name)
    server))

(defun codegen-lsp--dispatcher (handle)
  "Return a dispatcher for HANDLE, one of Eglot's generic functions."
  (lambda (server method params) (apply handle server method (append params nil))))

(defun codegen-lsp--standalone-initialize-params (server)
  "Return the parameters of `initialize' for SERVER."
  (list :processId (emacs-pid)
        :clientInfo `(:name "Emacs" :version ,emacs-version)
        :rootUri nil
        :workspaceFolders nil
        :initializationOptions (eglot-initialization-options server)
        :capabilities (eglot-client-capabilities server)))

(defun codegen-lsp--standalone-initialized (server result)
  "Store RESULT, SERVER's answer to `initialize', and open waiting buffers."
  (setf (slot-value server 'capabilities) (plist-get result :capabilities)
        (slot-value server 'server-info) (plist-get result :serverInfo))
  (jsonrpc-notify server :initialized (make-hash-table :size 1))
  (setq codegen-lsp--standalone-ready t)
  (run-hooks 'codegen-lsp-connected-hook))

(defun codegen-lsp--standalone-failed (problem)
  "Store and show PROBLEM, a sentence.
The server isn't started again until the user runs `codegen-lsp-restart'."
  (when-let* ((server (codegen-lsp--standalone-forget)))
    (ignore-errors (jsonrpc-shutdown server)))
  (setq codegen-lsp--standalone-problem (concat problem (codegen-lsp--last-log-line)))
  (message "codegen-lsp: the server could not be started: %s" codegen-lsp--standalone-problem)
  (force-mode-line-update t))

(defun codegen-lsp--last-log-line ()
  "Return the last line of the standalone server's log in parentheses, or \"\"."
  (if-let* ((log (get-buffer " *codegen-lsp stderr*"))
           (lines (split-string (with-current-buffer log (buffer-string)) "\n" t "[ \t]+")))
      (format " (%s)" (car (last lines)))
    ""))

(defun codegen-lsp--standalone-gone (server)
  "Forget SERVER, whose process has exited, and schedule a new one.
Give up when a server exits for the fourth time within a minute."
  (when (eq server codegen-lsp--standalone)
    (codegen-lsp--standalone-forget)
    (push (float-time) codegen-lsp--standalone-deaths)
    (let ((fourth (nth 3 codegen-lsp--standalone-deaths)))
      (if (and fourth (> fourth (- (float-time) 60)))
          (codegen-lsp--standalone-failed "it exited four times within a minute")
        (run-with-timer (if fourth 10 1) nil #'run-hooks 'codegen-lsp-connected-hook)))))

(defun codegen-lsp--standalone-forget ()
  "Close the documents of the standalone connection, forget it and return it."
  (prog1 codegen-lsp--standalone
    (setq codegen-lsp--standalone nil
          codegen-lsp--standalone-ready nil)
    (dolist (buffer (buffer-list))
      (when (buffer-local-value 'codegen-lsp--opened buffer)
        (with-current-buffer buffer (codegen-lsp--standalone-close))))))

(defun codegen-lsp--standalone-shutdown ()
  "Shut the standalone server down, and forget earlier failures."
  (when-let* ((server (codegen-lsp--standalone-forget)))
    (ignore-errors
      (jsonrpc-request server :shutdown nil :timeout 2)
      (jsonrpc-notify server :exit nil))
    (ignore-errors (jsonrpc-shutdown server)))
  (setq codegen-lsp--standalone-problem nil
        codegen-lsp--standalone-deaths nil))

(provide 'codegen-lsp-standalone)
;;; codegen-lsp-standalone.el ends here
