;;; codegen-lsp-connection-tests.el --- Tests of connecting and disconnecting  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: BSD-3-Clause

;;; Commentary:

;; What happens to the buffers when a server starts, exits or can't be
;; started, and which settings and capabilities it gets.  The answers of a
;; server that can be started are in the other files.

;;; Code:

(require 'codegen-lsp-test-helper)

(ert-deftest codegen-lsp-tests-a-dead-server-clears-the-ghost ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (cl-letf (((symbol-function 'run-with-timer) #'ignore)
              (codegen-lsp--standalone-deaths nil))
      (codegen-lsp--standalone-gone codegen-lsp-tests-server))
    (should (equal (codegen-lsp-tests-screen) "x = a|"))
    (should-not (codegen-lsp-current-server))
    (codegen-lsp-tests-type "b")
    (should-error (codegen-lsp-complete) :type 'user-error)))

(ert-deftest codegen-lsp-tests-turning-the-mode-off-removes-everything ()
  (codegen-lsp-tests-with "x = |"
    (codegen-lsp-tests-type "a")
    (codegen-lsp-tests-suggest "bc")
    (codegen-lsp-mode -1)
    (should (equal (codegen-lsp-tests-screen) "x = a|"))
    (should (equal 1 (length (codegen-lsp-tests-sent :textDocument/didClose))))
    (codegen-lsp-tests-type "b")
    (should (= 1 (codegen-lsp-tests-request-count)))
    (should-not (memq #'codegen-lsp--after-change after-change-functions))
    (should-not (memq #'codegen-lsp-after-change after-change-functions))))

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

;; From a review: one opened file of a cloned repository sent its text, and
;; the token, to the server that its .dir-locals.el named.
(ert-deftest codegen-lsp-tests-a-directory-cannot-choose-the-server ()
  (codegen-lsp-tests-with "|"
    (let* ((folder (file-name-as-directory (make-temp-file "codegen-lsp" t)))
           (codegen-lsp-settings '(:server "http://mine" :token "secret" :languages (:c :json-false)
                                   :maxFileSize 9))
           (directory '(:codegen (:server "http://theirs" :token "x" :model "/m" :allowPickle t
                                  :candidates 7 :enabled t :maxFileSize 99
                                  :languages (:c t :go :json-false)))))
      (unwind-protect
          (progn
            (with-temp-file (expand-file-name ".dir-locals.el" folder)
              (prin1 `((nil . ((eglot-workspace-configuration . ,directory)))) (current-buffer)))
            (setf (slot-value codegen-lsp-tests-server 'project) (cons 'transient folder))
            (jsonrpc-connection-receive
             codegen-lsp-tests-server
             '(:jsonrpc "2.0" :id 8 :method "workspace/configuration"
               :params (:items [(:section "codegen")])))
            (should (equal (plist-get (car (slot-value codegen-lsp-tests-server 'sent)) :result)
                           [(:server "http://mine" :token "secret"
                             :languages (:c :json-false) :maxFileSize 9
                             :workspaceSettings (:candidates 7 :enabled t :maxFileSize 99
                                                 :languages (:c t :go :json-false)))])))
        (delete-directory folder t)))))

;; JSON makes the same name of `server', `:server' and an uninterned symbol.
(ert-deftest codegen-lsp-tests-a-directory-cannot-spell-the-server-otherwise ()
  (dolist (directory (list '(server "http://theirs" token "x" candidates 7)
                           (list (make-symbol ":server") "http://theirs" :candidates 7)
                           '("server" "http://theirs" :candidates 7)))
    (should (equal (codegen-lsp--apply-directory-settings '(:model "m") directory)
                   '(:model "m" :workspaceSettings (:candidates 7)))))
  (dolist (directory (list nil "x" [1] 7 (make-hash-table) '(:server) '(:a . 1) '((server . "x"))))
    (should (equal (codegen-lsp--apply-directory-settings '(:model "m") directory) '(:model "m")))))

(ert-deftest codegen-lsp-tests-a-directory-can-switch-suggestions-off ()
  (should (equal (codegen-lsp--apply-directory-settings '(:model "m") '(:enabled :json-false))
                 '(:model "m" :workspaceSettings (:enabled :json-false))))
  (should (equal (codegen-lsp--apply-directory-settings '(:enabled :json-false) '(:enabled t))
                 '(:enabled :json-false :workspaceSettings (:enabled t)))))

(ert-deftest codegen-lsp-tests-capabilities-include-inline-completion ()
  (codegen-lsp-tests-with "|"
    (let ((document (plist-get (eglot-client-capabilities codegen-lsp-tests-server) :textDocument)))
      (should (plist-get document :inlineCompletion))
      (should (plist-get document :completion)))))

(ert-deftest codegen-lsp-tests-a-missing-program-is-reported-with-advice ()
  (let ((codegen-lsp--standalone nil)
        (codegen-lsp--standalone-problem nil)
        (codegen-lsp-connection 'standalone)
        (codegen-lsp-command '("no-such-program-here"))
        (inhibit-message t))
    (with-temp-buffer
      (rename-buffer "tests.py" t)
      (python-mode)
      (codegen-lsp-mode)
      (should (string-match-p "pip install" codegen-lsp--standalone-problem))
      (should (equal "CG:failed" (codegen-lsp-tests-lighter)))
      (should (string-match-p "codegen-lsp-command"
                              (cadr (should-error (codegen-lsp-complete) :type 'user-error)))))))

(ert-deftest codegen-lsp-tests-hidden-buffers-are-not-connected ()
  (codegen-lsp-tests-with "x = |"
    (with-temp-buffer
      (python-mode)
      (codegen-lsp-mode)
      (should-not (codegen-lsp-current-server)))
    (should (= 1 (length (codegen-lsp-tests-sent :textDocument/didOpen))))))

(ert-deftest codegen-lsp-tests-a-server-that-keeps-exiting-is-given-up ()
  (let ((codegen-lsp--standalone nil)
        (codegen-lsp--standalone-problem nil)
        (codegen-lsp--standalone-deaths nil)
        (inhibit-message t))
    (dotimes (_ 4)
      (should-not codegen-lsp--standalone-problem)
      (setq codegen-lsp--standalone 'broken)
      (cl-letf (((symbol-function 'run-with-timer) #'ignore))
        (codegen-lsp--standalone-gone 'broken)))
    (should (string-match-p "four times" codegen-lsp--standalone-problem))))

(provide 'codegen-lsp-connection-tests)
;;; codegen-lsp-connection-tests.el ends here
