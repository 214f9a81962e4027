--- The latest status of each server, and its text for a statusline.
local M = {}

---@class codegen_lsp.Status
---@field state string starting, loading, ready, busy, paused or error
---@field message string a sentence for the user
---@field kind string Normal, Warning, Error or Inactive
---@field model? string
---@field percent? integer

---@type table<integer, codegen_lsp.Status>
local latest = {}

---@param client integer
---@param status codegen_lsp.Status
function M.set(client, status)
  latest[client] = type(status) == 'table' and status or nil
  vim.api.nvim_exec_autocmds('User', { pattern = 'CodegenLspStatus', modeline = false, data = status })
  vim.cmd.redrawstatus({ bang = true })
end

--- Removes the status of a server that has exited. Scheduled, because Neovim still lists the client while it exits.
---@param client integer
function M.forget(client)
  vim.schedule(function()
    local listed = vim.lsp.get_client_by_id(client)
    if not listed or listed:is_stopped() then
      latest[client] = nil
    end
    vim.cmd.redrawstatus({ bang = true })
  end)
end

--- The status of a buffer's server, nil if no server is attached or it has not reported a status yet.
---@param buf? integer
---@return codegen_lsp.Status?
function M.of(buf)
  local client = vim.lsp.get_clients({ name = 'codegen_lsp', bufnr = buf or 0 })[1]
  return client and latest[client.id]
end

--- The last part of a model's name, without the folder or the owner of a repository.
---@param status codegen_lsp.Status
---@return string
local function model(status)
  local name = type(status.model) == 'string' and status.model or ''
  return name:match('[^/]+/*$') or 'codegen'
end

--- A short text; empty if no server is attached. It has no per cent sign, which a statusline would interpret.
---@param buf? integer
---@return string
function M.text(buf)
  local status = M.of(buf)
  if not status then
    return vim.lsp.get_clients({ name = 'codegen_lsp', bufnr = buf or 0 })[1] and 'starting' or ''
  end
  if status.state == 'ready' then
    return model(status)
  end
  if status.state == 'busy' then
    return model(status) .. ' …'
  end
  if status.state == 'loading' and type(status.percent) == 'number' then
    return ('loading %d/100'):format(status.percent)
  end
  return status.state or ''
end

return M
