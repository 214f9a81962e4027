;;; codegen-lsp-suggest.el --- Requesting suggestions  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Requests suggestions at point when the text has changed or the user asks
;; for one, and shows the answer if it still fits the text.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'codegen-lsp-connection)
(require 'codegen-lsp-ghost)

(defvar company-candidates)
(defvar corfu--frame)
(defvar codegen-lsp-mode)

(defcustom codegen-lsp-idle-delay 0
  "Idle time in seconds before a suggestion is requested.
The value 0 requests it immediately; a newer request cancels an older one,
in the server as well.  The value nil requests suggestions only with
\\[codegen-lsp-complete]."
  :type '(choice (number :tag "Seconds") (const :tag "Only on request" nil))
  :group 'codegen-lsp)

(defcustom codegen-lsp-inhibit-functions
  '(codegen-lsp-region-active-p codegen-lsp-menu-open-p codegen-lsp-not-inserting-p)
  "Abnormal hook that decides whether suggestions are inhibited.
While one of its functions, called without arguments, returns non-nil, no
suggestion is shown or requested, except by \\[codegen-lsp-complete]."
  :type 'hook
  :group 'codegen-lsp)

(cl-defstruct codegen-lsp--request
  "A pending request: its ID and SERVER, and the TICK and POINT of the buffer.
INVOKED is non-nil if the user made it explicitly."
  id server tick point invoked)

(defvar-local codegen-lsp--request nil
  "The pending request of this buffer, or nil.")

(defvar-local codegen-lsp--tick nil
  "`buffer-chars-modified-tick' after the last command.")

(defvar-local codegen-lsp--unanswered nil
  "(TICK . POINT) of the last request, if its answer was empty.")

(defvar-local codegen-lsp--timer nil
  "The timer that requests a suggestion after `codegen-lsp-idle-delay'.")

;;; When suggestions are inhibited

(defun codegen-lsp-region-active-p ()
  "Return non-nil while the region is active."
  (use-region-p))

(defun codegen-lsp-menu-open-p ()
  "Return non-nil while a completion menu is open."
  (or completion-in-region-mode
      (bound-and-true-p completion-preview-active-mode)
      (bound-and-true-p company-candidates)
      (and (boundp 'corfu--frame) (frame-live-p corfu--frame) (frame-visible-p corfu--frame))))

(defun codegen-lsp-not-inserting-p ()
  "Return non-nil if keys don't insert text into this buffer."
  (or buffer-read-only
      (bound-and-true-p isearch-mode)
      (bound-and-true-p multiple-cursors-mode)
      (and (bound-and-true-p evil-local-mode)
           (not (memq (bound-and-true-p evil-state) '(insert emacs))))))

;;; Requests and answers

(defun codegen-lsp--params (invoked)
  "Return the parameters of `textDocument/inlineCompletion' at point.
INVOKED is non-nil if the user makes the request explicitly."
  (list :textDocument (codegen-lsp-document)
        :position (codegen-lsp-position)
        :context (list :triggerKind (if invoked 1 2))
        :formattingOptions (list :tabSize tab-width
                                 :insertSpaces (if indent-tabs-mode :json-false t))))

(defun codegen-lsp-suggest (&optional invoked)
  "Request a suggestion at point, and cancel an earlier request.
INVOKED is non-nil if the user makes the request explicitly."
  (codegen-lsp--cancel)
  (when-let* ((server (codegen-lsp-current-server)))
    (codegen-lsp-sync)
    (let ((request (make-codegen-lsp--request
                    :server server :tick (buffer-chars-modified-tick)
                    :point (point) :invoked invoked)))
      (setq codegen-lsp--request request
            codegen-lsp--unanswered nil)
      (setf (codegen-lsp--request-id request)
            (codegen-lsp-request
             server :textDocument/inlineCompletion (codegen-lsp--params invoked)
             :success (lambda (result) (codegen-lsp--answered request (plist-get result :items)))
             :error (lambda (_problem) (codegen-lsp--answered request nil)))))))

(defun codegen-lsp--cancel ()
  "Cancel the scheduled request and the pending request of this buffer."
  (when codegen-lsp--timer
    (cancel-timer codegen-lsp--timer)
    (setq codegen-lsp--timer nil))
  (when-let* ((request codegen-lsp--request))
    (setq codegen-lsp--request nil)
    (codegen-lsp-cancel-request (codegen-lsp--request-server request)
                                (codegen-lsp--request-id request))))

(defun codegen-lsp--answered (request items)
  "Show the first of ITEMS if REQUEST is pending and the text has not changed."
  (when (eq request codegen-lsp--request)
    (setq codegen-lsp--request nil)
    (when (and codegen-lsp-mode
               (= (codegen-lsp--request-tick request) (buffer-chars-modified-tick))
               (= (codegen-lsp--request-point request) (point))
               (codegen-lsp--window))
      (let ((invoked (codegen-lsp--request-invoked request))
            (suggestions (delq nil (mapcar #'codegen-lsp--suggestion items))))
        (cond (suggestions (codegen-lsp--show suggestions invoked))
              ((and invoked codegen-lsp--ghost) (message "codegen-lsp: no other suggestion"))
              (t (codegen-lsp-clear)
                 (setq codegen-lsp--unanswered (cons (buffer-chars-modified-tick) (point)))
                 (when invoked (codegen-lsp--show-reason))))))))

(defun codegen-lsp--show-reason ()
  "Show why the answer to the last request of this buffer was empty."
  (codegen-lsp-last-request
   (lambda (request) (message "%s" (codegen-lsp--reason-message request)))))

(defun codegen-lsp--reason-message (request)
  "Return a sentence with the reason for the empty answer to REQUEST.
REQUEST is a record of the server."
  (format "codegen-lsp: no suggestion here: %s (M-x codegen-lsp-show-last-request)"
          (or (plist-get request :reason) "the server gave no reason")))

(defun codegen-lsp--suggestion (item)
  "Return ITEM of an answer as (TEXT SUFFIX . ITEM), or nil if it doesn't fit.
TEXT follows point once it is accepted, and replaces SUFFIX."
  (let* ((range (plist-get item :range))
         (beg (if range (codegen-lsp-point (plist-get range :start)) (point)))
         (end (if range (codegen-lsp-point (plist-get range :end)) (point)))
         (text (codegen-lsp--decode (plist-get item :insertText))))
    (when (and text (<= beg (point) end)
               (or (null range)
                   ;; A line past the end would be converted to the last line.
                   (= (plist-get (plist-get range :start) :line)
                      (plist-get (codegen-lsp-position) :line))))
      (let ((before (buffer-substring-no-properties beg (point)))
            (suffix (buffer-substring-no-properties (point) end)))
        (when (and (string-prefix-p before text)
                   (not (equal (substring text (length before)) suffix)))
          (cons (substring text (length before)) (cons suffix item)))))))

(defun codegen-lsp--decode (insert-text)
  "Return INSERT-TEXT of an item, a string or a snippet object, as buffer text."
  (let ((text (if (stringp insert-text) insert-text (plist-get insert-text :value))))
    (if (and text (eq 1 (coding-system-eol-type (or buffer-file-coding-system 'undecided))))
        (string-replace "\r\n" "\n" text)
      text)))

(defun codegen-lsp--schedule ()
  "Request a suggestion at point, now or after `codegen-lsp-idle-delay'."
  (codegen-lsp--cancel)
  (cond
   ((or (null codegen-lsp-idle-delay) executing-kbd-macro (minibufferp)) nil)
   ;; If a key is waiting, the answer to a request now would come too late.
   ((or (> codegen-lsp-idle-delay 0) (input-pending-p))
    (setq codegen-lsp--timer
          (run-with-idle-timer (max 0.01 codegen-lsp-idle-delay) nil
                               #'codegen-lsp--suggest-automatically (current-buffer))))
   (t (codegen-lsp--suggest-automatically (current-buffer)))))

(defun codegen-lsp--suggest-later ()
  "Request a suggestion after the current command, unless one is scheduled."
  (cond ((null codegen-lsp-idle-delay) (codegen-lsp-clear))
        ((null codegen-lsp--timer)
         (setq codegen-lsp--timer
               (run-with-timer 0 nil #'codegen-lsp--suggest-automatically (current-buffer))))))

(defun codegen-lsp--suggest-automatically (buffer)
  "Request a suggestion in BUFFER unless suggestions are inhibited."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (setq codegen-lsp--timer nil)
      (when (and codegen-lsp-mode
                 (eq (codegen-lsp--window) (selected-window))
                 (not (run-hook-with-args-until-success 'codegen-lsp-inhibit-functions)))
        (codegen-lsp-suggest)))))

(defun codegen-lsp-suggest-again ()
  "Repeat the last request if its answer was empty and point is still there."
  (when (equal codegen-lsp--unanswered (cons (buffer-chars-modified-tick) (point)))
    (codegen-lsp--suggest-automatically (current-buffer))))

;;; Hooks

(defun codegen-lsp-post-command ()
  "Remove an outdated ghost after each command, and request a new suggestion."
  ;; Emacs removes a hook that signals an error.
  (with-demoted-errors "codegen-lsp: %S"
    (codegen-lsp--follow-command)))

(defun codegen-lsp--follow-command ()
  "Implement `codegen-lsp-post-command'."
  (let ((tick (buffer-chars-modified-tick)))
    (when codegen-lsp--ghost
      (codegen-lsp--step-over codegen-lsp--ghost))
    (when (and codegen-lsp--ghost
               (or (not (codegen-lsp--intact-p codegen-lsp--ghost))
                   (run-hook-with-args-until-success 'codegen-lsp-inhibit-functions)))
      (codegen-lsp-clear))
    (cond
     ((/= tick (or codegen-lsp--tick tick))
      (unless codegen-lsp--ghost (codegen-lsp--schedule)))
     ((and codegen-lsp--request (/= (point) (codegen-lsp--request-point codegen-lsp--request)))
      (codegen-lsp--cancel)))
    (setq codegen-lsp--tick tick)))

(defun codegen-lsp-window-changed (window)
  "Tell the server that WINDOW was selected, or remove the ghost if it wasn't."
  (with-current-buffer (window-buffer window)
    (cond
     ((eq window (selected-window))
      (when-let* ((server (codegen-lsp-current-server)))
        (jsonrpc-notify server :textDocument/didFocus
                        (list :textDocument
                              (list :uri (plist-get (codegen-lsp-document) :uri))))))
     ((not (eq window (codegen-lsp--window)))
      (codegen-lsp--cancel)
      (codegen-lsp-clear)))))

(defun codegen-lsp--report-shown ()
  "Tell the server, once per item, which item is visible."
  (let* ((ghost codegen-lsp--ghost)
         (index (codegen-lsp--ghost-index ghost)))
    (when-let* ((server (and (not (memq index (codegen-lsp--ghost-reported ghost)))
                            (codegen-lsp-current-server))))
      (push index (codegen-lsp--ghost-reported ghost))
      (jsonrpc-notify server :textDocument/didShowCompletion
                      (list :item (codegen-lsp--item ghost))))))

(add-hook 'codegen-lsp-shown-hook #'codegen-lsp--report-shown)
(add-hook 'codegen-lsp-other-edit-hook #'codegen-lsp--suggest-later)
(add-hook 'codegen-lsp-disconnected-hook #'codegen-lsp-dismiss)

;;; Commands

(defun codegen-lsp-dismiss ()
  "Hide the suggestion until the next change of the text."
  (interactive)
  (codegen-lsp--cancel)
  (codegen-lsp-clear))

(defun codegen-lsp-complete ()
  "Request a suggestion at point.
It is shown even if the model is not confident."
  (interactive "*")
  (codegen-lsp-current-server-or-error)
  (codegen-lsp-suggest t))

(provide 'codegen-lsp-suggest)
;;; codegen-lsp-suggest.el ends here
