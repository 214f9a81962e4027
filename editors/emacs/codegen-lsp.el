;;; codegen-lsp.el --- Code suggestions from a model on your own machine  -*- lexical-binding: t; -*-

;; Author: The codegen-lsp developers
;; URL: https://arxiv.org/abs/2203.13474
;; Version: 0.1.0
;; Package-Requires: ((emacs "29.1"))
;; Keywords: convenience, tools, abbrev
;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; `codegen-lsp-mode' shows what a model would write next, in grey, where
;; the cursor is.  Typing into it makes it shorter; \\`TAB' accepts it,
;; \\`M-f' takes a word, \\`C-e' a line, \\`M-n' and \\`M-p' show others and
;; \\`C-g' dismisses it.
;;
;;   (use-package codegen-lsp
;;     :load-path "path/to/editors/emacs"
;;     :hook (prog-mode . codegen-lsp-mode))
;;
;; That works beside whatever Eglot runs for the buffer.  To have Eglot
;; run codegen-lsp itself, which adds its completions to the menu of
;; `completion-at-point' and *Write the body* to the code actions, call
;; `codegen-lsp-eglot-setup' before and start Eglot as usual.
;;
;; `codegen-lsp-surprise' colours a buffer by how little the model expected
;; each token, and lists the lines that it expected least.
;;
;; The package is part of the language server's repository and has no page
;; of its own; the URL above is that of the paper on the CodeGen models.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'codegen-lsp-server)
(require 'codegen-lsp-own)
(require 'codegen-lsp-connection)
(require 'codegen-lsp-ghost)
(require 'codegen-lsp-suggest)
(require 'codegen-lsp-report)
(require 'codegen-lsp-surprise)

(defvar codegen-lsp-models
  '("nano" "350M-mono" "350M-multi" "350M-nl" "2B-mono" "2B-multi" "2B-nl"
    "6B-mono" "6B-multi" "6B-nl" "16B-mono" "16B-multi" "16B-nl")
  "Names that `codegen-lsp-select-model' offers.")

;;; Keys

(defvar-keymap codegen-lsp-command-map
  :doc "Commands to put on a key of your own, as with
\(keymap-set codegen-lsp-mode-map \"C-c g\" codegen-lsp-command-map)."
  "c" #'codegen-lsp-complete
  "b" #'codegen-lsp-write-body
  "k" #'codegen-lsp-cancel-body
  "l" #'codegen-lsp-show-last-request
  "m" #'codegen-lsp-select-model
  "p" #'codegen-lsp-pause
  "r" #'codegen-lsp-restart
  "s" #'codegen-lsp-status
  "u" #'codegen-lsp-unload-model
  "x" #'codegen-lsp-surprise)
(fset 'codegen-lsp-command-map codegen-lsp-command-map)

(defvar-keymap codegen-lsp-mode-map
  :doc "Keymap of `codegen-lsp-mode'.  It is yours: nothing is bound here.")

(defvar-keymap codegen-lsp-ghost-map
  :doc "Keymap in force while a suggestion is shown."
  "TAB" '(menu-item "Accept" codegen-lsp-accept :filter codegen-lsp--unless-indenting)
  "M-f" #'codegen-lsp-accept-word
  "C-e" #'codegen-lsp-accept-line
  "M-n" #'codegen-lsp-next
  "M-p" #'codegen-lsp-previous
  "C-g" #'codegen-lsp-dismiss)

;; The variable that holds the ghost switches its keymap, as a minor mode's would.
(add-to-list 'minor-mode-map-alist (cons 'codegen-lsp--ghost codegen-lsp-ghost-map))

(defun codegen-lsp--unless-indenting (command)
  "COMMAND, or nil where the key should indent.
That is in the indentation of a line whose suggestion begins with more of it."
  (unless (and codegen-lsp--ghost
               (string-match-p "\\`[ \t]+" (codegen-lsp--rest codegen-lsp--ghost))
               (save-excursion (skip-chars-backward " \t") (bolp)))
    command))

;;; The mode

;;;###autoload
(define-minor-mode codegen-lsp-mode
  "Show code suggestions from a model on your own machine where the cursor is.
\\<codegen-lsp-ghost-map>While one is shown, \\[codegen-lsp-accept] accepts it, \
\\[codegen-lsp-accept-word] takes a word and
\\[codegen-lsp-accept-line] a line of it, \\[codegen-lsp-next] and \
\\[codegen-lsp-previous] show others, \\[codegen-lsp-dismiss] dismisses it.
`codegen-lsp-connection' says how the server is reached."
  :lighter codegen-lsp-lighter
  :keymap codegen-lsp-mode-map
  (if codegen-lsp-mode
      (progn
        (add-hook 'after-change-functions #'codegen-lsp-after-change nil t)
        (add-hook 'post-command-hook #'codegen-lsp-post-command nil t)
        (add-hook 'window-selection-change-functions #'codegen-lsp-window-changed nil t)
        (add-hook 'eglot-managed-mode-hook #'codegen-lsp-attach nil t)
        (dolist (hook '(kill-buffer-hook change-major-mode-hook before-revert-hook))
          (add-hook hook #'codegen-lsp--leave nil t))
        (add-hook 'after-revert-hook #'codegen-lsp-attach nil t)
        (setq codegen-lsp--tick (buffer-chars-modified-tick))
        (codegen-lsp-attach))
    (codegen-lsp--leave)
    (remove-hook 'after-change-functions #'codegen-lsp-after-change t)
    (remove-hook 'post-command-hook #'codegen-lsp-post-command t)
    (remove-hook 'window-selection-change-functions #'codegen-lsp-window-changed t)
    (remove-hook 'eglot-managed-mode-hook #'codegen-lsp-attach t)
    (dolist (hook '(kill-buffer-hook change-major-mode-hook before-revert-hook))
      (remove-hook hook #'codegen-lsp--leave t))
    (remove-hook 'after-revert-hook #'codegen-lsp-attach t)))

(defun codegen-lsp--leave ()
  "Show nothing in this buffer, and tell the server that it is closed."
  (codegen-lsp-dismiss)
  (codegen-lsp-surprise-clear)
  (codegen-lsp-detach))

(defun codegen-lsp--buffers ()
  "The buffers in which `codegen-lsp-mode' is on."
  (seq-filter (lambda (buffer) (buffer-local-value 'codegen-lsp-mode buffer)) (buffer-list)))

(defun codegen-lsp--attach-all ()
  "Connect every buffer that wants to be."
  (dolist (buffer (codegen-lsp--buffers))
    (with-current-buffer buffer (codegen-lsp-attach))))

(defun codegen-lsp--status-changed (server before)
  "Act on a new status of SERVER; the one before was BEFORE."
  (let ((state (plist-get (codegen-lsp-server-status server) :state)))
    (with-current-buffer (window-buffer)
      (when (and (eq server (codegen-lsp-current-server)) codegen-lsp-mode)
        (pcase state
          ("ready" (unless (member (plist-get before :state) '("ready" "busy"))
                     (codegen-lsp-ask-again)))
          ((or "paused" "error") (codegen-lsp-dismiss)))))))

(add-hook 'codegen-lsp-connected-hook #'codegen-lsp--attach-all)
(add-hook 'codegen-lsp-status-hook #'codegen-lsp--status-changed)

;;; The mode line

(defvar codegen-lsp-lighter '(:eval (codegen-lsp--lighter))
  "What the mode line shows for `codegen-lsp-mode'.")
(put 'codegen-lsp-lighter 'risky-local-variable t)

(defun codegen-lsp--lighter ()
  "The state of the server of this buffer, in a word."
  (let* ((server (codegen-lsp-current-server))
         (status (and server (codegen-lsp-server-status server)))
         (word (codegen-lsp--state-word server status)))
    `(" " (:propertize ,word
                       face ,(pcase (plist-get status :kind)
                               ("Error" 'error) ("Warning" 'warning) (_ nil))
                       help-echo ,(concat (or (plist-get status :message)
                                              codegen-lsp--own-problem
                                              "codegen-lsp is starting")
                                          "\nmouse-1: what to do")
                       mouse-face mode-line-highlight
                       keymap (keymap (mode-line keymap (mouse-1 . codegen-lsp-menu)))))))

(defun codegen-lsp--state-word (server status)
  "The text in the mode line for SERVER with STATUS."
  (let ((percent (plist-get status :percent))
        ;; Of a folder or a name on the hub, what tells it from others.
        (model (string-replace "%" "%%" (file-name-nondirectory
                                         (directory-file-name (or (plist-get status :model) "?"))))))
    (if (null server)
        (if codegen-lsp--own-problem "CG:failed" "CG:off")
      (pcase (plist-get status :state)
        ("ready" (format "CG:%s" model))
        ("busy" (format "CG:%s*" model))
        ("loading" (if percent (format "CG:%d%%%%" percent) "CG:loading"))
        ((and state (pred stringp)) (concat "CG:" state))
        (_ "CG:starting")))))

(easy-menu-define codegen-lsp-menu codegen-lsp-mode-map
  "Menu of `codegen-lsp-mode'."
  '("CodeGen"
    ["Suggest here" codegen-lsp-complete]
    ["Write the body" codegen-lsp-write-body]
    ["Pause or go on" codegen-lsp-pause]
    ["Pause or go on in this buffer" (codegen-lsp-pause t)]
    ["Choose the model..." codegen-lsp-select-model]
    ["Show the last request" codegen-lsp-show-last-request]
    ["Show or hide surprise" codegen-lsp-surprise]
    ["Show the status" codegen-lsp-status]
    ["Restart the engine" codegen-lsp-restart]
    ["Settings" (customize-group 'codegen-lsp)]))

;;; Commands

(defun codegen-lsp-status ()
  "Say how the server is, in a sentence."
  (interactive)
  (let ((status (codegen-lsp-server-status (codegen-lsp-current-server-or-error))))
    (message "codegen-lsp: %s (%s)%s"
             (or (plist-get status :message) "no word from the server yet")
             (or (plist-get status :state) "starting")
             (if (eq (codegen-lsp-current-server) codegen-lsp--own) "" ", through Eglot"))))

(defun codegen-lsp-pause (&optional here)
  "Pause suggestions, or go on with them.
With prefix argument HERE, only in this buffer."
  (interactive "P")
  (codegen-lsp-dismiss)
  (codegen-lsp-execute
   "codegen.pause"
   (if here
       (vector (list :uri (plist-get (progn (codegen-lsp-current-server-or-error) (codegen-lsp-document))
                                     :uri)))
     [])
   :success (lambda (result)
              (message "codegen-lsp: %s%s"
                       (if (eq t (plist-get result :paused)) "paused" "going on")
                       (if here " in this buffer" "")))))

(defun codegen-lsp-restart (&optional server)
  "Restart the engine, the process around the model.
With prefix argument SERVER, or where none runs, restart the language
server as well."
  (interactive "P")
  (cond ((and (codegen-lsp-current-server) (not server))
         (codegen-lsp-execute "codegen.restartEngine" [])
         (message "codegen-lsp: restarting the engine"))
        ((and (codegen-lsp-current-server) (not (eq (codegen-lsp-current-server) codegen-lsp--own)))
         (eglot-reconnect (codegen-lsp-current-server)))
        (t (codegen-lsp--own-shutdown)
           (codegen-lsp--attach-all))))

(defun codegen-lsp-unload-model ()
  "Free the memory of the model, until the next suggestion needs it."
  (interactive)
  (codegen-lsp-execute "codegen.unloadModel" []))

(defun codegen-lsp-select-model (model)
  "Use MODEL, a name or a folder, from now on in this session of Emacs."
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
  "Show the last request of this buffer: prompt, candidates, filters, timings."
  (interactive)
  (let* ((buffer (current-buffer))
         (get (lambda (show)
                (unless (buffer-live-p buffer)
                  (user-error "The buffer of this request is gone"))
                (with-current-buffer buffer (codegen-lsp-last-request show)))))
    (funcall get (lambda (request) (codegen-lsp-report request get)))))

;;; Write the body

(defvar-local codegen-lsp--body nil
  "(SERVER . ID) of the request that writes a body now, or nil.")

(defun codegen-lsp-write-body ()
  "Write the body of the function at point, or the code below the comment at point.
\\[codegen-lsp-cancel-body] stops it."
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
    (message "codegen-lsp: writing the body; M-x codegen-lsp-cancel-body stops it")))

(defun codegen-lsp--body-written (buffer problem)
  "Note that writing a body in BUFFER has ended, with PROBLEM if it is not nil."
  (with-current-buffer buffer
    (setq codegen-lsp--body nil)
    (when problem
      (message "codegen-lsp: no body was written: %s" (plist-get problem :message)))))

(defun codegen-lsp-cancel-body ()
  "Stop writing a body in this buffer."
  (interactive)
  (pcase codegen-lsp--body
    (`(,server . ,id) (codegen-lsp-cancel-request server id))
    (_ (user-error "No body is being written here"))))

(cl-defmethod eglot-handle-request
  ((server codegen-lsp-server) (_method (eql workspace/applyEdit)) &rest params)
  "Apply the edit in PARAMS that SERVER asks for.
Where our own connection asks, it is done here: Eglot would look for the
versions and the column of its own documents."
  (if (eq server codegen-lsp--own)
      (codegen-lsp-apply-edit (plist-get params :edit))
    (cl-call-next-method)))

(provide 'codegen-lsp)
;;; codegen-lsp.el ends here
