;;; codegen-lsp-tests.el --- Tests with a server of our own making  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Run with -Q --batch -L . -l codegen-lsp-tests.el -f ert-run-tests-batch-and-exit
;;
;; The server here is a connection that keeps what it is sent and answers
;; when a test says so; it has the text of the document only through the
;; notifications, as a real one has.  The real one is met in tests/e2e.

;;; Code:

(require 'ert)
(require 'python)
(require 'codegen-lsp)

;;; The fake

(defclass codegen-lsp-tests-server (codegen-lsp-server)
  ((sent :initform nil :documentation "Messages, the latest first."))
  :documentation "A server that answers by hand.")

(cl-defmethod jsonrpc-connection-send ((server codegen-lsp-tests-server) &rest message)
  "Keep MESSAGE instead of sending it through SERVER."
  (push message (slot-value server 'sent)))

(defvar codegen-lsp-tests-server nil "The server of the test that runs.")

(defun codegen-lsp-tests-make-server (encoding)
  "A fake server that counts columns in ENCODING."
  (let ((server (make-instance 'codegen-lsp-tests-server :name "codegen-lsp fake"
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
  "The parameters of all messages named METHOD that were sent, the first first."
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
  "Have the server send the notification METHOD with PARAMS."
  (jsonrpc-connection-receive codegen-lsp-tests-server
                              (list :jsonrpc "2.0" :method method :params params)))

(defun codegen-lsp-tests-items (&rest texts)
  "An answer with TEXTS, each a string or (TEXT . LENGTH-TO-REPLACE)."
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
  "Answer the request that waits with TEXTS, see `codegen-lsp-tests-items'."
  (codegen-lsp-tests-answer :textDocument/inlineCompletion
                            (apply #'codegen-lsp-tests-items texts)))

(defun codegen-lsp-tests-asked ()
  "How many suggestions were asked for."
  (length (codegen-lsp-tests-sent :textDocument/inlineCompletion)))

(defun codegen-lsp-tests-document ()
  "The text that the server has, from the notifications alone."
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
  "Run BODY in a Python buffer with TEXT, point at its bar, and a fake server."
  (declare (indent 1) (debug t))
  `(codegen-lsp-tests-call ,text "utf-32" (lambda () ,@body)))

(defun codegen-lsp-tests-call (text encoding body)
  "Call BODY in a buffer with TEXT, and a server that counts in ENCODING."
  (let* ((codegen-lsp-tests-server (codegen-lsp-tests-make-server encoding))
         (codegen-lsp--own codegen-lsp-tests-server)
         (codegen-lsp--own-ready t)
         (codegen-lsp--own-problem nil)
         (codegen-lsp-connection 'own)
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
  "The buffer as it is seen: ghost text in angle brackets, a bar for point."
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
  "The text of the mode line; `format-mode-line' does nothing in batch."
  (string-replace "%%" "%" (cadr (cadr (codegen-lsp--lighter)))))

(defun codegen-lsp-tests-text ()
  "The text of the buffer with a bar for point."
  (concat (buffer-substring-no-properties (point-min) (point)) "|"
          (buffer-substring-no-properties (point) (point-max))))

;;; Showing and typing through

(ert-deftest codegen-lsp-tests-shows-what-follows ()
  (codegen-lsp-tests-with "def add(a, b):\n    |"
    (codegen-lsp-tests-type "r")
    (codegen-lsp-tests-suggest "eturn a + b" "aise ValueError")
    (should (equal (codegen-lsp-tests-screen) "def add(a, b):\n    r|<eturn a + b>"))
    (should (equal (buffer-string) "def add(a, b):\n    r"))
    (let ((params (car (codegen-lsp-tests-sent :textDocument/inlineCompletion))))
      (should (equal (plist-get params :position) '(:line 1 :character 5)))
      (should (equal (plist-get params :context) '(:triggerKind 2)))
      (should (equal (plist-get (plist-get params :formattingOptions) :insertSpaces) t)))
    (should (= 1 (length (codegen-lsp-tests-sent :textDocument/didShowCompletion))))))

(ert-deftest codegen-lsp-tests-typing-through-shrinks-without-asking ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "o")
    (codegen-lsp-tests-suggest "pen(path)\ny = 1")
    (let* ((seen nil)
           ;; What the screen would show if a command redisplayed before it ends.
           (look (lambda (&rest _) (push (codegen-lsp-tests-screen) seen))))
      (add-hook 'after-change-functions look 90 t)
      (codegen-lsp-tests-type "pen(")
      (remove-hook 'after-change-functions look t)
      (should (equal (reverse seen)
                     '("x = op|<en(path)\ny = 1>" "x = ope|<n(path)\ny = 1>"
                       "x = open|<(path)\ny = 1>" "x = open(|<path)\ny = 1>"))))
    (should (= 1 (codegen-lsp-tests-asked)))
    (codegen-lsp-tests-do #'backward-delete-char-untabify)
    (should (equal (codegen-lsp-tests-screen) "x = open|<(path)\ny = 1>"))
    (codegen-lsp-tests-type "(path)\ny = 1")
    (should (equal (codegen-lsp-tests-screen) "x = open(path)\ny = 1|"))
    (should (= 2 (codegen-lsp-tests-asked)))))

(ert-deftest codegen-lsp-tests-newline-and-indentation-are-typed-through ()
  (codegen-lsp-tests-with "def f(|"
    (electric-indent-local-mode 1)
    (codegen-lsp-tests-type "x")
    (codegen-lsp-tests-suggest "):\n    return x")
    (codegen-lsp-tests-type "):\n")
    (should (equal (codegen-lsp-tests-screen) "def f(x):\n    |<return x>"))))

(ert-deftest codegen-lsp-tests-another-character-drops-it-and-asks ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc" "bd")
    (codegen-lsp-tests-type "q")
    (should (equal (codegen-lsp-tests-screen) "x = aq|"))
    (should (= 2 (codegen-lsp-tests-asked)))))

(ert-deftest codegen-lsp-tests-another-candidate-takes-over ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc" "bd" "zz")
    (codegen-lsp-tests-type "bd")
    (should-not codegen-lsp--ghost)     ; typed to its end
    (codegen-lsp-tests-suggest "one" "two")
    (codegen-lsp-tests-type "t")
    (should (equal (codegen-lsp-tests-screen) "x = abdt|<wo>"))
    (should (= 2 (codegen-lsp-tests-asked)))))

(ert-deftest codegen-lsp-tests-deleting-more-than-was-typed-drops-it ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (codegen-lsp-tests-do #'backward-delete-char-untabify)
    (should (equal (codegen-lsp-tests-screen) "x = |"))
    (should (= 2 (codegen-lsp-tests-asked)))))

(ert-deftest codegen-lsp-tests-moving-away-drops-it ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (codegen-lsp-tests-do #'backward-char)
    (should (equal (codegen-lsp-tests-screen) "x = |a"))
    (should (= 1 (codegen-lsp-tests-asked)))))

(ert-deftest codegen-lsp-tests-an-edit-above-moves-it ()
  (codegen-lsp-tests-with "x = 1\ny = |\nz = 3\n"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc\nd = 4")
    (save-excursion (goto-char (point-min)) (insert "import os\n\n"))
    (should (equal (codegen-lsp-tests-screen)
                   "import os\n\nx = 1\ny = a|<bc\nd = 4>\nz = 3\n"))
    (save-excursion (goto-char (point-max)) (insert "# end\n"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text)
                   "import os\n\nx = 1\ny = abc\nd = 4|\nz = 3\n# end\n"))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-an-edit-in-its-line-drops-it ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (save-excursion (goto-char (point-min)) (insert "if y: "))
    (should (equal (codegen-lsp-tests-screen) "if y: x = a|"))))

(ert-deftest codegen-lsp-tests-leaving-the-window-drops-it ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (let ((window (selected-window)))
      (split-window)
      (other-window 1)
      (switch-to-buffer "*scratch*")
      (codegen-lsp-window-changed window)
      (should-not (buffer-local-value 'codegen-lsp--ghost (window-buffer window)))
      (select-window window)
      (codegen-lsp-window-changed window))
    (should (equal (codegen-lsp-tests-sent :textDocument/didFocus)
                   '((:textDocument (:uri "untitled:tests.py")))))))

(ert-deftest codegen-lsp-tests-a-file-name-given-later-keeps-the-document ()
  (codegen-lsp-tests-with "x = |"
    (let ((file (make-temp-file "codegen-lsp" nil ".py"))
          (inhibit-message t))
      (unwind-protect
          (progn
            (set-visited-file-name file t)
            (codegen-lsp-tests-type "a")
            (should (equal "untitled:tests.py"
                           (plist-get (plist-get (car (codegen-lsp-tests-sent
                                                       :textDocument/inlineCompletion))
                                                 :textDocument)
                                      :uri))))
        (delete-file file)))))

;;; Requests

(ert-deftest codegen-lsp-tests-a-late-answer-is-dropped ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (let ((first (car (slot-value codegen-lsp-tests-server 'sent)))
          (items (codegen-lsp-tests-items "late")))
      (codegen-lsp-tests-type "b")
      (should (equal (codegen-lsp-tests-sent :$/cancelRequest)
                     (list (list :id (plist-get first :id)))))
      (jsonrpc-connection-receive codegen-lsp-tests-server
                                  (list :jsonrpc "2.0" :id (plist-get first :id) :result items))
      (should (equal (codegen-lsp-tests-screen) "x = ab|"))
      (codegen-lsp-tests-suggest "c")
      (should (equal (codegen-lsp-tests-screen) "x = ab|<c>")))))

(ert-deftest codegen-lsp-tests-moving-cancels ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-do #'backward-char)
    (should (= 1 (length (codegen-lsp-tests-sent :$/cancelRequest))))
    (codegen-lsp-tests-suggest "bc")
    (should-not codegen-lsp--ghost)))

(ert-deftest codegen-lsp-tests-an-error-answers-with-nothing ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (let ((id (plist-get (car (slot-value codegen-lsp-tests-server 'sent)) :id)))
      (jsonrpc-connection-receive
       codegen-lsp-tests-server
       (list :jsonrpc "2.0" :id id :error '(:code -32800 :message "cancelled"))))
    (should-not codegen-lsp--ghost)
    (should-not codegen-lsp--question)
    (should-not (jsonrpc-last-error codegen-lsp-tests-server))))

(ert-deftest codegen-lsp-tests-nothing-is-asked-where-nothing-is-wanted ()
  (codegen-lsp-tests-with "x = |"
    (let ((codegen-lsp-idle-delay nil))
      (codegen-lsp-tests-type "a"))
    (let ((transient-mark-mode t))
      (push-mark (point-min) t t)
      (codegen-lsp--schedule)
      (deactivate-mark))
    (let ((buffer-read-only t)) (codegen-lsp--schedule))
    (let ((completion-in-region-mode t)) (codegen-lsp--schedule))
    (should (= 0 (codegen-lsp-tests-asked)))
    (codegen-lsp-complete)
    (should (equal '(:triggerKind 1)
                   (plist-get (car (codegen-lsp-tests-sent :textDocument/inlineCompletion)) :context)))))

(ert-deftest codegen-lsp-tests-a-menu-takes-the-place-of-the-ghost ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (let ((completion-in-region-mode t))
      (codegen-lsp-tests-do #'ignore)
      (should-not codegen-lsp--ghost))))

(ert-deftest codegen-lsp-tests-idle-delay-waits ()
  (codegen-lsp-tests-with "x = |"
    (let ((codegen-lsp-idle-delay 0.3))
      (codegen-lsp-tests-type "a")
      (should (= 0 (codegen-lsp-tests-asked)))
      (should (timerp codegen-lsp--timer))
      (timer-event-handler codegen-lsp--timer)
      (should (= 1 (codegen-lsp-tests-asked))))))

(ert-deftest codegen-lsp-tests-asks-again-when-the-model-is-there ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-notify "didChangeStatus" :state "loading" :kind "Inactive" :busy :json-false
                              :message "loading nano" :model "nano" :percent 40)
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest)
    (should (= 1 (codegen-lsp-tests-asked)))
    (codegen-lsp-tests-notify "didChangeStatus" :state "ready" :kind "Normal" :busy :json-false
                              :message "ready" :model "nano" :percent nil)
    (should (= 2 (codegen-lsp-tests-asked)))))

(ert-deftest codegen-lsp-tests-strange-items-are-left-out ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-answer
     :textDocument/inlineCompletion
     '(:items [(:insertText "x = other" :range (:start (:line 0 :character 0)
                                                :end (:line 0 :character 5)))
               (:insertText "far" :range (:start (:line 7 :character 0) :end (:line 9 :character 5)))
               (:range nil)
               (:insertText (:kind "snippet" :value "x = abc")
                :range (:start (:line 0 :character 0) :end (:line 0 :character 99)))]))
    (should (equal (codegen-lsp-tests-screen) "x = a|<bc>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = abc|"))))

;;; Accepting

(ert-deftest codegen-lsp-tests-accept-runs-the-command-and-can-be-undone ()
  (codegen-lsp-tests-with "def add(a, b):\n    |"
    (codegen-lsp-tests-type "r")
    (codegen-lsp-tests-suggest "eturn a + b")
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "def add(a, b):\n    return a + b|"))
    (should (equal (codegen-lsp-tests-sent :workspace/executeCommand)
                   '((:command "codegen.accepted" :arguments ["id-0"]))))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))
    (codegen-lsp-tests-do #'undo-only)
    (should (equal (buffer-string) "def add(a, b):\n    r"))
    (should-not codegen-lsp--ghost)))

(ert-deftest codegen-lsp-tests-accept-by-word-and-by-line ()
  (codegen-lsp-tests-with "|"
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest "or 😀x in y:\n    print(x)\n    pass")
    (dolist (step '((codegen-lsp-accept-word . "for|")
                    (codegen-lsp-accept-word . "for 😀|")
                    (codegen-lsp-accept-word . "for 😀x|")
                    (codegen-lsp-accept-line . "for 😀x in y:|")
                    (codegen-lsp-accept-line . "for 😀x in y:\n    print(x)|")
                    (codegen-lsp-accept-word . "for 😀x in y:\n    print(x)\n    pass|")))
      (codegen-lsp-tests-do (car step))
      (should (equal (codegen-lsp-tests-text) (cdr step))))
    (should (equal (mapcar (lambda (params) (plist-get params :acceptedLength))
                           (codegen-lsp-tests-sent :textDocument/didPartiallyAcceptCompletion))
                   '(2 5 6 12 25)))
    (should (= 1 (length (codegen-lsp-tests-sent :workspace/executeCommand))))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-partial-length-counts-from-the-start-of-the-item ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-answer
     :textDocument/inlineCompletion
     '(:items [(:insertText "x = abc def"
                :range (:start (:line 0 :character 0) :end (:line 0 :character 5)))]))
    (codegen-lsp-tests-do #'codegen-lsp-accept-word)
    (should (equal 7 (plist-get (car (codegen-lsp-tests-sent
                                      :textDocument/didPartiallyAcceptCompletion))
                                :acceptedLength)))))

(ert-deftest codegen-lsp-tests-accept-without-a-ghost-says-so ()
  (codegen-lsp-tests-with "x = |"
    (should-error (codegen-lsp-accept) :type 'user-error)
    (should-error (codegen-lsp-next) :type 'user-error)))

(ert-deftest codegen-lsp-tests-next-and-previous ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "1" "2" "3")
    (let ((inhibit-message t))
      (codegen-lsp-tests-do #'codegen-lsp-previous)
      (should (equal (codegen-lsp-tests-screen) "x = a|<3>"))
      (codegen-lsp-tests-do #'codegen-lsp-next)
      (codegen-lsp-tests-do #'codegen-lsp-next)
      (should (equal (codegen-lsp-tests-screen) "x = a|<2>")))
    (should (= 3 (length (codegen-lsp-tests-sent :textDocument/didShowCompletion))))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-sent :workspace/executeCommand)
                   '((:command "codegen.accepted" :arguments ["id-1"]))))))

(ert-deftest codegen-lsp-tests-next-asks-for-more-where-there-is-one ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "1")
    (codegen-lsp-tests-do #'codegen-lsp-next)
    (should (equal (codegen-lsp-tests-screen) "x = a|<1>"))
    (should (= 2 (codegen-lsp-tests-asked)))
    (codegen-lsp-tests-suggest "1" "2")
    (let ((inhibit-message t)) (codegen-lsp-tests-do #'codegen-lsp-next))
    (should (equal (codegen-lsp-tests-screen) "x = a|<2>"))))

(ert-deftest codegen-lsp-tests-dismiss-stays-dismissed ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "1")
    (codegen-lsp-tests-do #'codegen-lsp-dismiss)
    (should (equal (codegen-lsp-tests-screen) "x = a|"))
    (should (= 1 (codegen-lsp-tests-asked)))))

;;; Brackets, line ends, columns

(ert-deftest codegen-lsp-tests-closed-brackets-are-not-doubled ()
  (codegen-lsp-tests-with "print(|)"
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest '("oo(a), b):\n    pass" . 1))
    (should (equal (codegen-lsp-tests-screen) "print(f|<oo(a), b>)<:\n    pass>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "print(foo(a), b):\n    pass|"))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-words-are-taken-up-to-and-past-a-closed-bracket ()
  (codegen-lsp-tests-with "print(|)"
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest '("oo) + 1" . 1))
    (codegen-lsp-tests-do #'codegen-lsp-accept-word)
    (should (equal (codegen-lsp-tests-screen) "print(foo|)< + 1>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept-word)
    (should (equal (codegen-lsp-tests-screen) "print(foo)|< + 1>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "print(foo) + 1|"))))

(ert-deftest codegen-lsp-tests-electric-pairs-are-typed-through ()
  (codegen-lsp-tests-with "x = |"
    (electric-pair-local-mode 1)
    (codegen-lsp-tests-type "f")
    (codegen-lsp-tests-suggest "(\"a\", [1])\ny = 2")
    (codegen-lsp-tests-type "(")
    (should (equal (codegen-lsp-tests-screen) "x = f(|<\"a\", [1]>)<\ny = 2>"))
    (codegen-lsp-tests-type "\"a")
    (should (equal (codegen-lsp-tests-screen) "x = f(\"a|\"<, [1]>)<\ny = 2>"))
    (codegen-lsp-tests-type "\", [")
    (should (equal (codegen-lsp-tests-screen) "x = f(\"a\", [|<1>])<\ny = 2>"))
    (should (= 1 (codegen-lsp-tests-asked)))
    (codegen-lsp-tests-do #'codegen-lsp-accept-line)
    (should (equal (codegen-lsp-tests-text) "x = f(\"a\", [1])|"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = f(\"a\", [1])\ny = 2|"))
    (should (equal (codegen-lsp-tests-document) (buffer-string)))))

(ert-deftest codegen-lsp-tests-suffix-that-is-not-in-the-suggestion-is-replaced ()
  (codegen-lsp-tests-with "x = |old"
    (codegen-lsp-tests-type "n")
    (codegen-lsp-tests-suggest '("ew" . 3))
    (should (equal (codegen-lsp-tests-screen) "x = n|<ew>"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = new|"))))

(ert-deftest codegen-lsp-tests-candidates-may-replace-more-or-less ()
  (codegen-lsp-tests-with "f(|))"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "b" '("c)" . 1))
    (should (equal (codegen-lsp-tests-screen) "f(a|<b>))"))
    (let ((inhibit-message t)) (codegen-lsp-tests-do #'codegen-lsp-next))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (buffer-string) "f(ac))"))))

(ert-deftest codegen-lsp-tests-text-after-point-stays ()
  (codegen-lsp-tests-with "x = |  # why"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (should (equal (codegen-lsp-tests-screen) "x = a|<bc>  # why"))
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (codegen-lsp-tests-text) "x = abc|  # why"))))

(ert-deftest codegen-lsp-tests-emoji-before-point ()
  (dolist (encoding '("utf-16" "utf-32" "utf-8"))
    (codegen-lsp-tests-call
     "s = \"😀é\" + |\n" encoding
     (lambda ()
       (codegen-lsp-tests-type "t")
       (should (equal (plist-get (plist-get (car (codegen-lsp-tests-sent
                                                  :textDocument/inlineCompletion))
                                            :position)
                                 :character)
                      (pcase encoding ("utf-16" 13) ("utf-32" 12) ("utf-8" 16))))
       (codegen-lsp-tests-suggest "ail")
       (codegen-lsp-tests-do #'codegen-lsp-accept)
       (should (equal (buffer-string) "s = \"😀é\" + tail\n"))))))

(ert-deftest codegen-lsp-tests-carriage-returns ()
  (codegen-lsp-tests-with "x = 1\n|"
    (set-buffer-file-coding-system 'utf-8-dos t)
    (codegen-lsp-tests-type "y")
    (codegen-lsp-tests-suggest " = 2\r\nz = 3")
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (buffer-string) "x = 1\ny = 2\nz = 3"))))

(ert-deftest codegen-lsp-tests-tabs ()
  (codegen-lsp-tests-with "if x:\n\t|"
    (setq indent-tabs-mode t tab-width 8)
    (codegen-lsp-tests-type "y")
    (should (equal :json-false
                   (plist-get (plist-get (car (codegen-lsp-tests-sent :textDocument/inlineCompletion))
                                         :formattingOptions)
                              :insertSpaces)))
    (codegen-lsp-tests-suggest " = 1\n\tz = 2")
    (codegen-lsp-tests-do #'codegen-lsp-accept)
    (should (equal (buffer-string) "if x:\n\ty = 1\n\tz = 2"))))

(ert-deftest codegen-lsp-tests-tab-indents-where-the-suggestion-is-indentation ()
  (codegen-lsp-tests-with "def f():\n|"
    (codegen-lsp-complete)
    (codegen-lsp-tests-suggest "    return 1")
    (should-not (eq (key-binding (kbd "TAB")) #'codegen-lsp-accept))
    (codegen-lsp-tests-type "    ")
    (should (eq (key-binding (kbd "TAB")) #'codegen-lsp-accept))
    (should (eq (key-binding (kbd "M-f")) #'codegen-lsp-accept-word))
    (codegen-lsp-tests-do #'codegen-lsp-dismiss)
    (should-not (eq (key-binding (kbd "M-f")) #'codegen-lsp-accept-word))))

(ert-deftest codegen-lsp-tests-weaving-finds-the-bracket-that-closes ()
  (should (equal (codegen-lsp-weave "foo(x))" ")") '("foo(x)" "")))
  (should (equal (codegen-lsp-weave ") + g()" ")") '("" " + g()")))
  (should (equal (codegen-lsp-weave "a', 'b']" "']") '("a', 'b" "" "")))
  (should (equal (codegen-lsp-weave "a\", [1]):" "\")") '("a" ", [1]" ":")))
  (should (equal (codegen-lsp-weave "x" "") '("x")))
  (should-not (codegen-lsp-weave "new" "old")))

;;; What the server knows

(ert-deftest codegen-lsp-tests-every-change-reaches-the-server ()
  (codegen-lsp-tests-with "one two three\nföur 😀 five\n|six\n"
    (random "codegen-lsp")
    (dotimes (round 300)
      (goto-char (+ (point-min) (random (1+ (buffer-size)))))
      (pcase (random 9)
        (0 (insert "new\nline 😀"))
        (1 (delete-region (point) (min (point-max) (+ (point) (random 9)))))
        (2 (capitalize-word 1))
        (3 (upcase-region (point) (min (point-max) (+ (point) (random 20)))))
        (4 (ignore-errors (transpose-words 1)))
        (5 (subst-char-in-region (point-min) (point-max) ?e ?E))
        (6 (save-restriction (narrow-to-region (point) (pos-eol)) (insert "narrow")))
        (7 (let ((text (buffer-string))
                 (edited (current-buffer)))
             (with-temp-buffer
               (insert text "tail")
               (let ((source (current-buffer)))
                 (with-current-buffer edited (replace-buffer-contents source))))))
        (8 (indent-region (point-min) (point-max) 2)))
      (when (zerop (mod round 3)) (codegen-lsp-sync)))
    (codegen-lsp-sync)
    (should (equal (codegen-lsp-tests-document)
                   (buffer-substring-no-properties (point-min) (point-max))))))

(ert-deftest codegen-lsp-tests-a-narrowed-buffer-counts-all-lines ()
  (codegen-lsp-tests-with "x = 1\ny = |\n"
    (narrow-to-region (pos-bol) (pos-eol))
    (codegen-lsp-tests-type "a")
    (should (equal (plist-get (car (codegen-lsp-tests-sent :textDocument/inlineCompletion)) :position)
                   '(:line 1 :character 5)))
    (codegen-lsp-tests-suggest "bc")
    (should (equal (codegen-lsp-tests-screen) "y = a|<bc>"))))

(ert-deftest codegen-lsp-tests-a-dead-server-leaves-nothing ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (cl-letf (((symbol-function 'run-with-timer) #'ignore)
              (codegen-lsp--own-deaths nil))
      (codegen-lsp--own-gone codegen-lsp-tests-server))
    (should (equal (codegen-lsp-tests-screen) "x = a|"))
    (should-not (codegen-lsp-current-server))
    (codegen-lsp-tests-type "b")
    (should-error (codegen-lsp-complete) :type 'user-error)))

(ert-deftest codegen-lsp-tests-turning-it-off-leaves-nothing ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (codegen-lsp-mode -1)
    (should (equal (codegen-lsp-tests-screen) "x = a|"))
    (should (equal 1 (length (codegen-lsp-tests-sent :textDocument/didClose))))
    (codegen-lsp-tests-type "b")
    (should (= 1 (codegen-lsp-tests-asked)))
    (should-not (memq #'codegen-lsp--after-change after-change-functions))
    (should-not (memq #'codegen-lsp-after-change after-change-functions))))

(ert-deftest codegen-lsp-tests-reverting-opens-the-document-again ()
  (let ((file (make-temp-file "codegen-lsp" nil ".py" "x = 1\n")))
    (unwind-protect
        (codegen-lsp-tests-with "|"
          (let ((visiting (find-file-noselect file)))
            (with-current-buffer visiting
              (codegen-lsp-mode)
              (write-region "y = 2\n" nil file nil 'quiet)
              (revert-buffer t t)
              (codegen-lsp-mode)
              (should (equal (buffer-string) "y = 2\n"))
              (should (equal (codegen-lsp-tests-document) "y = 2\n")))
            (kill-buffer visiting)))
      (delete-file file))))

(ert-deftest codegen-lsp-tests-the-file-and-language-are-named ()
  (codegen-lsp-tests-with "|"
    (let ((document (plist-get (car (codegen-lsp-tests-sent :textDocument/didOpen)) :textDocument)))
      (should (equal (plist-get document :languageId) "python"))
      (should (equal (plist-get document :uri) "untitled:tests.py")))
    (with-temp-buffer
      (c++-mode)
      (should (equal (codegen-lsp--language-id) "cpp"))
      (fundamental-mode)
      (should (equal (codegen-lsp--language-id) "fundamental")))))

(ert-deftest codegen-lsp-tests-settings-reach-the-server ()
  (codegen-lsp-tests-with "|"
    (let ((codegen-lsp-settings '(:model "350M-mono" :candidates 5)))
      (should (equal (plist-get (eglot-initialization-options codegen-lsp-tests-server) :model)
                     "350M-mono"))
      (jsonrpc-connection-receive
       codegen-lsp-tests-server
       '(:jsonrpc "2.0" :id 7 :method "workspace/configuration"
         :params (:items [(:section "codegen") (:section "other")])))
      (should (equal (plist-get (car (slot-value codegen-lsp-tests-server 'sent)) :result)
                     [(:model "350M-mono" :candidates 5) nil])))
    (let ((codegen-lsp-settings nil))
      (codegen-lsp-select-model "2B-mono")
      (should (equal (codegen-lsp-tests-sent :workspace/didChangeConfiguration)
                     '((:settings (:codegen (:model "2B-mono")))))))))

(ert-deftest codegen-lsp-tests-capabilities-name-ghost-text ()
  (codegen-lsp-tests-with "|"
    (let ((document (plist-get (eglot-client-capabilities codegen-lsp-tests-server) :textDocument)))
      (should (plist-get document :inlineCompletion))
      (should (plist-get document :completion)))))

;;; Status, commands, pages

(ert-deftest codegen-lsp-tests-the-mode-line-tells-the-state ()
  (codegen-lsp-tests-with "|"
    (cl-flet ((shown () (codegen-lsp-tests-lighter))
              (status (state kind &optional percent)
                (let ((inhibit-message t))
                  (codegen-lsp-tests-notify "didChangeStatus" :state state :kind kind :model "nano"
                                            :message (concat state "!") :busy :json-false
                                            :percent percent))))
      (should (equal (shown) "CG:starting"))
      (status "loading" "Inactive" 42)
      (should (equal (shown) "CG:42%"))
      (status "ready" "Normal")
      (should (equal (shown) "CG:nano"))
      (codegen-lsp-tests-notify "didChangeStatus" :state "ready" :kind "Normal"
                                :model "/models/100%/my model/" :message "ready")
      (should (equal (shown) "CG:my model"))
      (status "busy" "Normal")
      (should (equal (shown) "CG:nano*"))
      (status "paused" "Inactive")
      (should (equal (shown) "CG:paused"))
      (status "error" "Error")
      (should (equal (shown) "CG:error"))
      (setq codegen-lsp--opened nil)
      (should (equal (shown) "CG:off")))))

(ert-deftest codegen-lsp-tests-pausing ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (let ((inhibit-message t))
      (codegen-lsp-pause)
      (should-not codegen-lsp--ghost)
      (codegen-lsp-tests-answer :workspace/executeCommand '(:paused t))
      (should (equal (current-message) nil))
      (codegen-lsp-pause t))
    (should (equal (codegen-lsp-tests-sent :workspace/executeCommand)
                   '((:command "codegen.pause" :arguments [])
                     (:command "codegen.pause" :arguments [(:uri "untitled:tests.py")]))))))

(ert-deftest codegen-lsp-tests-a-missing-program-is-told-once-and-how-to-mend-it ()
  (let ((codegen-lsp--own nil)
        (codegen-lsp--own-problem nil)
        (codegen-lsp-connection 'own)
        (codegen-lsp-command '("no-such-program-here"))
        (inhibit-message t))
    (with-temp-buffer
      (rename-buffer "tests.py" t)
      (python-mode)
      (codegen-lsp-mode)
      (should (string-match-p "pip install" codegen-lsp--own-problem))
      (should (equal "CG:failed" (codegen-lsp-tests-lighter)))
      (should (string-match-p "codegen-lsp-command"
                              (cadr (should-error (codegen-lsp-complete) :type 'user-error)))))))

(ert-deftest codegen-lsp-tests-hidden-buffers-are-left-alone ()
  (codegen-lsp-tests-with "x = |"
    (with-temp-buffer
      (python-mode)
      (codegen-lsp-mode)
      (should-not (codegen-lsp-current-server)))
    (should (= 1 (length (codegen-lsp-tests-sent :textDocument/didOpen))))))

(ert-deftest codegen-lsp-tests-a-server-that-keeps-ending-is-left-alone ()
  (let ((codegen-lsp--own nil)
        (codegen-lsp--own-problem nil)
        (codegen-lsp--own-deaths nil)
        (inhibit-message t))
    (dotimes (_ 4)
      (should-not codegen-lsp--own-problem)
      (setq codegen-lsp--own 'broken)
      (cl-letf (((symbol-function 'run-with-timer) #'ignore))
        (codegen-lsp--own-gone 'broken)))
    (should (string-match-p "four times" codegen-lsp--own-problem))))

(ert-deftest codegen-lsp-tests-a-body-is-applied-unless-the-text-changed ()
  (codegen-lsp-tests-with "def f():\n    \"\"\"One.\"\"\"|\n"
    (let ((inhibit-message t)
          (edit (lambda (version)
                  (jsonrpc-connection-receive
                   codegen-lsp-tests-server
                   `(:jsonrpc "2.0" :id 9 :method "workspace/applyEdit"
                     :params (:label "body"
                              :edit (:documentChanges
                                     [(:textDocument (:uri "untitled:tests.py" :version ,version)
                                       :edits [(:range (:start (:line 2 :character 0)
                                                        :end (:line 2 :character 0))
                                                :newText "    return 1\n")])])))))))
      (codegen-lsp-write-body)
      (should (equal (car (codegen-lsp-tests-sent :workspace/executeCommand))
                     '(:command "codegen.writeBody"
                       :arguments ["untitled:tests.py" (:line 1 :character 14)])))
      (funcall edit codegen-lsp--version)
      (should (equal (buffer-string) "def f():\n    \"\"\"One.\"\"\"\n    return 1\n"))
      (funcall edit 0)
      (should (equal (buffer-string) "def f():\n    \"\"\"One.\"\"\"\n    return 1\n"))
      (should (plist-get (car (slot-value codegen-lsp-tests-server 'sent)) :error))
      (codegen-lsp-cancel-body)
      (should (= 1 (length (codegen-lsp-tests-sent :$/cancelRequest)))))))

(defconst codegen-lsp-tests-request
  '(:id "r1" :uri "file:///tmp/a%20b.py" :version 3 :position (:line 1 :character 4)
    :method "textDocument/inlineCompletion" :trigger "automatic" :reason nil :source "engine"
    :prompt (:text "def f():\n    " :header "" :window "def f():\n    " :shape "line"
             :tokens 10 :cachedTokens 5 :cachedCharacters 7)
    :candidates [(:id "c1" :text "return 1" :raw "return 1" :meanLogprob -0.5 :suffixLogprob nil
                  :score -0.25 :parts (:mean_logprob -0.5 :parse 0.25) :shown t :reason nil
                  :trail ["stop: cut at the end of the line"]
                  :tokens ["return" " 1"] :tokenLogprobs [-0.01 -2.5])
                 (:id "c2" :text "" :raw "" :meanLogprob nil :score nil :shown :json-false
                  :reason "empty" :trail [] :tokens [] :tokenLogprobs [])]
    :timings (:queue_ms 0.5 :prefill_ms 12) :usage (:prompt_tokens 10 :completion_tokens 2)
    :model "nano"))

(ert-deftest codegen-lsp-tests-the-last-request-is-readable ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-show-last-request)
    (should (equal (car (codegen-lsp-tests-sent :workspace/executeCommand))
                   '(:command "codegen.showLastRequest" :arguments [(:uri "untitled:tests.py")])))
    (codegen-lsp-tests-answer :workspace/executeCommand codegen-lsp-tests-request)
    (with-current-buffer "*codegen-lsp last request*"
      (let ((text (buffer-string)))
        (dolist (part '(" at /tmp/a b.py:2:5" "nano, from the engine" "shown, score -0.250"
                        "mean_logprob -0.500 + parse 0.250" "dropped: empty" "stop: cut at"
                        "10 tokens, 5 read before" "def f():" "prefill" "12"))
          (should (string-search part text)))
        (goto-char (point-min))
        (search-forward "def f()")
        (should (eq (get-text-property (1- (point)) 'face) 'codegen-lsp-report-cached))
        (should-not (get-text-property (point) 'face))
        (goto-char (point-min))
        (search-forward "return")
        (should (eq (get-text-property (1- (point)) 'face) 'codegen-lsp-report-likely))
        (should (eq (get-text-property (1+ (point)) 'face) 'codegen-lsp-report-unlikely)))
      (revert-buffer)
      (should (= 2 (length (codegen-lsp-tests-sent :workspace/executeCommand))))
      (kill-buffer))))

(ert-deftest codegen-lsp-tests-an-empty-answer-has-a-reason ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-complete)
    (codegen-lsp-tests-suggest)
    (should (equal "codegen.showLastRequest"
                   (plist-get (car (codegen-lsp-tests-sent :workspace/executeCommand)) :command)))
    (should (string-search "low-confidence" (codegen-lsp--why '(:reason "low-confidence"))))
    (should (string-search "no reason" (codegen-lsp--why nil)))))

(ert-deftest codegen-lsp-tests-the-cached-part-of-a-remote-prompt-is-a-guess ()
  (save-window-excursion
    (codegen-lsp-report
     (plist-put (copy-sequence codegen-lsp-tests-request)
                :prompt '(:text "abcdefghij" :shape "line" :tokens 4 :cachedTokens 2
                          :cachedCharacters nil))
     #'ignore)
    (with-current-buffer "*codegen-lsp last request*"
      (goto-char (point-min))
      (should (search-forward "about the shaded part" nil t))
      (search-forward "abcde")
      (should (eq (get-text-property (1- (point)) 'face) 'codegen-lsp-report-cached))
      (should-not (get-text-property (point) 'face))
      (kill-buffer))))

;;; Surprise

(defconst codegen-lsp-tests-surprise
  '(:uri "untitled:tests.py" :version 1 :model "nano" :reason nil :message ""
    :totals (:tokens 4 :bits 20.0 :bitsPerToken 5.0 :bitsPerByte 1.5 :perplexity 32.0)
    :lines [(:line 1 :bits 13.5 :bitsPerToken 13.5 :tokens 1 :text "y = zebra")
            (:line 0 :bits 6.5 :bitsPerToken 2.2 :tokens 3 :text "s = \"😀\" + t")]
    :tokens [(:range (:start (:line 0 :character 5) :end (:line 0 :character 7)) :bits 4.0)
             (:range (:start (:line 0 :character 11) :end (:line 0 :character 12)) :bits 0.5)
             (:range (:start (:line 0 :character 12) :end (:line 1 :character 0)) :bits 2.0)
             (:range (:start (:line 1 :character 4) :end (:line 1 :character 9)) :bits 13.5)]))

(defun codegen-lsp-tests-coloured ()
  "The coloured pieces of the buffer, each with the number of its shade."
  (sort (cl-loop for overlay in (overlays-in (point-min) (point-max))
                 when (overlay-get overlay 'codegen-lsp-surprise)
                 collect (cons (buffer-substring-no-properties (overlay-start overlay)
                                                               (overlay-end overlay))
                               (string-to-number (substring (symbol-name (overlay-get overlay 'face)) -1))))
        (lambda (one other) (< (cdr one) (cdr other)))))

(defun codegen-lsp-tests-measured ()
  "Have surprise shown in this buffer."
  (let ((inhibit-message t))
    (codegen-lsp-surprise)
    (should (equal (car (last (codegen-lsp-tests-sent :workspace/executeCommand)))
                   '(:command "codegen.surprise" :arguments [(:uri "untitled:tests.py")])))
    (codegen-lsp-tests-answer :workspace/executeCommand codegen-lsp-tests-surprise)))

(ert-deftest codegen-lsp-tests-surprise-is-coloured-and-listed ()
  (codegen-lsp-tests-call
   "s = \"😀\" + t|\ny = zebra\n" "utf-16"
   (lambda ()
     (codegen-lsp-tests-measured)
     (should (equal (codegen-lsp-tests-coloured) '(("\n" . 1) ("😀" . 2) ("zebra" . 4))))
     (let ((source (current-buffer)))
       (with-current-buffer "*codegen-lsp surprise*"
         (should (string-match-p "13\\.5.* 2 .*y = zebra\n.*2\\.2.* 1 .*s = " (buffer-string)))
         (goto-char (point-min))
         (codegen-lsp-surprise-goto))
       (should (eq (current-buffer) source))
       (should (looking-at "y = zebra")))
     (codegen-lsp-surprise)
     (should-not (codegen-lsp-tests-coloured))
     (sleep-for 0.05)
     (should-not (get-buffer "*codegen-lsp surprise*")))))

(ert-deftest codegen-lsp-tests-surprise-is-gone-with-a-change ()
  (codegen-lsp-tests-with "s = \"😀\" + t|\ny = zebra\n"
    (codegen-lsp-tests-measured)
    (should (codegen-lsp-tests-coloured))
    (codegen-lsp-tests-type "x")
    (should-not (codegen-lsp-tests-coloured))
    (sleep-for 0.05)
    (should-not (get-buffer "*codegen-lsp surprise*"))))

(ert-deftest codegen-lsp-tests-surprise-of-another-text-is-not-shown ()
  (codegen-lsp-tests-with "s = \"😀\" + t|\ny = zebra\n"
    (let ((inhibit-message t))
      (codegen-lsp-surprise)
      (let ((asked (car (slot-value codegen-lsp-tests-server 'sent))))
        (codegen-lsp-tests-type "x")
        (jsonrpc-connection-receive
         codegen-lsp-tests-server
         (list :jsonrpc "2.0" :id (plist-get asked :id) :result codegen-lsp-tests-surprise)))
      (should-not (codegen-lsp-tests-coloured))
      (codegen-lsp-surprise)
      (codegen-lsp-surprise)
      (should (= 1 (length (codegen-lsp-tests-sent :$/cancelRequest))))
      (codegen-lsp-tests-answer :workspace/executeCommand codegen-lsp-tests-surprise)
      (should-not (codegen-lsp-tests-coloured))
      (codegen-lsp-surprise)
      (codegen-lsp-tests-answer :workspace/executeCommand
                                '(:reason "nothing-to-go-on" :message "The document is empty."
                                  :tokens [] :lines []))
      (should-not (codegen-lsp-tests-coloured))
      (should-not codegen-lsp--surprise-request))))

(ert-deftest codegen-lsp-tests-no-request-yet-is-said ()
  (save-window-excursion
    (codegen-lsp-report nil #'ignore)
    (with-current-buffer "*codegen-lsp last request*"
      (should (string-search "Nothing was asked" (buffer-string)))
      (kill-buffer))))

(provide 'codegen-lsp-tests)
;;; codegen-lsp-tests.el ends here
