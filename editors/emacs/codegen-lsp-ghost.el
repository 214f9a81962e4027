;;; codegen-lsp-ghost.el --- Ghost text: a suggestion shown at point  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Shows one of several suggestions at point as an overlay, updates it while
;; the text changes, and inserts it.  Knows nothing of servers, requests and
;; keys.
;;
;; A buffer has one ghost at most.  It depends on two strings in the buffer
;; around point: the part of the suggestion that is typed already, and the
;; text after point that the suggestion replaces, such as a bracket that was
;; closed automatically.  Every change is compared with these two before the
;; next redisplay.  So the overlay is either up to date or deleted, even if a
;; command redisplays before it ends, as `blink-matching-open' does.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)
(require 'codegen-lsp-weave)

(defface codegen-lsp-ghost '((t :inherit shadow :slant italic))
  "Face for ghost text."
  :group 'codegen-lsp)

(cl-defstruct codegen-lsp--ghost
  "A suggestion that is shown.
ITEMS are the candidates of the answer as (TEXT . LSP-ITEM), and INDEX is
the index of the shown one.  TYPED is the beginning of TEXT that is in the
buffer before POSITION, and SUFFIX is the text after POSITION that every
TEXT replaces.  INVOKED is non-nil if the user requested it explicitly.
REPORTED are the indices that the server was told were shown."
  ;; POSITION is not a marker: undo moves markers back, and
  ;; `electric-pair-mode' undoes an insertion to check the balance.
  items index typed position suffix overlays invoked reported)

(defvar-local codegen-lsp--ghost nil
  "The ghost of this buffer, or nil.
`codegen-lsp-ghost-map' is active while it is non-nil.")

(defvar codegen-lsp--inserting nil
  "Non-nil while the package inserts a suggestion.")

(defvar codegen-lsp-shown-hook nil
  "Hook that is run when a buffer's ghost shows another suggestion.")

(defvar codegen-lsp-other-edit-hook nil
  "Hook that is run when text changes away from the ghost, which stays valid.")

;;; Showing

(defun codegen-lsp--window ()
  "Return the window in which the user edits this buffer, or nil.
While the minibuffer is active, it is the window that was selected before."
  (let ((window (or (minibuffer-selected-window) (selected-window))))
    (and (eq (current-buffer) (window-buffer window)) window)))

(defun codegen-lsp--show (suggestions invoked)
  "Show the first of SUGGESTIONS at point.
INVOKED is non-nil if the user requested them explicitly."
  (codegen-lsp-clear)
  (let ((suffix (car (seq-sort-by #'length #'> (mapcar #'cadr suggestions)))))
    (setq codegen-lsp--ghost
          (make-codegen-lsp--ghost
           ;; If an item replaces less than the longest suffix, the difference is
           ;; appended to its text: the same edit, with one suffix for all items.
           :items (cl-loop for (text its-suffix . item) in suggestions
                           collect (cons (concat text (substring suffix (length its-suffix)))
                                         item))
           :index 0 :typed "" :position (point)
           :suffix suffix :invoked invoked)))
  (codegen-lsp--draw))

(defun codegen-lsp-clear ()
  "Remove the ghost of this buffer."
  (when-let* ((ghost codegen-lsp--ghost))
    (setq codegen-lsp--ghost nil)
    (mapc #'delete-overlay (codegen-lsp--ghost-overlays ghost))))

(defun codegen-lsp--item (ghost)
  "Return the current LSP item of GHOST."
  (cdr (nth (codegen-lsp--ghost-index ghost) (codegen-lsp--ghost-items ghost))))

(defun codegen-lsp--remainder (ghost)
  "Return the text of GHOST that is not typed yet."
  (substring (car (nth (codegen-lsp--ghost-index ghost) (codegen-lsp--ghost-items ghost)))
             (length (codegen-lsp--ghost-typed ghost))))

(defun codegen-lsp--draw ()
  "Update the overlays of the ghost, or remove it if nothing is left to show."
  (let* ((ghost codegen-lsp--ghost)
         (remainder (codegen-lsp--remainder ghost))
         (suffix (codegen-lsp--ghost-suffix ghost))
         (position (codegen-lsp--ghost-position ghost)))
    (if (or (string-empty-p remainder) (equal remainder suffix))
        (codegen-lsp-clear)
      (mapc #'delete-overlay (codegen-lsp--ghost-overlays ghost))
      (setf (codegen-lsp--ghost-overlays ghost)
            (codegen-lsp--make-overlays position remainder suffix))
      (run-hooks 'codegen-lsp-shown-hook))))

(defun codegen-lsp--make-overlays (position text suffix)
  "Return overlays that show TEXT at POSITION, around or instead of SUFFIX."
  (if-let* ((pieces (codegen-lsp-weave text suffix)))
      (delq nil (seq-map-indexed
                 (lambda (piece index)
                   (let ((start (+ position index)))
                     (codegen-lsp--overlay start start piece (= index 0))))
                 pieces))
    (list (codegen-lsp--overlay position (+ position (length suffix)) text t))))

(defun codegen-lsp--overlay (beg end text at-point)
  "Return an overlay with TEXT as a replacement for BEG to END.
Return nil if TEXT is empty.  AT-POINT is non-nil if point is at BEG; the
cursor is then drawn before TEXT."
  (unless (string-empty-p text)
    (let ((overlay (make-overlay beg end nil t nil))
          (shown (propertize text 'face 'codegen-lsp-ghost)))
      (when at-point
        ;; The cursor can't be drawn on a newline, so a space goes before it.
        (when (eq ?\n (aref shown 0))
          (setq shown (concat " " shown)))
        (put-text-property 0 1 'cursor 1 shown))
      (when (< beg end)
        (overlay-put overlay 'display ""))
      (overlay-put overlay 'codegen-lsp t)
      (overlay-put overlay 'window (codegen-lsp--window))
      (overlay-put overlay 'priority 1000)
      (overlay-put overlay (if (< beg end) 'before-string 'after-string) shown)
      overlay)))

;;; Following changes

(defun codegen-lsp--matching (ghost typed)
  "Return the index of an item of GHOST that begins with TYPED, or nil.
The item that is shown takes precedence."
  (let* ((items (codegen-lsp--ghost-items ghost))
         (shown (codegen-lsp--ghost-index ghost)))
    (seq-find (lambda (index) (string-prefix-p typed (car (nth index items))))
              (cons shown (number-sequence 0 (1- (length items)))))))

(defun codegen-lsp-after-change (beg end length)
  "Update the ghost after a change.
LENGTH characters were replaced by those from BEG to END."
  ;; Emacs removes a hook that signals an error.
  (with-demoted-errors "codegen-lsp: %S"
    (codegen-lsp--follow-change beg end length)))

(defun codegen-lsp--follow-change (beg end length)
  "Implement `codegen-lsp-after-change' for BEG, END and LENGTH."
  (when (and codegen-lsp--ghost (not codegen-lsp--inserting))
    (let* ((ghost codegen-lsp--ghost)
           (position (codegen-lsp--ghost-position ghost))
           (suffix-end (+ position (length (codegen-lsp--ghost-suffix ghost)))))
      (cond
       ((and (= length 0) (= beg position)) (codegen-lsp--inserted ghost beg end))
       ((and (= beg end) (= (+ beg length) position)) (codegen-lsp--deleted ghost length))
       ((and (= beg end position) (<= (+ beg length) suffix-end))
        (cl-callf substring (codegen-lsp--ghost-suffix ghost) length)
        (codegen-lsp--draw))
       ;; Away from point the ghost stays, but another suggestion may fit better.
       ((> beg suffix-end) (run-hooks 'codegen-lsp-other-edit-hook))
       ((codegen-lsp--on-earlier-lines-p ghost beg end length)
        (cl-incf (codegen-lsp--ghost-position ghost) (- end beg length))
        (run-hooks 'codegen-lsp-other-edit-hook))
       (t (codegen-lsp-clear))))))

(defun codegen-lsp--on-earlier-lines-p (ghost beg end length)
  "Return non-nil if a change was on lines above GHOST.
The change replaced LENGTH characters by those from BEG to END."
  (let ((start (- (codegen-lsp--ghost-position ghost) (length (codegen-lsp--ghost-typed ghost)))))
    (and (<= (+ beg length) start)
         (<= end (save-excursion
                   (goto-char (+ start (- end beg length)))
                   (pos-bol))))))

(defun codegen-lsp--inserted (ghost beg end)
  "Update GHOST after text was inserted at its position, from BEG to END."
  (let* ((text (buffer-substring-no-properties beg end))
         (typed (concat (codegen-lsp--ghost-typed ghost) text))
         (index (codegen-lsp--matching ghost typed))
         (suffix (concat text (codegen-lsp--ghost-suffix ghost))))
    (cond
     (index
      (setf (codegen-lsp--ghost-typed ghost) typed
            (codegen-lsp--ghost-index ghost) index
            (codegen-lsp--ghost-position ghost) end)
      (codegen-lsp--draw))
     ;; A bracket that was closed automatically: the suggestion contains it as well.
     ((and (string-match-p "\\`[])}\"'`]+\\'" text)
           (codegen-lsp-weave (codegen-lsp--remainder ghost) suffix))
      (setf (codegen-lsp--ghost-suffix ghost) suffix)
      (codegen-lsp--draw))
     (t (codegen-lsp-clear)))))

(defun codegen-lsp--deleted (ghost length)
  "Update GHOST after LENGTH characters before its position were deleted."
  (let ((typed-length (- (length (codegen-lsp--ghost-typed ghost)) length)))
    (if (< typed-length 0)
        (codegen-lsp-clear)
      (cl-callf substring (codegen-lsp--ghost-typed ghost) 0 typed-length)
      (cl-decf (codegen-lsp--ghost-position ghost) length)
      (codegen-lsp--draw))))

(defun codegen-lsp--intact-p (ghost)
  "Return non-nil if point and the text around it are as GHOST requires."
  (let* ((position (codegen-lsp--ghost-position ghost))
         (typed (codegen-lsp--ghost-typed ghost))
         (suffix (codegen-lsp--ghost-suffix ghost))
         (start (- position (length typed)))
         (end (+ position (length suffix))))
    (and (= position (point))
         (<= (point-min) start)
         (<= end (point-max))
         (equal typed (buffer-substring-no-properties start position))
         (equal suffix (buffer-substring-no-properties position end)))))

(defun codegen-lsp--step-over (ghost)
  "Update GHOST after point moved over closing brackets that come next in it.
In `electric-pair-mode' typing a closing bracket moves over it."
  (let* ((suffix (codegen-lsp--ghost-suffix ghost))
         (steps (- (point) (codegen-lsp--ghost-position ghost))))
    (when (and (< 0 steps (1+ (length suffix)))
               (string-prefix-p (substring suffix 0 steps) (codegen-lsp--remainder ghost)))
      (cl-callf concat (codegen-lsp--ghost-typed ghost) (substring suffix 0 steps))
      (setf (codegen-lsp--ghost-suffix ghost) (substring suffix steps)
            (codegen-lsp--ghost-position ghost) (point))
      (codegen-lsp--draw))))

;;; Inserting

(defun codegen-lsp--ghost-or-error ()
  "Return the ghost of this buffer, or signal an error if there is none."
  (or (and codegen-lsp--ghost (codegen-lsp--intact-p codegen-lsp--ghost) codegen-lsp--ghost)
      (user-error "No suggestion is shown")))

(defun codegen-lsp--insert (length)
  "Insert the first LENGTH characters of the ghost and return the ghost.
Remove it if nothing is left to show."
  (let* ((ghost (codegen-lsp--ghost-or-error))
         (remainder (codegen-lsp--remainder ghost))
         (suffix (codegen-lsp--ghost-suffix ghost))
         (pieces (codegen-lsp-weave remainder suffix)))
    (undo-boundary)
    (let ((codegen-lsp--inserting t))
      (cond (pieces (codegen-lsp--insert-pieces ghost pieces length))
            ((< length (length remainder))
             (codegen-lsp--insert-text ghost (substring remainder 0 length)))
            (t (delete-region (point) (+ (point) (length suffix)))
               (codegen-lsp--insert-text ghost remainder))))
    (setf (codegen-lsp--ghost-position ghost) (point))
    (codegen-lsp--draw)
    ghost))

(defun codegen-lsp--insert-text (ghost text)
  "Insert TEXT, which comes next in GHOST, before point."
  (insert text)
  (cl-callf concat (codegen-lsp--ghost-typed ghost) text))

(defun codegen-lsp--insert-pieces (ghost pieces length)
  "Insert PIECES of GHOST around the text that is in the buffer already.
Stop after LENGTH characters, unless only empty pieces are left then."
  (while pieces
    (let ((piece (pop pieces)))
      (codegen-lsp--insert-text ghost (substring piece 0 (min length (length piece))))
      (cl-decf length (length piece))
      (cond ((< length 0) (setq pieces nil))
            ((and (<= length 0) (not (seq-every-p #'string-empty-p pieces))) (setq pieces nil))
            (pieces
             (cl-callf concat (codegen-lsp--ghost-typed ghost) (string (char-after)))
             (cl-callf substring (codegen-lsp--ghost-suffix ghost) 1)
             (forward-char)
             (cl-decf length))))))

(provide 'codegen-lsp-ghost)
;;; codegen-lsp-ghost.el ends here
