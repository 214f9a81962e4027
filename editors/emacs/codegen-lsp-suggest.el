;;; codegen-lsp-suggest.el --- Asking for suggestions  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Asks the server for suggestions at point, when the text has changed or
;; the user wants one, hands the answer to the ghost if it still fits, and
;; tells the server what became of it.  Knows neither how the server is
;; reached nor how a ghost looks.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'codegen-lsp-connection)
(require 'codegen-lsp-ghost)

(defvar company-candidates)
(defvar corfu--frame)
(defvar codegen-lsp-mode)

(defcustom codegen-lsp-idle-delay 0
  "Seconds without a key before a suggestion is asked for.
0 asks at once; a newer request cancels an older one, in the server too.
nil asks only when \\[codegen-lsp-complete] does."
  :type '(choice (number :tag "Seconds") (const :tag "Only by hand" nil))
  :group 'codegen-lsp)

(defcustom codegen-lsp-inhibit-functions
  '(codegen-lsp-region-active-p codegen-lsp-menu-open-p codegen-lsp-not-inserting-p)
  "Functions without arguments; while one returns non-nil, no ghost is shown.
A request by hand is made all the same."
  :type 'hook
  :group 'codegen-lsp)

(cl-defstruct codegen-lsp--question
  "A request on its way: its ID and SERVER, and for which TICK and POINT of the buffer."
  id server tick point invoked)

(defvar-local codegen-lsp--question nil
  "The request of this buffer that has no answer yet, or nil.")

(defvar-local codegen-lsp--tick nil
  "`buffer-chars-modified-tick' after the last command.")

(defvar-local codegen-lsp--unanswered nil
  "(TICK . POINT) of the last request that brought nothing.")

(defvar-local codegen-lsp--timer nil
  "The timer that asks after `codegen-lsp-idle-delay'.")

;;; When not to

(defun codegen-lsp-region-active-p ()
  "Non-nil while text is selected."
  (use-region-p))

(defun codegen-lsp-menu-open-p ()
  "Non-nil while a completion menu is open."
  (or completion-in-region-mode
      (bound-and-true-p completion-preview-active-mode)
      (bound-and-true-p company-candidates)
      (and (boundp 'corfu--frame) (frame-live-p corfu--frame) (frame-visible-p corfu--frame))))

(defun codegen-lsp-not-inserting-p ()
  "Non-nil where what is typed is not text for this buffer."
  (or buffer-read-only
      (bound-and-true-p isearch-mode)
      (bound-and-true-p multiple-cursors-mode)
      (and (bound-and-true-p evil-local-mode)
           (not (memq (bound-and-true-p evil-state) '(insert emacs))))))

;;; Asking

(defun codegen-lsp--params (invoked)
  "Parameters of `textDocument/inlineCompletion' at point; INVOKED by hand or not."
  (list :textDocument (codegen-lsp-document)
        :position (codegen-lsp-position)
        :context (list :triggerKind (if invoked 1 2))
        :formattingOptions (list :tabSize tab-width
                                 :insertSpaces (if indent-tabs-mode :json-false t))))

(defun codegen-lsp-ask (&optional invoked)
  "Ask for a suggestion at point, in place of whatever was asked before.
INVOKED says that the user wants one, and not that typing paused."
  (codegen-lsp--forget-question)
  (when-let* ((server (codegen-lsp-current-server)))
    (codegen-lsp-sync)
    (let ((question (make-codegen-lsp--question
                     :server server :tick (buffer-chars-modified-tick)
                     :point (point) :invoked invoked)))
      (setq codegen-lsp--question question
            codegen-lsp--unanswered nil)
      (setf (codegen-lsp--question-id question)
            (codegen-lsp-request
             server :textDocument/inlineCompletion (codegen-lsp--params invoked)
             :success (lambda (result) (codegen-lsp--answered question (plist-get result :items)))
             :error (lambda (_problem) (codegen-lsp--answered question nil)))))))

(defun codegen-lsp--forget-question ()
  "Take back the request that is on its way, if any."
  (when codegen-lsp--timer
    (cancel-timer codegen-lsp--timer)
    (setq codegen-lsp--timer nil))
  (when-let* ((question codegen-lsp--question))
    (setq codegen-lsp--question nil)
    (codegen-lsp-cancel-request (codegen-lsp--question-server question)
                                (codegen-lsp--question-id question))))

(defun codegen-lsp--answered (question items)
  "Show the first of ITEMS, if QUESTION is the last one and still about this text."
  (when (eq question codegen-lsp--question)
    (setq codegen-lsp--question nil)
    (when (and codegen-lsp-mode
               (= (codegen-lsp--question-tick question) (buffer-chars-modified-tick))
               (= (codegen-lsp--question-point question) (point))
               (codegen-lsp--window))
      (let ((invoked (codegen-lsp--question-invoked question))
            (suggestions (delq nil (mapcar #'codegen-lsp--suggestion items))))
        (cond (suggestions (codegen-lsp--show suggestions invoked))
              ((and invoked codegen-lsp--ghost) (message "codegen-lsp: no other suggestion"))
              (t (codegen-lsp-clear)
                 (setq codegen-lsp--unanswered (cons (buffer-chars-modified-tick) (point)))
                 (when invoked (codegen-lsp--tell-why))))))))

(defun codegen-lsp--tell-why ()
  "Say why the last request of this buffer brought nothing."
  (codegen-lsp-last-request (lambda (request) (message "%s" (codegen-lsp--why request)))))

(defun codegen-lsp--why (request)
  "A sentence on why REQUEST, as the server remembers it, brought nothing."
  (format "codegen-lsp: no suggestion here: %s (M-x codegen-lsp-show-last-request)"
          (or (plist-get request :reason) "the server gave no reason")))

(defun codegen-lsp--suggestion (item)
  "ITEM of an answer as (TEXT SUFFIX . ITEM) where it fits at point, otherwise nil.
TEXT is what follows point once it is accepted."
  (let* ((range (plist-get item :range))
         (beg (if range (codegen-lsp-point (plist-get range :start)) (point)))
         (end (if range (codegen-lsp-point (plist-get range :end)) (point)))
         (text (codegen-lsp--decode (plist-get item :insertText))))
    (when (and text (<= beg (point) end)
               (or (null range)
                   ;; A line that is not there would be taken for the last one.
                   (= (plist-get (plist-get range :start) :line)
                      (plist-get (codegen-lsp-position) :line))))
      (let ((before (buffer-substring-no-properties beg (point)))
            (suffix (buffer-substring-no-properties (point) end)))
        (when (and (string-prefix-p before text)
                   (not (equal (substring text (length before)) suffix)))
          (cons (substring text (length before)) (cons suffix item)))))))

(defun codegen-lsp--decode (insert-text)
  "INSERT-TEXT of an item, a string or a snippet object, as text of a buffer."
  (let ((text (if (stringp insert-text) insert-text (plist-get insert-text :value))))
    (if (and text (eq 1 (coding-system-eol-type (or buffer-file-coding-system 'undecided))))
        (string-replace "\r\n" "\n" text)
      text)))

(defun codegen-lsp--schedule ()
  "Ask soon for a suggestion at point, if one is wanted here."
  (codegen-lsp--forget-question)
  (cond
   ((or (null codegen-lsp-idle-delay) executing-kbd-macro (minibufferp)) nil)
   ;; With a key waiting already an answer would come too late.
   ((or (> codegen-lsp-idle-delay 0) (input-pending-p))
    (setq codegen-lsp--timer
          (run-with-idle-timer (max 0.01 codegen-lsp-idle-delay) nil
                               #'codegen-lsp--ask-unasked (current-buffer))))
   (t (codegen-lsp--ask-unasked (current-buffer)))))

(defun codegen-lsp--ask-later ()
  "Ask once all that is being done now is done."
  (cond ((null codegen-lsp-idle-delay) (codegen-lsp-clear))
        ((null codegen-lsp--timer)
         (setq codegen-lsp--timer
               (run-with-timer 0 nil #'codegen-lsp--ask-unasked (current-buffer))))))

(defun codegen-lsp--ask-unasked (buffer)
  "Ask for a suggestion in BUFFER unless something speaks against it."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (setq codegen-lsp--timer nil)
      (when (and codegen-lsp-mode
                 (eq (codegen-lsp--window) (selected-window))
                 (not (run-hook-with-args-until-success 'codegen-lsp-inhibit-functions)))
        (codegen-lsp-ask)))))

(defun codegen-lsp-ask-again ()
  "Repeat the request that brought nothing, if text and point are the same."
  (when (equal codegen-lsp--unanswered (cons (buffer-chars-modified-tick) (point)))
    (codegen-lsp--ask-unasked (current-buffer))))

;;; What happens in the buffer

(defun codegen-lsp-post-command ()
  "After each command: drop a ghost that is wrong now, and ask for the next."
  ;; A hook that signals an error is removed, and would be missed.
  (with-demoted-errors "codegen-lsp: %S"
    (codegen-lsp--follow-command)))

(defun codegen-lsp--follow-command ()
  "Do what `codegen-lsp-post-command' promises."
  (let ((tick (buffer-chars-modified-tick)))
    (when codegen-lsp--ghost
      (codegen-lsp--stepped-over codegen-lsp--ghost))
    (when (and codegen-lsp--ghost
               (or (not (codegen-lsp--intact-p codegen-lsp--ghost))
                   (run-hook-with-args-until-success 'codegen-lsp-inhibit-functions)))
      (codegen-lsp-clear))
    (cond
     ((/= tick (or codegen-lsp--tick tick))
      (unless codegen-lsp--ghost (codegen-lsp--schedule)))
     ((and codegen-lsp--question (/= (point) (codegen-lsp--question-point codegen-lsp--question)))
      (codegen-lsp--forget-question)))
    (setq codegen-lsp--tick tick)))

(defun codegen-lsp-window-changed (window)
  "WINDOW was selected, or is not any more: leave no ghost behind in it."
  (with-current-buffer (window-buffer window)
    (cond
     ((eq window (selected-window))
      (when-let* ((server (codegen-lsp-current-server)))
        (jsonrpc-notify server :textDocument/didFocus
                        (list :textDocument
                              (list :uri (plist-get (codegen-lsp-document) :uri))))))
     ((not (eq window (codegen-lsp--window)))
      (codegen-lsp--forget-question)
      (codegen-lsp-clear)))))

(defun codegen-lsp--tell-shown ()
  "Tell the server, once, that the item of the ghost is to be seen."
  (let* ((ghost codegen-lsp--ghost)
         (index (codegen-lsp--ghost-index ghost)))
    (when-let* ((server (and (not (memq index (codegen-lsp--ghost-told ghost)))
                            (codegen-lsp-current-server))))
      (push index (codegen-lsp--ghost-told ghost))
      (jsonrpc-notify server :textDocument/didShowCompletion
                      (list :item (codegen-lsp--item ghost))))))

(add-hook 'codegen-lsp-shown-hook #'codegen-lsp--tell-shown)
(add-hook 'codegen-lsp-edited-elsewhere-hook #'codegen-lsp--ask-later)
(add-hook 'codegen-lsp-disconnected-hook #'codegen-lsp-dismiss)

;;; Commands

(defun codegen-lsp--accept (length)
  "Take the first LENGTH characters of the ghost, and tell the server."
  (let ((ghost (codegen-lsp--take length)))
    (when-let* ((server (codegen-lsp-current-server)))
      (codegen-lsp-sync)
      (if codegen-lsp--ghost
          (jsonrpc-notify server :textDocument/didPartiallyAcceptCompletion
                          (list :item (codegen-lsp--item ghost)
                                :acceptedLength (codegen-lsp--accepted-length ghost)))
        (when-let* ((command (plist-get (codegen-lsp--item ghost) :command)))
          (codegen-lsp-execute (plist-get command :command)
                               (plist-get command :arguments)))))))

(defun codegen-lsp--accepted-length (ghost)
  "How many UTF-16 code units of the text of the item of GHOST are in the buffer.
Its text may begin with what stood before point already, and the text
of GHOST may end with what stands after it."
  (let* ((insert-text (codegen-lsp--decode (plist-get (codegen-lsp--item ghost) :insertText)))
         (typed (codegen-lsp--ghost-typed ghost))
         (start (or (string-search typed insert-text) 0))
         (taken (substring insert-text 0 (min (length insert-text) (+ start (length typed))))))
    (codegen-lsp--utf-16-length taken)))

(defun codegen-lsp--utf-16-length (text)
  "How many UTF-16 code units TEXT has."
  (+ (length text) (seq-count (lambda (char) (> char #xffff)) text)))

(defun codegen-lsp-accept ()
  "Insert the suggestion that is shown."
  (interactive "*")
  (codegen-lsp--accept most-positive-fixnum))

(defun codegen-lsp-accept-word ()
  "Insert the next word of the suggestion, or the next run of other characters."
  (interactive "*")
  (let ((rest (codegen-lsp--rest (codegen-lsp--ghost-or-error))))
    (string-match "\\`[ \t\n\r]*\\(?:[[:alnum:]_]+\\|[^[:alnum:]_ \t\n\r]+\\)?" rest)
    (codegen-lsp--accept (max 1 (match-end 0)))))

(defun codegen-lsp-accept-line ()
  "Insert the suggestion up to the end of its line; at the end, the next line."
  (interactive "*")
  (let ((rest (codegen-lsp--rest (codegen-lsp--ghost-or-error))))
    (string-match "\\`\n*[^\n]*" rest)
    (codegen-lsp--accept (max 1 (match-end 0)))))

(defun codegen-lsp--cycle (step)
  "Show the suggestion STEP places on; ask for more where there is only one."
  (let* ((ghost (codegen-lsp--ghost-or-error))
         (typed (codegen-lsp--ghost-typed ghost))
         (items (codegen-lsp--ghost-items ghost))
         (fitting (seq-filter (lambda (index) (string-prefix-p typed (car (nth index items))))
                              (number-sequence 0 (1- (length items)))))
         (place (seq-position fitting (codegen-lsp--ghost-index ghost))))
    (if (and (null (cdr fitting)) (not (codegen-lsp--ghost-invoked ghost)))
        (codegen-lsp-ask t)
      (let ((next (mod (+ place step) (length fitting))))
        (setf (codegen-lsp--ghost-index ghost) (nth next fitting))
        (codegen-lsp--draw)
        (message "codegen-lsp: suggestion %d of %d" (1+ next) (length fitting))))))

(defun codegen-lsp-next ()
  "Show the next suggestion."
  (interactive)
  (codegen-lsp--cycle 1))

(defun codegen-lsp-previous ()
  "Show the previous suggestion."
  (interactive)
  (codegen-lsp--cycle -1))

(defun codegen-lsp-dismiss ()
  "Show no suggestion until the next change of the text."
  (interactive)
  (codegen-lsp--forget-question)
  (codegen-lsp-clear))

(defun codegen-lsp-complete ()
  "Ask for a suggestion at point."
  (interactive "*")
  (codegen-lsp-current-server-or-error)
  (codegen-lsp-ask t))

(provide 'codegen-lsp-suggest)
;;; codegen-lsp-suggest.el ends here
