;;; codegen-lsp-surprise.el --- How surprising a buffer is to the model  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Colours each token of a buffer by how little the model expected it, and
;; lists the most surprising lines, which often have a misspelt name or a
;; wrong sign.  The data is the answer to the server's command
;; `codegen.surprise'; it is removed at the first change of the text.

;;; Code:

(require 'seq)
(require 'tabulated-list)
(require 'codegen-lsp-connection)
(require 'codegen-lsp-documents)

(defface codegen-lsp-surprise-1
  '((((background light)) :background "#fbeae3") (t :background "#38302c"))
  "Face for tokens with a surprise of 1.5 bits or more."
  :group 'codegen-lsp)

(defface codegen-lsp-surprise-2
  '((((background light)) :background "#f7cfbf") (t :background "#54352a"))
  "Face for tokens with a surprise of 4 bits or more."
  :group 'codegen-lsp)

(defface codegen-lsp-surprise-3
  '((((background light)) :background "#f0a58c") (t :background "#7d3b29"))
  "Face for tokens with a surprise of 8 bits or more."
  :group 'codegen-lsp)

(defface codegen-lsp-surprise-4
  '((((background light)) :background "#e87254") (t :background "#b03a22"))
  "Face for tokens with a surprise of 12 bits or more."
  :group 'codegen-lsp)

(defvar-local codegen-lsp--surprise-request nil
  "(SERVER . ID) of the pending request that measures this buffer, or nil.")

(defvar-local codegen-lsp--surprise-overlays nil
  "The overlays that colour this buffer.
The value t means that the buffer was measured and needs none.")

(defconst codegen-lsp--surprise-list "*codegen-lsp surprise*"
  "Name of the buffer with the list of the most surprising lines.")

;;;###autoload
(defun codegen-lsp-surprise ()
  "Colour this buffer by how little the model expected each token.
List the most surprising lines in another buffer, from which you can jump
to them.  A change of the text, or a second call, removes the colours and
the list.  A second call during the measurement cancels it."
  (interactive)
  (cond (codegen-lsp--surprise-overlays (codegen-lsp-surprise-clear))
        (codegen-lsp--surprise-request
         (codegen-lsp-cancel-request (car codegen-lsp--surprise-request)
                                     (cdr codegen-lsp--surprise-request))
         (setq codegen-lsp--surprise-request nil)
         (message "codegen-lsp: cancelled"))
        (t (codegen-lsp--surprise-measure))))

(defun codegen-lsp--surprise-measure ()
  "Request the surprise of this buffer from its server."
  (let* ((server (codegen-lsp-current-server-or-error))
         (tick (buffer-chars-modified-tick))
         (request (cons server nil)))
    (codegen-lsp-sync)
    (setq codegen-lsp--surprise-request request)
    (setcdr request
            (codegen-lsp-request
             server :workspace/executeCommand
             (list :command "codegen.surprise"
                   :arguments (vector (list :uri (plist-get (codegen-lsp-document) :uri))))
             :timeout 3600
             :success (lambda (answer) (codegen-lsp--surprise-answered request tick answer))
             :error (lambda (problem)
                      (codegen-lsp--surprise-answered
                       request tick (list :reason "error" :message (plist-get problem :message))))))
    (message "codegen-lsp: measuring; M-x codegen-lsp-surprise cancels it")))

(defun codegen-lsp--surprise-answered (request tick answer)
  "Show ANSWER if REQUEST is pending and the text is the same as at TICK."
  (when (eq request codegen-lsp--surprise-request)
    (setq codegen-lsp--surprise-request nil)
    (cond ((plist-get answer :reason)
           (message "codegen-lsp: %s" (plist-get answer :message)))
          ((/= tick (buffer-chars-modified-tick))
           (message "codegen-lsp: the text changed during the measurement"))
          (t (codegen-lsp--surprise-show answer)))))

(defun codegen-lsp--surprise-show (answer)
  "Colour this buffer as in ANSWER, and list its most surprising lines."
  (setq codegen-lsp--surprise-overlays
        (or (delq nil (mapcar #'codegen-lsp--surprise-overlay (plist-get answer :tokens))) t))
  (add-hook 'after-change-functions #'codegen-lsp-surprise-clear nil t)
  (add-hook 'change-major-mode-hook #'codegen-lsp-surprise-clear nil t)
  (add-hook 'kill-buffer-hook #'codegen-lsp-surprise-clear nil t)
  (codegen-lsp--surprise-list-lines (current-buffer) (plist-get answer :lines))
  (let ((totals (plist-get answer :totals)))
    (message "codegen-lsp: %d tokens, perplexity %.2f, %.3f bits per byte"
             (plist-get totals :tokens) (plist-get totals :perplexity)
             (plist-get totals :bitsPerByte))))

(defun codegen-lsp-surprise-face (bits)
  "Return the face of a token with BITS of surprise, or nil if they are few."
  (cond ((>= bits 12) 'codegen-lsp-surprise-4)
        ((>= bits 8) 'codegen-lsp-surprise-3)
        ((>= bits 4) 'codegen-lsp-surprise-2)
        ((>= bits 1.5) 'codegen-lsp-surprise-1)))

(defun codegen-lsp--surprise-overlay (token)
  "Return an overlay for TOKEN of an answer, or nil if it needs no colour."
  (when-let* ((bits (plist-get token :bits))
              (face (codegen-lsp-surprise-face bits)))
    (let* ((range (plist-get token :range))
           (overlay (make-overlay (codegen-lsp-point (plist-get range :start))
                                  (codegen-lsp-point (plist-get range :end)))))
      (overlay-put overlay 'face face)
      (overlay-put overlay 'codegen-lsp-surprise bits)
      (overlay-put overlay 'help-echo (format "%.1f bits of surprise" bits))
      overlay)))

(defun codegen-lsp-surprise-clear (&rest _)
  "Remove the colours of surprise from this buffer, and the list of lines."
  (when codegen-lsp--surprise-overlays
    (when (consp codegen-lsp--surprise-overlays)
      (mapc #'delete-overlay codegen-lsp--surprise-overlays))
    (setq codegen-lsp--surprise-overlays nil)
    (dolist (hook '(after-change-functions change-major-mode-hook kill-buffer-hook))
      (remove-hook hook #'codegen-lsp-surprise-clear t))
    (when-let* ((list (get-buffer codegen-lsp--surprise-list)))
      (when (eq (buffer-local-value 'codegen-lsp--surprise-source list) (current-buffer))
        ;; It is not safe to close a window during a change.
        (run-with-timer 0 nil (lambda ()
                                (when (buffer-live-p list) (quit-windows-on list t))))))))

;;; The list

(defvar-local codegen-lsp--surprise-source nil
  "The buffer whose lines this buffer lists.")

(defvar-keymap codegen-lsp-surprise-mode-map
  :doc "Keymap for the list of the most surprising lines."
  :parent tabulated-list-mode-map
  "RET" #'codegen-lsp-surprise-goto
  "o" #'codegen-lsp-surprise-display)

(define-derived-mode codegen-lsp-surprise-mode tabulated-list-mode "Surprise"
  "Major mode for the list of the most surprising lines of a buffer.
\\{codegen-lsp-surprise-mode-map}"
  (setq tabulated-list-format [("Bits per token" 14 nil) ("Line" 7 nil) ("Text" 0 nil)]
        tabulated-list-padding 1)
  (tabulated-list-init-header))

(defun codegen-lsp--surprise-list-lines (source lines)
  "Show a list of LINES of SOURCE, the most surprising first."
  (with-current-buffer (get-buffer-create codegen-lsp--surprise-list)
    (codegen-lsp-surprise-mode)
    (setq codegen-lsp--surprise-source source
          tabulated-list-entries
          (seq-map (lambda (line)
                     (let ((number (1+ (plist-get line :line))))
                       (list number
                             (vector (format "%.1f" (plist-get line :bitsPerToken))
                                     (number-to-string number)
                                     (plist-get line :text)))))
                   lines))
    (tabulated-list-print)
    (goto-char (point-min))
    (display-buffer (current-buffer) '(nil (inhibit-same-window . t) (window-height . 12)))))

(defun codegen-lsp--surprise-target ()
  "Return (BUFFER . POSITION) of the line that the list has at point."
  (let ((number (or (tabulated-list-get-id) (user-error "No line at point")))
        (source codegen-lsp--surprise-source))
    (unless (buffer-live-p source)
      (user-error "The buffer of these lines was killed"))
    (with-current-buffer source
      (save-restriction
        (widen)
        (save-excursion
          (goto-char (point-min))
          (forward-line (1- number))
          (back-to-indentation)
          (cons source (point)))))))

(defun codegen-lsp-surprise-goto ()
  "Go to the line at point."
  (interactive)
  (pcase-let ((`(,source . ,position) (codegen-lsp--surprise-target)))
    (pop-to-buffer source)
    (goto-char position)))

(defun codegen-lsp-surprise-display ()
  "Show the line at point in another window without leaving the list."
  (interactive)
  (pcase-let* ((`(,source . ,position) (codegen-lsp--surprise-target))
               (window (display-buffer source '(nil (inhibit-same-window . t)))))
    (set-window-point window position)))

(provide 'codegen-lsp-surprise)
;;; codegen-lsp-surprise.el ends here
