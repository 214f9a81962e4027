;;; codegen-lsp-own.el --- A connection beside Eglot's  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Eglot allows one server for a buffer.  Where it has another one, or
;; none, this connection serves: a single process for all such buffers, with
;; the class and the handlers of Eglot's connections, and nothing of Eglot's
;; state in the buffers.  Knows the process, and how its copies of the
;; documents are kept right.  Knows nothing of suggestions.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'url-util)
(require 'codegen-lsp-server)

;; Eglot has no public names for these; they are the same from 1.12 (Emacs 29) on.
(declare-function eglot--TextDocumentIdentifier "eglot")
(declare-function eglot--pos-to-lsp-position "eglot")
(declare-function eglot--lsp-position-to-point "eglot")
(declare-function eglot--apply-text-edits "eglot")

(defconst codegen-lsp-modes
  '((python-mode :language-id "python") (python-ts-mode :language-id "python")
    (c-mode :language-id "c") (c-ts-mode :language-id "c")
    (c++-mode :language-id "cpp") (c++-ts-mode :language-id "cpp")
    (go-mode :language-id "go") (go-ts-mode :language-id "go")
    (java-mode :language-id "java") (java-ts-mode :language-id "java")
    (js-mode :language-id "javascript") (js-ts-mode :language-id "javascript"))
  "The modes that `codegen-lsp-eglot-setup' registers, as Eglot spells them.")

(defvar codegen-lsp-connected-hook nil
  "Run when our own connection can take documents, or another should be tried.")

(defvar codegen-lsp-disconnected-hook nil
  "Run in a buffer whose suggestions have lost their server.")

(defvar codegen-lsp--own nil
  "The connection for all buffers that Eglot does not serve, or nil.")

(defvar codegen-lsp--own-ready nil
  "Non-nil once the server behind `codegen-lsp--own' has answered `initialize'.")

(defvar codegen-lsp--own-problem nil
  "Why there is no connection of our own, a sentence, or nil.")

(defvar codegen-lsp--own-deaths nil
  "When (`float-time') connections of our own broke, the latest first.")

(defvar-local codegen-lsp--opened nil
  "The address under which our own connection knows this buffer, or nil.")

(defvar-local codegen-lsp--version 0
  "Version of this buffer's text as our own connection counts.")

(defvar-local codegen-lsp--changes nil
  "Changes that our own connection was not told of, the latest first.
t where only the whole text will do.")

(defvar-local codegen-lsp--change nil
  "The change that is being made: (BEG END LSP-BEG LSP-END).")

;;; The process

(defun codegen-lsp--own-start ()
  "Start our own connection unless there is one; its answer comes later."
  (unless (or codegen-lsp--own codegen-lsp--own-problem)
    (setq codegen-lsp--own-ready nil)
    (condition-case problem
        (let ((server (codegen-lsp--own-make)))
          (setq codegen-lsp--own server)
          (jsonrpc-async-request
           server :initialize (codegen-lsp--own-greeting server)
           :timeout eglot-connect-timeout
           :success-fn (lambda (result) (codegen-lsp--own-initialized server result))
           :error-fn (lambda (answer)
                       (codegen-lsp--own-failed (plist-get answer :message)))
           :timeout-fn (lambda () (codegen-lsp--own-failed "it does not answer"))))
      (file-missing
       (codegen-lsp--own-failed
        (format "there is no program `%s'; install it with `pip install codegen-lsp', or \
set `codegen-lsp-command'" (car codegen-lsp-command))))
      (error (codegen-lsp--own-failed (error-message-string problem))))))

(defun codegen-lsp--own-make ()
  "A new process and the connection around it."
  (let* ((default-directory (expand-file-name "~/"))
         (name "codegen-lsp")
         (server
          (apply
           #'make-instance 'codegen-lsp-server
           :name name
           :notification-dispatcher (codegen-lsp--dispatcher #'eglot-handle-notification)
           :request-dispatcher (codegen-lsp--dispatcher #'eglot-handle-request)
           :on-shutdown #'codegen-lsp--own-gone
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
  "A function for our server around HANDLE, one of Eglot's generic functions."
  (lambda (server method params) (apply handle server method (append params nil))))

(defun codegen-lsp--own-greeting (server)
  "Parameters of `initialize' for SERVER."
  (list :processId (emacs-pid)
        :clientInfo `(:name "Emacs" :version ,emacs-version)
        :rootUri nil
        :workspaceFolders nil
        :initializationOptions (eglot-initialization-options server)
        :capabilities (eglot-client-capabilities server)))

(defun codegen-lsp--own-initialized (server result)
  "Take RESULT of `initialize' from SERVER, and open the buffers that wait."
  (setf (slot-value server 'capabilities) (plist-get result :capabilities)
        (slot-value server 'server-info) (plist-get result :serverInfo))
  (jsonrpc-notify server :initialized (make-hash-table :size 1))
  (setq codegen-lsp--own-ready t)
  (run-hooks 'codegen-lsp-connected-hook))

(defun codegen-lsp--own-failed (problem)
  "Remember PROBLEM, a sentence, and stop trying until the user asks again."
  (when-let* ((server (codegen-lsp--own-forget)))
    (ignore-errors (jsonrpc-shutdown server)))
  (setq codegen-lsp--own-problem (concat problem (codegen-lsp--last-words)))
  (message "codegen-lsp: the server could not be started: %s" codegen-lsp--own-problem)
  (force-mode-line-update t))

(defun codegen-lsp--last-words ()
  "The last line that our own server wrote to its log, or nothing, as a remark."
  (if-let* ((log (get-buffer " *codegen-lsp stderr*"))
           (lines (split-string (with-current-buffer log (buffer-string)) "\n" t "[ \t]+")))
      (format " (%s)" (car (last lines)))
    ""))

(defun codegen-lsp--own-gone (server)
  "Forget SERVER, whose process has ended, and start another after a while."
  (when (eq server codegen-lsp--own)
    (codegen-lsp--own-forget)
    (push (float-time) codegen-lsp--own-deaths)
    (let ((fourth (nth 3 codegen-lsp--own-deaths)))
      (if (and fourth (> fourth (- (float-time) 60)))
          (codegen-lsp--own-failed "it ended four times within a minute")
        (run-with-timer (if fourth 10 1) nil #'run-hooks 'codegen-lsp-connected-hook)))))

(defun codegen-lsp--own-forget ()
  "Have no connection of our own any more; return the one that was."
  (prog1 codegen-lsp--own
    (setq codegen-lsp--own nil
          codegen-lsp--own-ready nil)
    (dolist (buffer (buffer-list))
      (when (buffer-local-value 'codegen-lsp--opened buffer)
        (with-current-buffer buffer (codegen-lsp--own-close))))))

(defun codegen-lsp--own-shutdown ()
  "End our own connection politely, and forget why there was none."
  (when-let* ((server (codegen-lsp--own-forget)))
    (ignore-errors
      (jsonrpc-request server :shutdown nil :timeout 2)
      (jsonrpc-notify server :exit nil))
    (ignore-errors (jsonrpc-shutdown server)))
  (setq codegen-lsp--own-problem nil
        codegen-lsp--own-deaths nil))

;;; The documents

(defun codegen-lsp--language-id ()
  "The name in LSP for the language of this buffer."
  (or (cl-loop for (mode _ id) in codegen-lsp-modes
               when (derived-mode-p mode) return id)
      (get major-mode 'eglot-language-id)
      (replace-regexp-in-string "\\(?:-ts\\)?-mode\\'" "" (symbol-name major-mode))))

(defun codegen-lsp--whole-text ()
  "The text of the buffer, whatever it is narrowed to."
  (save-restriction (widen) (buffer-substring-no-properties (point-min) (point-max))))

(defun codegen-lsp--own-open ()
  "Tell our own connection of this buffer, unless it knows."
  (unless codegen-lsp--opened
    (setq codegen-lsp--opened (codegen-lsp--uri)
          codegen-lsp--version 0
          codegen-lsp--changes nil)
    (jsonrpc-notify codegen-lsp--own :textDocument/didOpen
                    `(:textDocument (,@(codegen-lsp--own-document)
                                     :languageId ,(codegen-lsp--language-id)
                                     :text ,(codegen-lsp--whole-text))))
    (add-hook 'before-change-functions #'codegen-lsp--before-change nil t)
    (add-hook 'after-change-functions #'codegen-lsp--after-change nil t)))

(defun codegen-lsp--own-close ()
  "Tell our own connection, if it knows this buffer, to forget it."
  (remove-hook 'before-change-functions #'codegen-lsp--before-change t)
  (remove-hook 'after-change-functions #'codegen-lsp--after-change t)
  (when (and codegen-lsp--opened codegen-lsp--own)
    (ignore-errors
      (jsonrpc-notify codegen-lsp--own :textDocument/didClose
                      `(:textDocument (:uri ,codegen-lsp--opened)))))
  (when codegen-lsp--opened
    (setq codegen-lsp--opened nil)
    (run-hooks 'codegen-lsp-disconnected-hook)))

(defun codegen-lsp--own-document ()
  "The identifier of this buffer for our own connection."
  (list :uri codegen-lsp--opened :version codegen-lsp--version))

(defun codegen-lsp--uri ()
  "The address of this buffer's text if our own connection opened it now."
  (if buffer-file-name
      (plist-get (eglot--TextDocumentIdentifier) :uri)
    (concat "untitled:" (url-hexify-string (buffer-name)))))

(defun codegen-lsp--position-functions ()
  "Eglot's functions for columns, to the server and from it, as a cons cell."
  (if (null codegen-lsp--opened)
      (cons eglot-current-linepos-function eglot-move-to-linepos-function)
    (pcase (plist-get (slot-value codegen-lsp--own 'capabilities) :positionEncoding)
      ("utf-32" (cons #'eglot-utf-32-linepos #'eglot-move-to-utf-32-linepos))
      ("utf-8" (cons #'eglot-utf-8-linepos #'eglot-move-to-utf-8-linepos))
      (_ (cons #'eglot-utf-16-linepos #'eglot-move-to-utf-16-linepos)))))

(defun codegen-lsp-position (&optional position)
  "POSITION, by default point, as the server of this buffer counts."
  (let ((eglot-current-linepos-function (car (codegen-lsp--position-functions))))
    (eglot--pos-to-lsp-position position)))

(defun codegen-lsp-point (position)
  "The buffer position of the server's POSITION."
  (let ((eglot-move-to-linepos-function (cdr (codegen-lsp--position-functions))))
    (eglot--lsp-position-to-point position)))

(defun codegen-lsp--before-change (beg end)
  "Before a change from BEG to END, keep where these are for the server."
  (setq codegen-lsp--change
        (and (listp codegen-lsp--changes)
             (list beg end (codegen-lsp-position beg) (codegen-lsp-position end)))))

(defun codegen-lsp--after-change (beg end length)
  "Keep the change that replaced LENGTH characters by those from BEG to END."
  (cl-incf codegen-lsp--version)
  (setq codegen-lsp--changes
        (pcase codegen-lsp--change
          ((and `(,old-beg ,old-end ,start ,stop)
                (guard (and (= beg old-beg) (= length (- old-end old-beg)))))
           (cons (list :range (list :start start :end stop)
                       :text (save-restriction
                               (widen)
                               (buffer-substring-no-properties beg end)))
                 codegen-lsp--changes))
          ;; What was announced is not what happened: commands that change case do that.
          (_ t))
        codegen-lsp--change nil))

(defun codegen-lsp--own-sync ()
  "Send what our own connection was not told of."
  (when codegen-lsp--changes
    (let ((changes (if (listp codegen-lsp--changes)
                       (vconcat (reverse codegen-lsp--changes))
                     (vector (list :text (codegen-lsp--whole-text))))))
      (setq codegen-lsp--changes nil)
      (jsonrpc-notify codegen-lsp--own :textDocument/didChange
                      (list :textDocument (codegen-lsp--own-document)
                            :contentChanges changes)))))

;;; Edits that the server makes

(defun codegen-lsp-apply-edit (edit)
  "Apply EDIT, a WorkspaceEdit for documents that our own connection knows.
Return the answer to the server; an error where a document is not open, or
has changed since."
  (cl-loop for (uri version edits) in (codegen-lsp--edited-documents edit)
           for buffer = (codegen-lsp--own-buffer uri)
           do (cond
               ((null buffer) (jsonrpc-error "The document %s is not open" uri))
               ((and version (/= version (buffer-local-value 'codegen-lsp--version buffer)))
                (jsonrpc-error "The text has changed meanwhile"))
               (t (with-current-buffer buffer
                    (let ((eglot-move-to-linepos-function
                           (cdr (codegen-lsp--position-functions))))
                      (eglot--apply-text-edits edits))))))
  '(:applied t))

(defun codegen-lsp--edited-documents (edit)
  "The documents of EDIT, a list of (URI VERSION EDITS)."
  (or (mapcar (lambda (change)
                (let ((document (plist-get change :textDocument)))
                  (list (plist-get document :uri) (plist-get document :version)
                        (plist-get change :edits))))
              (plist-get edit :documentChanges))
      (cl-loop for (uri edits) on (plist-get edit :changes) by #'cddr
               collect (list (substring (symbol-name uri) 1) nil edits))))

(defun codegen-lsp--own-buffer (uri)
  "The buffer that our own connection knows as URI, or nil."
  (seq-find (lambda (buffer) (equal uri (buffer-local-value 'codegen-lsp--opened buffer)))
            (buffer-list)))

(provide 'codegen-lsp-own)
;;; codegen-lsp-own.el ends here
