if vim.g.loaded_codegen_lsp or vim.fn.has('nvim-0.10') == 0 then
  return
end
vim.g.loaded_codegen_lsp = true

vim.api.nvim_create_user_command('CodegenLsp', function(arguments)
  require('codegen_lsp.commands').run(arguments)
end, {
  nargs = '*',
  desc = 'codegen-lsp: status, pause, model, restart, last, surprise',
  complete = function(...)
    return require('codegen_lsp.commands').complete(...)
  end,
})

for _, name in ipairs({ 'accept', 'accept_word', 'accept_line', 'next', 'previous', 'dismiss', 'trigger' }) do
  vim.keymap.set('i', ('<Plug>(codegen-lsp-%s)'):format(name:gsub('_', '-')), function()
    require('codegen_lsp')[name]()
  end, { desc = 'codegen-lsp: ' .. name:gsub('_', ' ') })
end
