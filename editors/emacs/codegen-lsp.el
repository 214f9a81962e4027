;;; codegen-lsp.el --- Code suggestions from a model on your own machine  -*- lexical-binding: t; -*-

;; Author: The codegen-lsp developers
;; URL: https://arxiv.org/abs/2203.13474
;; Version: 0.1.0
;; Package-Requires: ((emacs "29.1"))
;; Keywords: convenience, tools, abbrev
;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; `codegen-lsp-mode' shows what a model would write next as ghost text at
;; point.  Typing along with it shortens it; \\`TAB' accepts it, \\`M-f'
;; accepts a word, \\`C-e' a line, \\`M-n' and \\`M-p' show other suggestions,
;; and \\`C-g' dismisses it.
;;
;;   (use-package codegen-lsp
;;     :load-path "path/to/editors/emacs"
;;     :hook (prog-mode . codegen-lsp-mode))
;;
;; This works independently of the server that Eglot runs for a buffer.  To
;; make Eglot run codegen-lsp itself, which adds its suggestions to
;; `completion-at-point' and *Write the body* to the code actions, call
;; `codegen-lsp-eglot-setup' first and start Eglot as usual.
;;
;; `codegen-lsp-surprise' colours each token of a buffer by how little the
;; model expected it, and lists the most surprising lines.
;;
;; The package is part of the repository of the language server.  The URL
;; above is that of the paper about the CodeGen models.

;;; Code:

(require 'codegen-lsp-server)
(require 'codegen-lsp-standalone)
(require 'codegen-lsp-connection)
(require 'codegen-lsp-ghost)
(require 'codegen-lsp-suggest)
(require 'codegen-lsp-accept)
(require 'codegen-lsp-commands)
(require 'codegen-lsp-surprise)

;;; Keys

(defvar-keymap codegen-lsp-command-map
  :doc "Keymap of commands, for a prefix key that you choose:
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
  :doc "Keymap of `codegen-lsp-mode'.  It has no bindings by default.")

(defvar-keymap codegen-lsp-ghost-map
  :doc "Keymap that is active while a suggestion is shown."
  "TAB" '(menu-item "Accept" codegen-lsp-accept :filter codegen-lsp--unless-indenting)
  "M-f" #'codegen-lsp-accept-word
  "C-e" #'codegen-lsp-accept-line
  "M-n" #'codegen-lsp-next
  "M-p" #'codegen-lsp-previous
  "C-g" #'codegen-lsp-dismiss)

;; The variable that holds the ghost activates the keymap, like that of a minor mode.
(add-to-list 'minor-mode-map-alist (cons 'codegen-lsp--ghost codegen-lsp-ghost-map))

(defun codegen-lsp--unless-indenting (command)
  "Return COMMAND, or nil if the key should indent.
It should if point is in the indentation of a line and the suggestion
begins with more indentation."
  (unless (and codegen-lsp--ghost
               (string-match-p "\\`[ \t]+" (codegen-lsp--remainder codegen-lsp--ghost))
               (save-excursion (skip-chars-backward " \t") (bolp)))
    command))

;;; The mode

(defconst codegen-lsp--hooks
  '((after-change-functions . codegen-lsp-after-change)
    (post-command-hook . codegen-lsp-post-command)
    (window-selection-change-functions . codegen-lsp-window-changed)
    (eglot-managed-mode-hook . codegen-lsp-attach)
    (kill-buffer-hook . codegen-lsp--leave)
    (change-major-mode-hook . codegen-lsp--leave)
    (before-revert-hook . codegen-lsp--leave)
    (after-revert-hook . codegen-lsp-attach))
  "Buffer-local hooks of `codegen-lsp-mode'.")

;;;###autoload
(define-minor-mode codegen-lsp-mode
  "Show code suggestions from a model on your own machine at point.
\\<codegen-lsp-ghost-map>While one is shown, \\[codegen-lsp-accept] accepts it, \
\\[codegen-lsp-accept-word] accepts a word and
\\[codegen-lsp-accept-line] a line of it, \\[codegen-lsp-next] and \
\\[codegen-lsp-previous] show others, \\[codegen-lsp-dismiss] dismisses it.
See `codegen-lsp-connection' for how a buffer is connected to the server."
  :lighter codegen-lsp-lighter
  :keymap codegen-lsp-mode-map
  (if codegen-lsp-mode
      (progn
        (pcase-dolist (`(,hook . ,function) codegen-lsp--hooks)
          (add-hook hook function nil t))
        (setq codegen-lsp--tick (buffer-chars-modified-tick))
        (codegen-lsp-attach))
    (codegen-lsp--leave)
    (pcase-dolist (`(,hook . ,function) codegen-lsp--hooks)
      (remove-hook hook function t))))

(defun codegen-lsp--leave ()
  "Remove everything shown in this buffer, and disconnect it."
  (codegen-lsp-dismiss)
  (codegen-lsp-surprise-clear)
  (codegen-lsp-detach))

(defun codegen-lsp--status-changed (server previous)
  "React to a new status of SERVER; PREVIOUS is the status before it."
  (let ((state (plist-get (codegen-lsp-server-status server) :state)))
    (with-current-buffer (window-buffer)
      (when (and (eq server (codegen-lsp-current-server)) codegen-lsp-mode)
        (pcase state
          ("ready" (unless (member (plist-get previous :state) '("ready" "busy"))
                     (codegen-lsp-suggest-again)))
          ((or "paused" "error") (codegen-lsp-dismiss)))))))

(add-hook 'codegen-lsp-connected-hook #'codegen-lsp--attach-all)
(add-hook 'codegen-lsp-status-hook #'codegen-lsp--status-changed)

;;; The mode line

(defvar codegen-lsp-lighter '(:eval (codegen-lsp--lighter))
  "Mode line construct of `codegen-lsp-mode'.")
(put 'codegen-lsp-lighter 'risky-local-variable t)

(defun codegen-lsp--lighter ()
  "Return a mode line construct with the state of this buffer's server."
  (let* ((server (codegen-lsp-current-server))
         (status (and server (codegen-lsp-server-status server)))
         (word (codegen-lsp--state-word server status)))
    `(" " (:propertize ,word
                       face ,(pcase (plist-get status :kind)
                               ("Error" 'error) ("Warning" 'warning) (_ nil))
                       help-echo ,(concat (or (plist-get status :message)
                                              codegen-lsp--standalone-problem
                                              "codegen-lsp is starting")
                                          "\nmouse-1: menu")
                       mouse-face mode-line-highlight
                       keymap (keymap (mode-line keymap (mouse-1 . codegen-lsp-menu)))))))

(defun codegen-lsp--state-word (server status)
  "Return the mode line text for SERVER with STATUS."
  (let ((percent (plist-get status :percent))
        ;; The last part of a folder or of a name on the hub.
        (model (string-replace "%" "%%" (file-name-nondirectory
                                         (directory-file-name (or (plist-get status :model) "?"))))))
    (if (null server)
        (if codegen-lsp--standalone-problem "CG:failed" "CG:off")
      (pcase (plist-get status :state)
        ("ready" (format "CG:%s" model))
        ("busy" (format "CG:%s*" model))
        ("loading" (if percent (format "CG:%d%%%%" percent) "CG:loading"))
        ((and state (pred stringp)) (concat "CG:" state))
        (_ "CG:starting")))))

(easy-menu-define codegen-lsp-menu codegen-lsp-mode-map
  "Menu of `codegen-lsp-mode'."
  '("CodeGen"
    ["Suggest at point" codegen-lsp-complete]
    ["Write the body" codegen-lsp-write-body]
    ["Pause or resume" codegen-lsp-pause]
    ["Pause or resume in this buffer" (codegen-lsp-pause t)]
    ["Choose the model..." codegen-lsp-select-model]
    ["Show the last request" codegen-lsp-show-last-request]
    ["Show or hide surprise" codegen-lsp-surprise]
    ["Show the status" codegen-lsp-status]
    ["Restart the engine" codegen-lsp-restart]
    ["Settings" (customize-group 'codegen-lsp)]))

(provide 'codegen-lsp)
;;; codegen-lsp.el ends here
