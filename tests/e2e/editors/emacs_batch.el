;;; emacs_batch.el --- Tests of the real server in batch mode  -*- lexical-binding: t; -*-

;;; Commentary:

;; Loaded after emacs_init.el by test_emacs.py, which sets CODEGEN_EMACS_FILE
;; to a Python file that ends in a function without a body.

;;; Code:

(require 'ert)
(require 'python)
(require 'codegen-lsp)

(defun emacs-batch-wait (what condition)
  "Wait until the function CONDITION returns non-nil, and return its value.
WHAT is the condition in words, for a failure."
  (with-timeout (90 (ert-fail (format "not within 90 s: %s" what)))
    (let (result)
      (while (not (setq result (funcall condition)))
        (accept-process-output nil 0.05))
      result)))

(defun emacs-batch-type (text)
  "Type TEXT as the command loop does."
  (seq-doseq (char text)
    (setq last-command-event char)
    (call-interactively #'self-insert-command)
    (run-hooks 'post-command-hook)))

(defmacro emacs-batch-with (connection &rest body)
  "Run BODY at the end of the file, with `codegen-lsp-connection' CONNECTION."
  (declare (indent 1))
  `(let ((codegen-lsp-connection ,connection)
         (eglot-sync-connect t)
         (inhibit-message t))
     (when (eq ,connection 'eglot) (codegen-lsp-eglot-setup))
     (with-current-buffer (find-file-noselect (getenv "CODEGEN_EMACS_FILE"))
       (unwind-protect
           (progn
             (switch-to-buffer (current-buffer))
             (when (eq ,connection 'eglot) (apply #'eglot--connect (eglot--guess-contact)))
             (codegen-lsp-mode)
             (emacs-batch-wait "the model is ready"
                               (lambda ()
                                 (when-let ((server (codegen-lsp-current-server)))
                                   (equal "ready" (plist-get (codegen-lsp-server-status server) :state)))))
             (goto-char (point-max))
             ,@body)
         (codegen-lsp-mode -1)
         (when (eglot-managed-p) (eglot-shutdown (eglot-current-server)))
         (set-buffer-modified-p nil)
         (kill-buffer)))))

(defun emacs-batch-last-request ()
  "Return the server's record of its last request."
  (let (request)
    (codegen-lsp-execute "codegen.showLastRequest"
                         (vector (list :uri (plist-get (codegen-lsp-document) :uri)))
                         :success (lambda (result) (setq request result)))
    (emacs-batch-wait "the last request" (lambda () request))))

(defun emacs-batch-suggest (text)
  "Type TEXT, and more until there is a suggestion, and return the suggestion."
  (emacs-batch-type text)
  (cl-loop for more across "(len(x) + y) * (a - b"
           do (emacs-batch-wait "an answer" (lambda () (or codegen-lsp--ghost codegen-lsp--unanswered)))
           when codegen-lsp--ghost return (codegen-lsp--remainder codegen-lsp--ghost)
           do (emacs-batch-type (string more))
           finally (ert-fail "nothing was suggested anywhere")))

(ert-deftest emacs-batch-ghost-text ()
  (dolist (connection '(standalone eglot))
    (emacs-batch-with connection
      (should (eq (eq connection 'eglot) (eglot-managed-p)))
      (let* ((ghost (emacs-batch-suggest "return "))
             (before (buffer-string)))
        (codegen-lsp-accept)
        (should (equal (buffer-substring-no-properties (point-min) (point-max))
                       (concat before ghost))))
      (let ((request (emacs-batch-last-request)))
        (should (string-search "Return the area" (plist-get (plist-get request :prompt) :text)))
        (should (seq-some (lambda (candidate) (eq t (plist-get candidate :shown)))
                          (plist-get request :candidates)))
        (codegen-lsp-report request #'ignore)
        (with-current-buffer "*codegen-lsp last request*"
          (should (string-search "Return the area" (buffer-string)))
          (kill-buffer))))))

(ert-deftest emacs-batch-completion-at-point ()
  (emacs-batch-with 'eglot
    (let (beg end table plist entries)
      ;; The next text is typed if there is no completion after the one before.
      (cl-loop for text in '("retu" "rn wid" "th * hei" "ght + le") until entries
               do (emacs-batch-type text)
               (pcase-setq `(,beg ,end ,table . ,plist) (eglot-completion-at-point))
               (setq entries (all-completions (buffer-substring-no-properties beg end) table)))
      (should entries)
      (let* ((text (plist-get (plist-get (get-text-property 0 'eglot--lsp-item (car entries))
                                         :textEdit)
                              :newText))
             (word (buffer-substring-no-properties beg end))
             (before (string-remove-suffix word (buffer-string))))
        (delete-region beg end)
        (insert (car entries))
        (funcall (plist-get plist :exit-function) (car entries) 'finished)
        (should (string-prefix-p word text))
        (should (equal (buffer-substring-no-properties (point-min) (point-max))
                       (concat before text)))))))

(ert-deftest emacs-batch-write-the-body ()
  (dolist (connection '(standalone eglot))
    (emacs-batch-with connection
      (let ((before (string-trim-right (buffer-string))))
        (codegen-lsp-write-body)
        (emacs-batch-wait "the body" (lambda () (null codegen-lsp--body)))
        (should (string-prefix-p before (buffer-substring-no-properties (point-min) (point-max))))
        ;; The model may write nothing; then the record has a reason.
        (should (or (string-match-p "[[:alnum:]]" (substring (buffer-string) (length before)))
                    (plist-get (emacs-batch-last-request) :reason)))))))

(ert-deftest emacs-batch-pausing-and-restarting ()
  (emacs-batch-with 'standalone
    (cl-flet ((state () (plist-get (codegen-lsp-server-status (codegen-lsp-current-server)) :state)))
      (codegen-lsp-pause)
      (emacs-batch-wait "it is paused" (lambda () (equal (state) "paused")))
      (codegen-lsp-pause)
      (emacs-batch-wait "it is resumed" (lambda () (equal (state) "ready")))
      (codegen-lsp-restart)
      (emacs-batch-wait "the engine exits" (lambda () (not (equal (state) "ready"))))
      (emacs-batch-wait "the engine is back" (lambda () (equal (state) "ready")))
      (should (stringp (emacs-batch-suggest "ret"))))))

(ert-deftest emacs-batch-surprise ()
  (dolist (connection '(standalone eglot))
    (emacs-batch-with connection
      ;; One window of the model instead of ten.
      (delete-region (point-min) (- (point-max) 1500))
      (codegen-lsp-surprise)
      (emacs-batch-wait "the colours" (lambda () (consp codegen-lsp--surprise-overlays)))
      (should (seq-every-p (lambda (overlay) (< (overlay-start overlay) (overlay-end overlay)))
                           codegen-lsp--surprise-overlays))
      (with-current-buffer "*codegen-lsp surprise*"
        (should (> (length tabulated-list-entries) 5)))
      (emacs-batch-type "x")
      (should-not codegen-lsp--surprise-overlays))))

(provide 'emacs_batch)
;;; emacs_batch.el ends here
