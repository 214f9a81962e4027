--- `:checkhealth codegen_lsp`: checks the editor, the server's program and the running servers.
local compat = require('codegen_lsp.compat')
local config = require('codegen_lsp.config')

local M = {}

local function check_editor()
  vim.health.start('Neovim')
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.10') == 0 then
    return vim.health.error(version .. ' is too old', 'Neovim 0.10 or later is required')
  end
  vim.health.ok(version)
  if not config.get().ghost then
    vim.health.info('ghost text is turned off in the options')
  elseif compat.has_native_ghost then
    vim.health.ok('ghost text is drawn by vim.lsp.inline_completion')
  else
    vim.health.ok('ghost text is drawn by the plugin (vim.lsp.inline_completion requires Neovim 0.12)')
  end
  for _, problem in ipairs(config.problems(vim.g.codegen_lsp or {})) do
    vim.health.error('vim.g.codegen_lsp: ' .. problem)
  end
end

local function check_server()
  vim.health.start('Server')
  local command = config.command()
  if not command then
    return vim.health.error('the server was not found', config.advice())
  end
  local version_command = vim.list_extend(vim.deepcopy(command), { '--version' })
  local result = vim.system(version_command, { text = true, timeout = 20000 }):wait()
  local version = vim.trim(result.stdout or '')
  if result.code == 0 and version ~= '' then
    vim.health.ok(('%s (%s)'):format(table.concat(command, ' '), vim.split(version, '\n')[1]))
  else
    vim.health.warn(table.concat(version_command, ' ') .. ' failed', vim.trim(result.stderr or ''))
  end
end

--- The answer to the command `codegen.status`, nil if there is none within three seconds.
---@param client vim.lsp.Client
---@return { err?: lsp.ResponseError, result: any }?
local function request_status(client)
  local buf = next(client.attached_buffers)
  local answer
  compat.command(client, { command = 'codegen.status' }, buf or 0, function(err, result)
    answer = { err = err, result = result }
  end)
  vim.wait(3000, function()
    return answer ~= nil
  end, 20)
  return answer
end

---@param client vim.lsp.Client
local function check_client(client)
  local buffers = #vim.tbl_keys(client.attached_buffers)
  vim.health.ok(
    ('server %d is running for %s, %d buffer(s)'):format(
      client.id,
      client.root_dir or 'single files',
      buffers
    )
  )
  local answer = request_status(client)
  if not answer then
    return vim.health.error(
      'it does not answer',
      { ':CodegenLsp log shows its log', ':CodegenLsp restart restarts it' }
    )
  elseif answer.err then
    return vim.health.error(answer.err.message)
  end
  local status = answer.result
  local text = ('model %s, %s: %s'):format(status.model or 'unknown', status.state, status.message)
  local report = { Error = vim.health.error, Normal = vim.health.ok }
  local show = report[status.kind] or vim.health.warn
  show(text)
end

local function check_keys()
  vim.health.start('Keys')
  local keys = config.get().keymaps
  for name, key in vim.spairs(keys or {}) do
    if key then
      vim.health.info(('%s: %s'):format(name:gsub('_', ' '), key))
    end
  end
  if not keys then
    vim.health.info('no keys are mapped; see :help codegen-lsp-functions to map them yourself')
  end
end

--- Called by `:checkhealth`.
function M.check()
  check_editor()
  check_server()
  vim.health.start('Running')
  local clients = vim.lsp.get_clients({ name = 'codegen_lsp' })
  if #clients == 0 then
    local types = table.concat(config.get().filetypes, ', ')
    vim.health.info('no server is running; it starts with the first file of type ' .. types)
  end
  for _, client in ipairs(clients) do
    check_client(client)
  end
  check_keys()
end

return M
