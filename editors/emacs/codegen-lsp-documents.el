;;; codegen-lsp-documents.el --- Documents of the standalone connection  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; The standalone connection's copies of the buffers' texts: opens and closes
;; documents, sends their changes, converts positions, and applies the edits
;; that the server makes.  Eglot does all of this for the buffers that it
;; manages.

;;; Code:

(require 'cl-lib)
(require 'project)
(require 'seq)
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
    (js-mode :language-id "javascript") (js-ts-mode :language-id "javascript")
    (typescript-mode :language-id "typescript") (typescript-ts-mode :language-id "typescript"))
  "Modes that `codegen-lsp-eglot-setup' registers.
The format is that of `eglot-server-programs'.")

(defvar codegen-lsp-disconnected-hook nil
  "Hook that is run in a buffer that has lost its connection.")

(defvar codegen-lsp--standalone nil
  "The standalone connection, or nil.")

(defvar codegen-lsp--folders nil
  "The standalone connection, and the URIs of the project folders that it knows.")

(defvar-local codegen-lsp--opened nil
  "URI under which this buffer is open in the standalone connection, or nil.")

(defvar-local codegen-lsp--version 0
  "Version of this buffer's document in the standalone connection.")

(defvar-local codegen-lsp--changes nil
  "Changes that are not sent to the standalone connection yet, the latest first.
The value t means that the whole text has to be sent.")

(defvar-local codegen-lsp--change nil
  "The change that is in progress: (BEG END LSP-BEG LSP-END).")

;;; Opening and closing

(defun codegen-lsp--language-id ()
  "Return the LSP language id of this buffer."
  (or (cl-loop for (mode _ id) in codegen-lsp-modes
               when (derived-mode-p mode) return id)
      (get major-mode 'eglot-language-id)
      (replace-regexp-in-string "\\(?:-ts\\)?-mode\\'" "" (symbol-name major-mode))))

(defun codegen-lsp--whole-text ()
  "Return the whole text of the buffer, without regard to narrowing."
  (save-restriction (widen) (buffer-substring-no-properties (point-min) (point-max))))

(defun codegen-lsp--standalone-open ()
  "Open this buffer's document in the standalone connection unless it is open."
  (unless codegen-lsp--opened
    (setq codegen-lsp--opened (codegen-lsp--uri)
          codegen-lsp--version 0
          codegen-lsp--changes nil)
    (codegen-lsp--standalone-add-folder)
    (jsonrpc-notify codegen-lsp--standalone :textDocument/didOpen
                    `(:textDocument (,@(codegen-lsp--standalone-document)
                                     :languageId ,(codegen-lsp--language-id)
                                     :text ,(codegen-lsp--whole-text))))
    (add-hook 'before-change-functions #'codegen-lsp--before-change nil t)
    (add-hook 'after-change-functions #'codegen-lsp--after-change nil t)
    (add-hook 'after-save-hook #'codegen-lsp--after-save nil t)))

(defun codegen-lsp--standalone-add-folder ()
  "Tell the standalone connection the folder of the project that this buffer is in.
The server reads other files there, and nowhere else."
  (unless (eq (car codegen-lsp--folders) codegen-lsp--standalone)
    (setq codegen-lsp--folders (list codegen-lsp--standalone)))
  (when-let* ((project (and buffer-file-name (project-current)))
              (root (directory-file-name (expand-file-name (project-root project))))
              (uri (concat "file://" (url-hexify-string root url-path-allowed-chars))))
    (unless (member uri (cdr codegen-lsp--folders))
      (push uri (cdr codegen-lsp--folders))
      (jsonrpc-notify codegen-lsp--standalone :workspace/didChangeWorkspaceFolders
                      `(:event (:added [(:uri ,uri :name ,(file-name-nondirectory root))]
                                :removed []))))))

(defun codegen-lsp--after-save ()
  "Tell the standalone connection that this buffer was saved."
  (when (and codegen-lsp--opened codegen-lsp--standalone)
    (codegen-lsp--standalone-sync)
    (jsonrpc-notify codegen-lsp--standalone :textDocument/didSave
                    `(:textDocument (:uri ,codegen-lsp--opened)))))

(defun codegen-lsp--standalone-close ()
  "Close this buffer's document in the standalone connection if it is open."
  (remove-hook 'before-change-functions #'codegen-lsp--before-change t)
  (remove-hook 'after-change-functions #'codegen-lsp--after-change t)
  (remove-hook 'after-save-hook #'codegen-lsp--after-save t)
  (when (and codegen-lsp--opened codegen-lsp--standalone)
    (ignore-errors
      (jsonrpc-notify codegen-lsp--standalone :textDocument/didClose
                      `(:textDocument (:uri ,codegen-lsp--opened)))))
  (when codegen-lsp--opened
    (setq codegen-lsp--opened nil)
    (run-hooks 'codegen-lsp-disconnected-hook)))

(defun codegen-lsp--standalone-document ()
  "Return the identifier of this buffer's document, with its version."
  (list :uri codegen-lsp--opened :version codegen-lsp--version))

(defun codegen-lsp--uri ()
  "Return the URI for this buffer's document."
  (if buffer-file-name
      (plist-get (eglot--TextDocumentIdentifier) :uri)
    (concat "untitled:" (url-hexify-string (buffer-name)))))

(defun codegen-lsp--position-functions ()
  "Return Eglot's functions that convert columns, as (TO-SERVER . FROM-SERVER)."
  (if (null codegen-lsp--opened)
      (cons eglot-current-linepos-function eglot-move-to-linepos-function)
    (pcase (plist-get (slot-value codegen-lsp--standalone 'capabilities) :positionEncoding)
      ("utf-32" (cons #'eglot-utf-32-linepos #'eglot-move-to-utf-32-linepos))
      ("utf-8" (cons #'eglot-utf-8-linepos #'eglot-move-to-utf-8-linepos))
      (_ (cons #'eglot-utf-16-linepos #'eglot-move-to-utf-16-linepos)))))

(defun codegen-lsp-position (&optional position)
  "Return the LSP position of POSITION, by default point."
  (let ((eglot-current-linepos-function (car (codegen-lsp--position-functions))))
    (eglot--pos-to-lsp-position position)))

(defun codegen-lsp-point (position)
  "Return the buffer position of the LSP position POSITION."
  (let ((eglot-move-to-linepos-function (cdr (codegen-lsp--position-functions))))
    (eglot--lsp-position-to-point position)))

;;; Changes

(defun codegen-lsp--before-change (beg end)
  "Store the LSP positions of BEG and END before a change of that text."
  (setq codegen-lsp--change
        (and (listp codegen-lsp--changes)
             (list beg end (codegen-lsp-position beg) (codegen-lsp-position end)))))

(defun codegen-lsp--after-change (beg end length)
  "Store the change that replaced LENGTH characters by those from BEG to END."
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
          ;; The change differs from the announced one, as in commands that change case.
          (_ t))
        codegen-lsp--change nil))

(defun codegen-lsp--standalone-sync ()
  "Send pending edits of this buffer to the standalone connection."
  (when codegen-lsp--changes
    (let ((changes (if (listp codegen-lsp--changes)
                       (vconcat (reverse codegen-lsp--changes))
                     (vector (list :text (codegen-lsp--whole-text))))))
      (setq codegen-lsp--changes nil)
      (jsonrpc-notify codegen-lsp--standalone :textDocument/didChange
                      (list :textDocument (codegen-lsp--standalone-document)
                            :contentChanges changes)))))

;;; Edits made by the server

(defun codegen-lsp-apply-edit (edit)
  "Apply EDIT, a WorkspaceEdit, and return the answer to the server.
Signal an error if a document is not open in the standalone connection, or
if its text has changed since EDIT was made."
  (cl-loop for (uri version edits) in (codegen-lsp--edited-documents edit)
           for buffer = (codegen-lsp--standalone-buffer uri)
           do (cond
               ((null buffer) (jsonrpc-error "Document %s is not open" uri))
               ((and version (/= version (buffer-local-value 'codegen-lsp--version buffer)))
                (jsonrpc-error "The text has changed in the meantime"))
               (t (with-current-buffer buffer
                    (let ((eglot-move-to-linepos-function
                           (cdr (codegen-lsp--position-functions))))
                      (eglot--apply-text-edits edits))))))
  '(:applied t))

(defun codegen-lsp--edited-documents (edit)
  "Return the documents of EDIT as a list of (URI VERSION EDITS)."
  (or (mapcar (lambda (change)
                (let ((document (plist-get change :textDocument)))
                  (list (plist-get document :uri) (plist-get document :version)
                        (plist-get change :edits))))
              (plist-get edit :documentChanges))
      (cl-loop for (uri edits) on (plist-get edit :changes) by #'cddr
               collect (list (substring (symbol-name uri) 1) nil edits))))

(defun codegen-lsp--standalone-buffer (uri)
  "Return the buffer whose document has URI, or nil."
  (seq-find (lambda (buffer) (equal uri (buffer-local-value 'codegen-lsp--opened buffer)))
            (buffer-list)))


(cl-defmethod eglot-handle-request
  ((server codegen-lsp-server) (_method (eql workspace/applyEdit)) &rest params)
  "Apply the edit in PARAMS, as SERVER requests.
Eglot can't apply an edit of the standalone connection: it would compare
document versions and convert columns with those of its own server."
  (if (eq server codegen-lsp--standalone)
      (codegen-lsp-apply-edit (plist-get params :edit))
    (cl-call-next-method)))

(provide 'codegen-lsp-documents)
;;; codegen-lsp-documents.el ends here
