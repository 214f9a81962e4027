;;; codegen-lsp-report.el --- A page about the last request  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Inserts the server's record of a request into a buffer: the prompt, the
;; candidates with the probability of each token, what each filter did, and
;; timings.  The record is the answer to the server's command
;; `codegen.showLastRequest'.

;;; Code:

(require 'cl-lib)
(require 'subr-x)
(require 'url-util)

(defface codegen-lsp-report-cached '((t :inherit secondary-selection :extend t))
  "Face for the part of a prompt that came from the prefix cache."
  :group 'codegen-lsp)

(defface codegen-lsp-report-likely '((t :inherit success))
  "Face for tokens with a probability above 0.8."
  :group 'codegen-lsp)

(defface codegen-lsp-report-possible '((t :inherit warning))
  "Face for tokens with a probability from 0.3 to 0.8."
  :group 'codegen-lsp)

(defface codegen-lsp-report-unlikely '((t :inherit error))
  "Face for tokens with a probability below 0.3."
  :group 'codegen-lsp)

(define-derived-mode codegen-lsp-report-mode special-mode "Last request"
  "Major mode for the page about the last request."
  (setq-local truncate-lines nil))

(defun codegen-lsp-report (request refresh)
  "Show REQUEST, a property list as the server sends it.
When the user types \\`g', REFRESH is called with a function that shows
another request."
  (with-current-buffer (get-buffer-create "*codegen-lsp last request*")
    (codegen-lsp-report-mode)
    (setq-local revert-buffer-function
                (lambda (&rest _)
                  (funcall refresh (lambda (new) (codegen-lsp-report new refresh)))))
    (let ((inhibit-read-only t))
      (erase-buffer)
      (codegen-lsp-report--insert request)
      (goto-char (point-min)))
    (pop-to-buffer (current-buffer))))

(defun codegen-lsp-report--insert (request)
  "Insert the page about REQUEST."
  (if (null (plist-get request :method))
      (insert "No suggestion was requested yet.\n")
    (codegen-lsp-report--summary request)
    (codegen-lsp-report--heading "Candidates")
    (if (seq-empty-p (plist-get request :candidates))
        (insert "none\n")
      (seq-do-indexed #'codegen-lsp-report--candidate (plist-get request :candidates)))
    (codegen-lsp-report--prompt (plist-get request :prompt))
    (codegen-lsp-report--pairs "Timings, in milliseconds" (plist-get request :timings) "_ms")
    (codegen-lsp-report--pairs "Tokens" (plist-get request :usage) "_tokens")))

(defun codegen-lsp-report--heading (text)
  "Insert TEXT as a heading."
  (insert "\n" (propertize text 'face 'bold) "\n"))

(defun codegen-lsp-report--summary (request)
  "Insert where and how REQUEST was made, and the reason of an empty answer."
  (let ((position (plist-get request :position)))
    (insert (format "%s at %s:%s:%s, %s\n"
                    (plist-get request :method)
                    (codegen-lsp-report--file (or (plist-get request :uri) "?"))
                    (1+ (or (plist-get position :line) 0))
                    (1+ (or (plist-get position :character) 0))
                    (or (plist-get request :trigger) "automatic"))
            (format "%s, %s%s\n"
                    (or (plist-get request :model) "no model")
                    (pcase (plist-get request :source)
                      ("engine" "from the engine")
                      ("memory" "from the suggestion cache")
                      (_ "not answered"))
                    (if-let* ((reason (plist-get request :reason)))
                        (concat "; nothing was shown: "
                                (propertize (format "%s" reason) 'face 'warning))
                      "")))))

(defun codegen-lsp-report--file (uri)
  "Return the file name of URI, abbreviated."
  (abbreviate-file-name
   (string-remove-prefix "file://" (decode-coding-string (url-unhex-string uri) 'utf-8))))

(defun codegen-lsp-report--candidate (candidate index)
  "Insert CANDIDATE, whose index is INDEX."
  (insert (format "%d. " (1+ index))
          (if (eq t (plist-get candidate :shown))
              (propertize "shown" 'face 'success)
            (propertize (format "dropped: %s" (or (plist-get candidate :reason) "?"))
                        'face 'warning))
          (codegen-lsp-report--score candidate) "\n")
  (codegen-lsp-report--tokens candidate)
  (seq-do (lambda (step) (insert "   - " step "\n")) (plist-get candidate :trail)))

(defun codegen-lsp-report--score (candidate)
  "Return the score of CANDIDATE and its summands as text."
  (if-let* ((score (plist-get candidate :score)))
      (format ", score %.3f = %s" score
              (string-join (cl-loop for (name value) on (plist-get candidate :parts) by #'cddr
                                    collect (format "%s %s" (codegen-lsp-report--name name)
                                                    (codegen-lsp-report--number value)))
                           " + "))
    (format ", mean log-probability %s"
            (codegen-lsp-report--number (plist-get candidate :meanLogprob)))))

(defun codegen-lsp-report--tokens (candidate)
  "Insert the tokens of CANDIDATE, coloured by their probability."
  (let ((start (point))
        (tokens (append (plist-get candidate :tokens) nil))
        (logprobs (append (plist-get candidate :tokenLogprobs) nil)))
    (if tokens
        (cl-mapc (lambda (token logprob) (insert (codegen-lsp-report--token token logprob)))
                 tokens logprobs)
      (insert (or (plist-get candidate :raw) (plist-get candidate :text) "")))
    (unless (bolp) (insert "\n"))
    (add-text-properties start (point) '(line-prefix "   | " wrap-prefix "   | "))))

(defun codegen-lsp-report--token (token logprob)
  "Return TOKEN with a face and a tooltip for its probability, from LOGPROB."
  (if (not (numberp logprob))
      token
    (let ((probability (exp logprob)))
      (propertize token
                  'help-echo (format "probability %.3f" probability)
                  'face (cond ((> probability 0.8) 'codegen-lsp-report-likely)
                              ((> probability 0.3) 'codegen-lsp-report-possible)
                              (t 'codegen-lsp-report-unlikely))))))

(defun codegen-lsp-report--prompt (prompt)
  "Insert PROMPT with its cached part shaded."
  (let* ((text (or (plist-get prompt :text) ""))
         (tokens (or (plist-get prompt :tokens) 0))
         (cached (min tokens (or (plist-get prompt :cachedTokens) 0)))
         (cached-characters (plist-get prompt :cachedCharacters))
         (shaded (cond (cached-characters (min cached-characters (length text)))
                       ;; A remote server reports tokens only: estimate in proportion.
                       ((> tokens 0) (/ (* (length text) cached) tokens))
                       (t 0))))
    (codegen-lsp-report--heading
     (format "Prompt: %s tokens, %s from the prefix cache (%s), for a %s"
             tokens cached (if cached-characters "shaded" "about the shaded part")
             (or (plist-get prompt :shape) "?")))
    (seq-do #'codegen-lsp-report--other-file (plist-get prompt :otherFiles))
    (insert (propertize (substring text 0 shaded) 'face 'codegen-lsp-report-cached)
            (substring text shaded))
    (unless (bolp) (insert "\n"))))

(defun codegen-lsp-report--other-file (piece)
  "Insert where PIECE of another file is from, and why it is in the prompt."
  (insert (format "- %s: %s (%s), %s tokens\n"
                  (or (plist-get piece :path) "?")
                  (or (plist-get piece :why) "?")
                  (or (plist-get piece :source) "?")
                  (or (plist-get piece :tokens) "?"))))

(defun codegen-lsp-report--pairs (title pairs ending)
  "Insert PAIRS, a property list, under TITLE; remove ENDING from names."
  (when pairs
    (codegen-lsp-report--heading title)
    (cl-loop for (name value) on pairs by #'cddr
             do (insert (format "%-14s %s\n"
                                (string-remove-suffix ending (codegen-lsp-report--name name))
                                (codegen-lsp-report--number value))))))

(defun codegen-lsp-report--name (keyword)
  "Return the name of KEYWORD without its colon."
  (substring (symbol-name keyword) 1))

(defun codegen-lsp-report--number (value)
  "Return VALUE as text, a float with three digits."
  (cond ((floatp value) (format "%.3f" value))
        ((null value) "-")
        (t (format "%s" value))))

(provide 'codegen-lsp-report)
;;; codegen-lsp-report.el ends here
