-- The configuration for `vim.lsp.enable('codegen_lsp')`, Neovim 0.11 and later.
local config = require('codegen_lsp.config')
require('codegen_lsp.attach').listen()
config.enabled = true

local options = config.get()
return vim.tbl_extend('force', config.client(), {
  filetypes = options.filetypes,
  root_dir = function(buf, start)
    if not config.startable(vim.lsp.config.codegen_lsp.cmd) then
      return vim.notify_once(config.advice(), vim.log.levels.WARN)
    end
    start(vim.fs.root(buf, options.root_markers))
  end,
})
