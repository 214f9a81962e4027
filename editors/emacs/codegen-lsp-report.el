;;; codegen-lsp-report.el --- The last request, to read  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; Writes what the server says of its last request into a buffer: the
;; prompt, the candidates with the probability of each token, what the
;; filters did, where the time went.  Knows the shape of that answer, and
;; nothing of connections and ghost text.

;;; Code:

(require 'cl-lib)
(require 'subr-x)
(require 'url-util)

(defface codegen-lsp-report-cached '((t :inherit secondary-selection :extend t))
  "Face of the part of a prompt that the model had read before."
  :group 'codegen-lsp)

(defface codegen-lsp-report-likely '((t :inherit success))
  "Face of a token with a probability above 0.8."
  :group 'codegen-lsp)

(defface codegen-lsp-report-possible '((t :inherit warning))
  "Face of a token with a probability from 0.3 to 0.8."
  :group 'codegen-lsp)

(defface codegen-lsp-report-unlikely '((t :inherit error))
  "Face of a token with a probability below 0.3."
  :group 'codegen-lsp)

(define-derived-mode codegen-lsp-report-mode special-mode "Last request"
  "Major mode of the page about the last request."
  (setq-local truncate-lines nil))

(defun codegen-lsp-report (request refresh)
  "Show REQUEST, a property list as the server sends it; REFRESH gets another.
REFRESH is called with a function that takes the new one, when the user
types \\`g'."
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
  "Insert REQUEST as text."
  (if (null (plist-get request :method))
      (insert "Nothing was asked for yet.\n")
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
  "Insert where and when REQUEST was made, and what became of it."
  (let ((position (plist-get request :position)))
    (insert (format "%s at %s:%s:%s, %s\n"
                    (plist-get request :method)
                    (codegen-lsp-report--file (or (plist-get request :uri) "?"))
                    (1+ (or (plist-get position :line) 0))
                    (1+ (or (plist-get position :character) 0))
                    (or (plist-get request :trigger) "automatic"))
            (format "%s, from %s%s\n"
                    (or (plist-get request :model) "no model")
                    (pcase (plist-get request :source)
                      ("engine" "the engine")
                      ("memory" "what the server remembered")
                      (_ "nowhere"))
                    (if-let* ((reason (plist-get request :reason)))
                        (concat "; nothing was shown: "
                                (propertize (format "%s" reason) 'face 'warning))
                      "")))))

(defun codegen-lsp-report--file (uri)
  "URI as a person writes it."
  (abbreviate-file-name
   (string-remove-prefix "file://" (decode-coding-string (url-unhex-string uri) 'utf-8))))

(defun codegen-lsp-report--candidate (candidate index)
  "Insert CANDIDATE, the one at INDEX."
  (insert (format "%d. " (1+ index))
          (if (eq t (plist-get candidate :shown))
              (propertize "shown" 'face 'success)
            (propertize (format "dropped: %s" (or (plist-get candidate :reason) "?"))
                        'face 'warning))
          (codegen-lsp-report--score candidate) "\n")
  (codegen-lsp-report--tokens candidate)
  (seq-do (lambda (step) (insert "   - " step "\n")) (plist-get candidate :trail)))

(defun codegen-lsp-report--score (candidate)
  "The score of CANDIDATE and what it is the sum of, as text."
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
  "TOKEN with a face and a tooltip that tell its probability, from LOGPROB."
  (if (not (numberp logprob))
      token
    (let ((probability (exp logprob)))
      (propertize token
                  'help-echo (format "probability %.3f" probability)
                  'face (cond ((> probability 0.8) 'codegen-lsp-report-likely)
                              ((> probability 0.3) 'codegen-lsp-report-possible)
                              (t 'codegen-lsp-report-unlikely))))))

(defun codegen-lsp-report--prompt (prompt)
  "Insert PROMPT with the part shaded that the model had read before."
  (let* ((text (or (plist-get prompt :text) ""))
         (tokens (or (plist-get prompt :tokens) 0))
         (cached (min tokens (or (plist-get prompt :cachedTokens) 0)))
         (known (plist-get prompt :cachedCharacters))
         (shaded (cond (known (min known (length text)))
                       ;; A server elsewhere: their share of the text is near enough to look at.
                       ((> tokens 0) (/ (* (length text) cached) tokens))
                       (t 0))))
    (codegen-lsp-report--heading
     (format "Prompt: %s tokens, %s read before (%s), asked for a %s"
             tokens cached (if known "shaded" "about the shaded part")
             (or (plist-get prompt :shape) "?")))
    (insert (propertize (substring text 0 shaded) 'face 'codegen-lsp-report-cached)
            (substring text shaded))
    (unless (bolp) (insert "\n"))))

(defun codegen-lsp-report--pairs (title pairs ending)
  "Insert PAIRS, a property list, under TITLE, names without their ENDING."
  (when pairs
    (codegen-lsp-report--heading title)
    (cl-loop for (name value) on pairs by #'cddr
             do (insert (format "%-14s %s\n"
                                (string-remove-suffix ending (codegen-lsp-report--name name))
                                (codegen-lsp-report--number value))))))

(defun codegen-lsp-report--name (keyword)
  "KEYWORD without its colon."
  (substring (symbol-name keyword) 1))

(defun codegen-lsp-report--number (value)
  "VALUE as text, a fraction with three digits."
  (cond ((floatp value) (format "%.3f" value))
        ((null value) "-")
        (t (format "%s" value))))

(provide 'codegen-lsp-report)
;;; codegen-lsp-report.el ends here
