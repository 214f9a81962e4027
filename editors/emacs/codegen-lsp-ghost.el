;;; codegen-lsp-ghost.el --- A suggestion in the text, and not of it  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Shows one of several suggestions at point as an overlay, keeps it right
;; while the text changes, and puts it into the buffer.  Knows nothing of
;; servers, requests and keys.
;;
;; One ghost belongs to a buffer at most.  What it shows is computed
;; from two strings that must stand in the buffer around it: what was
;; typed of the suggestion, and the text after point that it takes the
;; place of, such as a bracket that was closed automatically.  Every
;; change is compared with these before the next redisplay, so that the
;; overlay is either right or gone, also where a command redisplays
;; half-way (`blink-matching-open' does).

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'subr-x)

(defface codegen-lsp-ghost '((t :inherit shadow :slant italic))
  "Face of a suggestion that is not in the buffer yet."
  :group 'codegen-lsp)

(cl-defstruct codegen-lsp--ghost
  "A suggestion that is shown.
ITEMS are the (TEXT . LSP-ITEM) of the answer, INDEX is the one shown.
TYPED is what stands of TEXT in the buffer before the position AT; SUFFIX
is the text after AT that every TEXT takes the place of.  INVOKED is
non-nil where the user asked.  TOLD are the indices that the server knows
were shown."
  ;; AT is no marker: undoing moves markers to where they were, and
  ;; `electric-pair-mode' undoes what was typed to see what balances.
  items index typed at suffix overlays invoked told)

(defvar-local codegen-lsp--ghost nil
  "The ghost of this buffer, or nil.  The ghost's keys are on where it is not nil.")

(defvar codegen-lsp--inserting nil
  "Non-nil while the package itself changes the text.")

(defvar codegen-lsp-shown-hook nil
  "Run when the ghost of the buffer shows another suggestion.")

(defvar codegen-lsp-edited-elsewhere-hook nil
  "Run when the text changes around a ghost that is right all the same.")

;;; Showing

(defun codegen-lsp--window ()
  "The window in which the user edits this buffer, or nil.
While the minibuffer is in use it is the one from which that was entered."
  (let ((window (or (minibuffer-selected-window) (selected-window))))
    (and (eq (current-buffer) (window-buffer window)) window)))

(defun codegen-lsp--show (suggestions invoked)
  "Show the first of SUGGESTIONS at point; INVOKED by hand or not."
  (codegen-lsp-clear)
  (let ((suffix (car (seq-sort-by #'length #'> (mapcar #'cadr suggestions)))))
    (setq codegen-lsp--ghost
          (make-codegen-lsp--ghost
           ;; What an item leaves alone of the longest suffix is added to its text:
           ;; the same edit, and one suffix for all.
           :items (cl-loop for (text its-suffix . item) in suggestions
                           collect (cons (concat text (substring suffix (length its-suffix)))
                                         item))
           :index 0 :typed "" :at (point)
           :suffix suffix :invoked invoked)))
  (codegen-lsp--draw))

(defun codegen-lsp-clear ()
  "Show no ghost in this buffer."
  (when-let* ((ghost codegen-lsp--ghost))
    (setq codegen-lsp--ghost nil)
    (mapc #'delete-overlay (codegen-lsp--ghost-overlays ghost))))

(defun codegen-lsp--item (ghost)
  "The LSP item of GHOST that is to be seen."
  (cdr (nth (codegen-lsp--ghost-index ghost) (codegen-lsp--ghost-items ghost))))

(defun codegen-lsp--rest (ghost)
  "The text of GHOST without what is typed."
  (substring (car (nth (codegen-lsp--ghost-index ghost) (codegen-lsp--ghost-items ghost)))
             (length (codegen-lsp--ghost-typed ghost))))

(defun codegen-lsp--draw ()
  "Make the overlays of the ghost agree with it, and tell the server what is shown."
  (let* ((ghost codegen-lsp--ghost)
         (rest (codegen-lsp--rest ghost))
         (suffix (codegen-lsp--ghost-suffix ghost))
         (at (codegen-lsp--ghost-at ghost)))
    (if (or (string-empty-p rest) (equal rest suffix))
        (codegen-lsp-clear)
      (mapc #'delete-overlay (codegen-lsp--ghost-overlays ghost))
      (setf (codegen-lsp--ghost-overlays ghost)
            (if-let* ((pieces (codegen-lsp-weave rest suffix)))
                (delq nil (seq-map-indexed
                           (lambda (piece index)
                             (codegen-lsp--overlay (+ at index) (+ at index) piece (= index 0)))
                           pieces))
              (list (codegen-lsp--overlay at (+ at (length suffix)) rest t))))
      (run-hooks 'codegen-lsp-shown-hook))))

(defun codegen-lsp--overlay (beg end text at-point)
  "An overlay with TEXT in place of BEG to END, or nil for no TEXT.
AT-POINT says that point is at BEG, and is to be seen before TEXT."
  (unless (string-empty-p text)
    (let ((overlay (make-overlay beg end nil t nil))
          (shown (propertize text 'face 'codegen-lsp-ghost)))
      (when at-point
        ;; The cursor is not drawn on a newline; it gets a blank of its own.
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

(defun codegen-lsp-weave (text suffix)
  "The pieces of TEXT between which the characters of SUFFIX stand, or nil.
The first piece comes before the first character, and so on; the list is
one longer than SUFFIX.  A closing bracket of SUFFIX is the first one in
TEXT that nothing in TEXT opens.  nil where SUFFIX is not in TEXT so."
  (let ((whole (codegen-lsp--find text 0 suffix))
        (closers (string-match-p "\\`[])}\"'`:;, \t]*\\'" suffix))
        (start 0)
        (pieces nil))
    (cond
     (whole
      (append (list (substring text 0 whole))
              (make-list (max 0 (1- (length suffix))) "")
              (unless (string-empty-p suffix)
                (list (substring text (+ whole (length suffix)))))))
     (closers
      (cl-loop for char across suffix
               for place = (codegen-lsp--find text start (string char))
               unless place return nil
               do (push (substring text start place) pieces)
               do (setq start (1+ place))
               finally return (nreverse (cons (substring text start) pieces)))))))

(defun codegen-lsp--find (text start suffix)
  "The index from START in TEXT where SUFFIX stands, or nil.
Where SUFFIX begins with a closing bracket, it is one not opened after START."
  (cond
   ((string-empty-p suffix) (length text))
   ((not (seq-contains-p ")]}" (aref suffix 0))) (string-search suffix text start))
   (t (let ((depth 0))
        (cl-loop for index from start below (length text)
                 for char = (aref text index)
                 do (cond ((seq-contains-p "([{" char) (cl-incf depth))
                          ((seq-contains-p ")]}" char) (cl-decf depth)))
                 when (< depth 0)
                 return (and (string-prefix-p suffix (substring text index)) index))))))

;;; Keeping it right

(defun codegen-lsp--matching (ghost typed)
  "Index of the item of GHOST, the shown one first, that begins with TYPED, or nil."
  (let* ((items (codegen-lsp--ghost-items ghost))
         (shown (codegen-lsp--ghost-index ghost)))
    (seq-find (lambda (index) (string-prefix-p typed (car (nth index items))))
              (cons shown (number-sequence 0 (1- (length items)))))))

(defun codegen-lsp-after-change (beg end length)
  "Follow a change that replaced LENGTH characters by those from BEG to END."
  ;; A hook that signals an error is removed, and would be missed.
  (with-demoted-errors "codegen-lsp: %S"
    (codegen-lsp--follow-change beg end length)))

(defun codegen-lsp--follow-change (beg end length)
  "Do what `codegen-lsp-after-change' promises for BEG, END and LENGTH."
  (when (and codegen-lsp--ghost (not codegen-lsp--inserting))
    (let* ((ghost codegen-lsp--ghost)
           (at (codegen-lsp--ghost-at ghost))
           (suffix-end (+ at (length (codegen-lsp--ghost-suffix ghost)))))
      (cond
       ((and (= length 0) (= beg at)) (codegen-lsp--inserted ghost beg end))
       ((and (= beg end) (= (+ beg length) at)) (codegen-lsp--took-back ghost length))
       ((and (= beg end at) (<= (+ beg length) suffix-end))
        (cl-callf substring (codegen-lsp--ghost-suffix ghost) length)
        (codegen-lsp--draw))
       ;; Elsewhere: what is shown moves along, but another suggestion may be due.
       ((> beg suffix-end) (run-hooks 'codegen-lsp-edited-elsewhere-hook))
       ((codegen-lsp--on-earlier-lines-p ghost beg end length)
        (cl-incf (codegen-lsp--ghost-at ghost) (- end beg length))
        (run-hooks 'codegen-lsp-edited-elsewhere-hook))
       (t (codegen-lsp-clear))))))

(defun codegen-lsp--on-earlier-lines-p (ghost beg end length)
  "Non-nil if the change from BEG to END, of LENGTH before, was above GHOST."
  (let ((start (- (codegen-lsp--ghost-at ghost) (length (codegen-lsp--ghost-typed ghost)))))
    (and (<= (+ beg length) start)
         (<= end (save-excursion
                   (goto-char (+ start (- end beg length)))
                   (pos-bol))))))

(defun codegen-lsp--inserted (ghost beg end)
  "Follow text that was inserted at GHOST, from BEG to END."
  (let* ((text (buffer-substring-no-properties beg end))
         (typed (concat (codegen-lsp--ghost-typed ghost) text))
         (index (codegen-lsp--matching ghost typed))
         (suffix (concat text (codegen-lsp--ghost-suffix ghost))))
    (cond
     (index
      (setf (codegen-lsp--ghost-typed ghost) typed
            (codegen-lsp--ghost-index ghost) index
            (codegen-lsp--ghost-at ghost) end)
      (codegen-lsp--draw))
     ;; Closed automatically: the suggestion closes it itself, and takes its place.
     ((and (string-match-p "\\`[])}\"'`]+\\'" text)
           (codegen-lsp-weave (codegen-lsp--rest ghost) suffix))
      (setf (codegen-lsp--ghost-suffix ghost) suffix)
      (codegen-lsp--draw))
     (t (codegen-lsp-clear)))))

(defun codegen-lsp--took-back (ghost length)
  "Follow the deletion of LENGTH characters before GHOST."
  (let ((kept (- (length (codegen-lsp--ghost-typed ghost)) length)))
    (if (< kept 0)
        (codegen-lsp-clear)
      (cl-callf substring (codegen-lsp--ghost-typed ghost) 0 kept)
      (cl-decf (codegen-lsp--ghost-at ghost) length)
      (codegen-lsp--draw))))

(defun codegen-lsp--intact-p (ghost)
  "Non-nil where the text around GHOST is as it must be, and point is there."
  (let ((at (codegen-lsp--ghost-at ghost))
        (typed (codegen-lsp--ghost-typed ghost))
        (suffix (codegen-lsp--ghost-suffix ghost)))
    (and (= at (point))
         (<= (point-min) (- at (length typed)))
         (<= (+ at (length suffix)) (point-max))
         (equal typed (buffer-substring-no-properties (- at (length typed)) at))
         (equal suffix (buffer-substring-no-properties at (+ at (length suffix)))))))

(defun codegen-lsp--stepped-over (ghost)
  "Follow point where it went over closed brackets that GHOST has next as well.
That is what typing one of them does in `electric-pair-mode'."
  (let* ((at (codegen-lsp--ghost-at ghost))
         (suffix (codegen-lsp--ghost-suffix ghost))
         (steps (- (point) at)))
    (when (and (< 0 steps (1+ (length suffix)))
               (string-prefix-p (substring suffix 0 steps) (codegen-lsp--rest ghost)))
      (cl-callf concat (codegen-lsp--ghost-typed ghost) (substring suffix 0 steps))
      (setf (codegen-lsp--ghost-suffix ghost) (substring suffix steps)
            (codegen-lsp--ghost-at ghost) (point))
      (codegen-lsp--draw))))

;;; Taking it

(defun codegen-lsp--ghost-or-error ()
  "The ghost of this buffer; an error where there is none."
  (or (and codegen-lsp--ghost (codegen-lsp--intact-p codegen-lsp--ghost) codegen-lsp--ghost)
      (user-error "No suggestion is shown")))

(defun codegen-lsp--take (length)
  "Insert the first LENGTH characters of the ghost; return it.
Nothing of it may be left to show then."
  (let* ((ghost (codegen-lsp--ghost-or-error))
         (rest (codegen-lsp--rest ghost))
         (pieces (codegen-lsp-weave rest (codegen-lsp--ghost-suffix ghost))))
    (undo-boundary)
    (let ((codegen-lsp--inserting t))
      (cond (pieces (codegen-lsp--take-pieces ghost pieces length))
            ((< length (length rest)) (codegen-lsp--take-text ghost (substring rest 0 length)))
            (t (delete-region (point) (+ (point) (length (codegen-lsp--ghost-suffix ghost))))
               (codegen-lsp--take-text ghost rest))))
    (setf (codegen-lsp--ghost-at ghost) (point))
    (codegen-lsp--draw)
    ghost))

(defun codegen-lsp--take-text (ghost text)
  "Insert TEXT, the next of GHOST, before point."
  (insert text)
  (cl-callf concat (codegen-lsp--ghost-typed ghost) text))

(defun codegen-lsp--take-pieces (ghost pieces length)
  "Insert PIECES of GHOST, around what stands in the buffer already.
LENGTH says how many characters to go on, at least; where nothing is left
to insert after that, all."
  (while pieces
    (let ((piece (pop pieces)))
      (codegen-lsp--take-text ghost (substring piece 0 (min length (length piece))))
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
