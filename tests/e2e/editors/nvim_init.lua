--- The configuration of the tests: the plugin on the runtime path, and colours that are used for ghost text only.
--- CODEGEN_NVIM_PLUGIN is the folder of the plugin, CODEGEN_NVIM_TEST a script to run at the end.
vim.opt.runtimepath:prepend(vim.env.CODEGEN_NVIM_PLUGIN)
vim.cmd.runtime('plugin/codegen_lsp.lua')
vim.o.termguicolors = true
vim.o.swapfile = false
vim.o.shortmess = vim.o.shortmess .. 'I'
vim.o.laststatus = 2
vim.o.statusline = "%f %m%=%{v:lua.require'codegen_lsp'.status()} "
vim.cmd.filetype('plugin indent on')
vim.cmd.syntax('on')
vim.api.nvim_set_hl(0, 'ComplHint', { fg = '#8a93b0' })
vim.api.nvim_set_hl(0, 'ComplHintMore', { fg = '#c0a060' })
if vim.env.CODEGEN_NVIM_TEST then
  dofile(vim.env.CODEGEN_NVIM_TEST)
end
