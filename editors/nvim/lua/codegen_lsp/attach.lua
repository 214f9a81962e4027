--- Starts the server, and sets a buffer up when the server is attached to it or detached.
local compat = require('codegen_lsp.compat')
local config = require('codegen_lsp.config')

local M = {}

--- The client with this id, nil if it is a client of another server.
---@param id integer
---@return vim.lsp.Client?
local function client_of(id)
  local client = vim.lsp.get_client_by_id(id)
  return client and client.name == 'codegen_lsp' and client or nil
end

---@param client vim.lsp.Client
---@param buf integer
local function attach(client, buf)
  local options = config.get()
  if options.ghost then
    require('codegen_lsp.ghost').attach(client, buf)
    if options.keymaps then
      require('codegen_lsp.keymaps').set(buf, options.keymaps)
    end
  end
end

--- Creates the autocommands that follow the client.
function M.listen()
  local group = vim.api.nvim_create_augroup('codegen_lsp', { clear = true })
  vim.api.nvim_create_autocmd('LspAttach', {
    group = group,
    callback = function(event)
      local client = client_of(event.data.client_id)
      if client then
        attach(client, event.buf)
        vim.schedule(function()
          vim.cmd.redrawstatus({ bang = true })
        end)
      end
    end,
  })
  vim.api.nvim_create_autocmd('LspDetach', {
    group = group,
    callback = function(event)
      -- By id, because Neovim no longer has the client of a server that was killed.
      if require('codegen_lsp.ghost').detach(event.buf, event.data.client_id) then
        require('codegen_lsp.keymaps').remove(event.buf)
      end
      require('codegen_lsp.status').forget(event.data.client_id)
    end,
  })
  vim.api.nvim_create_autocmd('BufEnter', {
    group = group,
    callback = function(event)
      for _, client in ipairs(vim.lsp.get_clients({ name = 'codegen_lsp', bufnr = event.buf })) do
        local document = { uri = vim.uri_from_bufnr(event.buf) }
        compat.notify(client, 'textDocument/didFocus', { textDocument = document })
      end
    end,
  })
end

--- Starts the server for a buffer, or shows how to install it.
---@param buf integer
local function start_for(buf)
  if vim.bo[buf].buftype ~= '' then
    return
  end
  local client = config.client()
  if not config.startable(client.cmd) then
    return vim.notify_once(config.advice(), vim.log.levels.WARN)
  end
  client.root_dir = vim.fs.root(buf, config.get().root_markers)
  vim.lsp.start(client, { bufnr = buf })
end

--- Starts the server for the file types of the options, for open buffers as well.
function M.start()
  M.listen()
  if compat.has_011 then
    return vim.lsp.enable('codegen_lsp')
  end
  local filetypes = config.get().filetypes
  vim.api.nvim_create_autocmd('FileType', {
    group = 'codegen_lsp',
    pattern = filetypes,
    callback = function(event)
      start_for(event.buf)
    end,
  })
  for _, buf in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buf) and vim.list_contains(filetypes, vim.bo[buf].filetype) then
      start_for(buf)
    end
  end
end

return M
