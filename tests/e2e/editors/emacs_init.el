;;; emacs_init.el --- Init file of the tests  -*- lexical-binding: t; -*-

;;; Commentary:

;; Sets the package up as a user does, and turns off what disturbs a test.
;; Environment variables: CODEGEN_EMACS_PACKAGE is the folder of the package,
;; CODEGEN_EMACS_COMMAND is the command of the server, CODEGEN_EMACS_LISP is
;; an expression to evaluate at the end.

;;; Code:

(setq inhibit-startup-screen t
      make-backup-files nil
      auto-save-default nil
      create-lockfiles nil
      mode-require-final-newline nil
      native-comp-jit-compilation nil
      ring-bell-function #'ignore
      frame-background-mode (quote dark)
      python-indent-guess-indent-offset nil
      project-find-functions nil
      custom-file (expand-file-name "custom.el" user-emacs-directory))
(menu-bar-mode -1)
(blink-cursor-mode -1)

(add-to-list 'load-path (getenv "CODEGEN_EMACS_PACKAGE"))
(require 'codegen-lsp)
(setq codegen-lsp-command (split-string-and-unquote (getenv "CODEGEN_EMACS_COMMAND"))
      codegen-lsp-settings '(:minConfidence 0 :candidates 4 :maxTokensLine 24 :maxTokensBlock 48
                             :maxTokensBody 32))
;; A colour that is used for nothing else on the screen.
(set-face-attribute 'codegen-lsp-ghost nil :foreground "#8a93b0" :slant 'italic)
(add-hook 'prog-mode-hook #'codegen-lsp-mode)

(eval (read (or (getenv "CODEGEN_EMACS_LISP") "nil")) t)

;;; emacs_init.el ends here
