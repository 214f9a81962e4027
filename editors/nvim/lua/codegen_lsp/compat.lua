--- Functions whose names or parameters differ between Neovim 0.10 and later. Only this module compares versions.
local M = {}

--- Whether there are `vim.lsp.config` and `vim.lsp.enable`, and clients have methods.
M.has_011 = vim.fn.has('nvim-0.11') == 1
--- Whether Neovim draws ghost text itself (`vim.lsp.inline_completion`).
M.has_native_ghost = vim.fn.has('nvim-0.12') == 1 and vim.lsp.inline_completion ~= nil

---@param client vim.lsp.Client
---@return boolean sent
---@return integer? id
function M.request(client, method, params, handler, buf)
  if M.has_011 then
    return client:request(method, params, handler, buf)
  end
  return client.request(method, params, handler, buf)
end

---@param client vim.lsp.Client
function M.notify(client, method, params)
  if M.has_011 then
    return client:notify(method, params)
  end
  return client.notify(method, params)
end

---@param client vim.lsp.Client
---@param id integer
function M.cancel(client, id)
  if M.has_011 then
    return client:cancel_request(id)
  end
  return client.cancel_request(id)
end

--- Runs a command of the server. The handler gets `(err, result)`; without a handler an error is shown.
---@param client vim.lsp.Client
---@param command { command: string, arguments?: any[] }
---@param buf integer
---@param handler? fun(err: lsp.ResponseError?, result: any)
---@return boolean sent
---@return integer? id
function M.command(client, command, buf, handler)
  local params = { command = command.command, arguments = command.arguments }
  return M.request(client, 'workspace/executeCommand', params, handler or function(err)
    if err then
      vim.notify(('codegen-lsp: %s: %s'):format(command.command, err.message), vim.log.levels.ERROR)
    end
  end, buf)
end

--- Stops the client with a `shutdown` request.
---@param client vim.lsp.Client
function M.stop(client)
  if M.has_011 then
    return client:stop()
  end
  return client.stop()
end

--- The number of bytes of the first `units` code units of `line`, or of the whole line if it has fewer.
---@param line string
---@param units integer
---@param encoding string utf-8, utf-16 or utf-32
---@return integer
function M.bytes(line, units, encoding)
  if M.has_011 then
    return vim.str_byteindex(line, encoding, units, false)
  end
  if encoding == 'utf-8' then
    return math.min(units, #line)
  end
  local len32, len16 = vim.str_utfindex(line)
  if units >= (encoding == 'utf-16' and len16 or len32) then
    return #line
  end
  return vim.str_byteindex(line, units, encoding == 'utf-16')
end

--- The number of code units of the first `bytes` bytes of `line`.
---@param line string
---@param bytes integer
---@param encoding string utf-8, utf-16 or utf-32
---@return integer
function M.units(line, bytes, encoding)
  if M.has_011 then
    return vim.str_utfindex(line, encoding, bytes, false)
  end
  if encoding == 'utf-8' then
    return math.min(bytes, #line)
  end
  local len32, len16 = vim.str_utfindex(line, math.min(bytes, #line))
  return encoding == 'utf-16' and len16 or len32
end

return M
