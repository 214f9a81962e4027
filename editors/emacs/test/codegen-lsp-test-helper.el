;;; codegen-lsp-test-helper.el --- A fake server, keys and screen for tests  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; The fake server is a connection that stores the messages it is sent, and
;; answers when a test says so.  Like a real server, it knows the text of a
;; document only from the notifications.  The tests of the real server are
;; in tests/e2e/editors, where test_emacs_package.py runs these.

;;; Code:

(require 'cl-lib)
(require 'ert)
(require 'python)
(require 'codegen-lsp)

(defclass codegen-lsp-tests-fake (codegen-lsp-server)
  ((sent :initform nil :documentation "Messages that were sent, the latest first."))
  :documentation "A server whose answers a test dictates.")

(cl-defmethod jsonrpc-connection-send ((server codegen-lsp-tests-fake) &rest message)
  "Store MESSAGE in SERVER instead of sending it."
  (push message (slot-value server 'sent)))

(defvar codegen-lsp-tests-server nil "The fake server of the current test.")

(defun codegen-lsp-tests-make-server (encoding)
  "Return a fake server that counts columns in ENCODING."
  (let ((server (make-instance 'codegen-lsp-tests-fake :name "codegen-lsp fake"
                               :notification-dispatcher
                               (codegen-lsp--dispatcher #'eglot-handle-notification)
                               :request-dispatcher
                               (codegen-lsp--dispatcher #'eglot-handle-request)
                               :process (lambda ()
                                          (make-pipe-process :name "fake" :noquery t)))))
    (setf (slot-value server 'project) '(transient . "/")
          (slot-value server 'project-nickname) "fake"
          (slot-value server 'capabilities) (list :positionEncoding encoding))
    server))

(defun codegen-lsp-tests-sent (method)
  "Return the parameters of all messages METHOD that were sent, in order."
  (cl-loop for message in (reverse (slot-value codegen-lsp-tests-server 'sent))
           when (eq method (plist-get message :method)) collect (plist-get message :params)))

(defun codegen-lsp-tests-answer (method result)
  "Answer the latest request named METHOD with RESULT."
  (let ((request (cl-find method (slot-value codegen-lsp-tests-server 'sent)
                          :key (lambda (message) (plist-get message :method)))))
    (should request)
    (jsonrpc-connection-receive codegen-lsp-tests-server
                                (list :jsonrpc "2.0" :id (plist-get request :id) :result result))))

(defun codegen-lsp-tests-notify (method &rest params)
  "Receive the notification METHOD with PARAMS from the server."
  (jsonrpc-connection-receive codegen-lsp-tests-server
                              (list :jsonrpc "2.0" :method method :params params)))

(defun codegen-lsp-tests-items (&rest texts)
  "Return an answer with TEXTS, each a string or (TEXT . LENGTH-TO-REPLACE)."
  (let ((position (codegen-lsp-position)))
    (list :items
          (cl-loop for text in texts for index from 0
                   for (insert . more) = (if (consp text) text (cons text 0))
                   vconcat
                   (list (list :insertText insert
                               :range (list :start position
                                            :end (list :line (plist-get position :line)
                                                       :character (+ more (plist-get position :character))))
                               :command (list :title "Accepted" :command "codegen.accepted"
                                              :arguments (vector (format "id-%d" index)))))))))

(defun codegen-lsp-tests-suggest (&rest texts)
  "Answer the pending request with TEXTS, see `codegen-lsp-tests-items'."
  (codegen-lsp-tests-answer :textDocument/inlineCompletion
                            (apply #'codegen-lsp-tests-items texts)))

(defun codegen-lsp-tests-request-count ()
  "Return how many suggestions were requested."
  (length (codegen-lsp-tests-sent :textDocument/inlineCompletion)))

(defun codegen-lsp-tests-document ()
  "Return the text of the document as computed from the notifications."
  (let ((encoding (plist-get (slot-value codegen-lsp-tests-server 'capabilities) :positionEncoding)))
    (with-temp-buffer
      (insert (plist-get (plist-get (car (last (codegen-lsp-tests-sent :textDocument/didOpen)))
                                    :textDocument)
                         :text))
      (let ((eglot-move-to-linepos-function
             (if (equal encoding "utf-16") #'eglot-move-to-utf-16-linepos
               #'eglot-move-to-utf-32-linepos)))
        (dolist (params (codegen-lsp-tests-sent :textDocument/didChange))
          (seq-doseq (change (plist-get params :contentChanges))
            (let ((range (plist-get change :range)))
              (if (null range)
                  (erase-buffer)
                (pcase-let ((`(,beg . ,end) (eglot-range-region range)))
                  (delete-region beg end)
                  (goto-char beg)))
              (insert (plist-get change :text))))))
      (buffer-string))))

(defmacro codegen-lsp-tests-with (text &rest body)
  "Run BODY in a Python buffer with TEXT and a fake server.
Point is at the bar in TEXT, which is removed."
  (declare (indent 1) (debug t))
  `(codegen-lsp-tests-call ,text "utf-32" (lambda () ,@body)))

(defun codegen-lsp-tests-call (text encoding body)
  "Call BODY in a buffer with TEXT and a server that counts in ENCODING."
  (let* ((codegen-lsp-tests-server (codegen-lsp-tests-make-server encoding))
         (codegen-lsp--standalone codegen-lsp-tests-server)
         (codegen-lsp--standalone-ready t)
         (codegen-lsp--standalone-problem nil)
         (codegen-lsp-connection 'standalone)
         (codegen-lsp-idle-delay 0)
         (python-indent-guess-indent-offset nil)
         (buffer (generate-new-buffer "tests.py")))
    (save-window-excursion
      (switch-to-buffer buffer)
      (unwind-protect
          (progn
            (insert text)
            (python-mode)
            (goto-char (point-min))
            (search-forward "|")
            (delete-char -1)
            (codegen-lsp-mode)
            (buffer-enable-undo)
            (funcall body))
        (with-current-buffer buffer
          (set-buffer-modified-p nil))
        (kill-buffer buffer)
        (ignore-errors (delete-process (jsonrpc--process codegen-lsp-tests-server)))))))

(defun codegen-lsp-tests-do (command &optional event)
  "Run COMMAND as the command loop would, for the key EVENT."
  (setq last-command-event (or event last-command-event)
        this-command command)
  (run-hooks 'pre-command-hook)
  (call-interactively command)
  (run-hooks 'post-command-hook)
  (undo-boundary)
  (setq last-command command))

(defun codegen-lsp-tests-type (text)
  "Type TEXT, one character at a time."
  (seq-doseq (char text)
    (codegen-lsp-tests-do (if (eq char ?\n) #'newline #'self-insert-command) char)))

(defun codegen-lsp-tests-screen ()
  "Return the visible text: ghost text in angle brackets, a bar for point."
  (let ((pieces nil))
    (cl-loop for position from (point-min) to (point-max)
             do (dolist (overlay (overlays-in position (1+ position)))
                  (when (and (overlay-get overlay 'codegen-lsp) (= (overlay-start overlay) position))
                    (let ((shown (or (overlay-get overlay 'after-string)
                                     (overlay-get overlay 'before-string))))
                      (when (= position (point)) (push "|" pieces))
                      (push (concat "<" (substring-no-properties shown) ">") pieces))))
             do (when (and (= position (point)) (not (equal (cadr pieces) "|"))) (push "|" pieces))
             do (when (and (< position (point-max))
                           (not (get-char-property position 'display)))
                  (push (string (char-after position)) pieces)))
    (string-join (nreverse pieces))))

(defun codegen-lsp-tests-lighter ()
  "Return the text of the mode line; `format-mode-line' does nothing in batch."
  (string-replace "%%" "%" (cadr (cadr (codegen-lsp--lighter)))))

(defun codegen-lsp-tests-text ()
  "Return the text of the buffer with a bar for point."
  (concat (buffer-substring-no-properties (point-min) (point)) "|"
          (buffer-substring-no-properties (point) (point-max))))

(provide 'codegen-lsp-test-helper)
;;; codegen-lsp-test-helper.el ends here
