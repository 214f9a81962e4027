--- The subcommands of `:CodegenLsp`.
local compat = require('codegen_lsp.compat')

local M = {}

--- The models that the server knows by name; a folder or a name on the Hugging Face hub works as well.
M.models = require('codegen_lsp.models')

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('codegen-lsp: ' .. text, level or vim.log.levels.INFO)
end

--- The server of the current buffer, otherwise any server.
---@return vim.lsp.Client?
local function server()
  local client = vim.lsp.get_clients({ name = 'codegen_lsp', bufnr = 0 })[1]
    or vim.lsp.get_clients({ name = 'codegen_lsp' })[1]
  if not client then
    say(
      'no server is running; open a file of a supported type, or see :checkhealth codegen_lsp',
      vim.log.levels.WARN
    )
  end
  return client
end

--- Runs a command of the server and calls the handler with its result; an error is shown.
---@param name string
---@param argument? table
---@param handler fun(result: any, client: vim.lsp.Client)
local function call(name, argument, handler)
  local client = server()
  if not client then
    return
  end
  local command = { command = name, arguments = argument and { argument } or nil }
  compat.command(client, command, vim.api.nvim_get_current_buf(), function(err, result)
    if err then
      return say(('%s: %s'):format(name, err.message), vim.log.levels.ERROR)
    end
    handler(result, client)
  end)
end

--- Removes the suggestions of all buffers of a client.
---@param client vim.lsp.Client
local function forget(client)
  for buf in pairs(client.attached_buffers) do
    require('codegen_lsp.ghost').forget(buf)
  end
end

---@type table<string, { run: fun(words: string[]), complete?: fun(): string[] }>
local subcommands = {}

subcommands.status = {
  run = function()
    call('codegen.status', nil, function(status)
      local lines = { ('%s: %s'):format(status.state, status.message) }
      lines[#lines + 1] = ('model: %s'):format(status.model or 'unknown')
      for _, group in ipairs({ 'engine', 'suggestions' }) do
        for name, value in vim.spairs(type(status[group]) == 'table' and status[group] or {}) do
          lines[#lines + 1] = ('%s %s: %s'):format(group, name:gsub('_', ' '), tostring(value))
        end
      end
      vim.api.nvim_echo({ { table.concat(lines, '\n') } }, true, {})
    end)
  end,
}

subcommands.pause = {
  complete = function()
    return { 'all', 'buffer' }
  end,
  run = function(words)
    if words[1] and words[1] ~= 'all' and words[1] ~= 'buffer' then
      return say(':CodegenLsp pause requires `all` or `buffer`', vim.log.levels.ERROR)
    end
    local buffer_only = words[1] == 'buffer'
    local argument = buffer_only and { uri = vim.uri_from_bufnr(0) } or vim.empty_dict()
    call('codegen.pause', argument, function(result, client)
      forget(client)
      local scope = buffer_only and ' in this file' or ''
      say(('suggestions are %s%s'):format(result.paused and 'paused' or 'on', scope))
    end)
  end,
}

--- Sets the model of all running servers, and of those that start later in this session.
---@param name? string
local function choose(name)
  local client = name and server()
  if not client then
    return
  end
  require('codegen_lsp.config').get().settings.model = name
  for _, each in ipairs(vim.lsp.get_clients({ name = 'codegen_lsp' })) do
    each.settings = vim.tbl_deep_extend('force', each.settings or {}, { codegen = { model = name } })
    compat.notify(each, 'workspace/didChangeConfiguration', { settings = each.settings })
    forget(each)
  end
  say(('the model is %s for this session'):format(name))
end

subcommands.model = {
  complete = function()
    return M.models
  end,
  run = function(words)
    if words[1] then
      return choose(words[1])
    end
    vim.ui.select(M.models, { prompt = 'Model' }, choose)
  end,
}

subcommands.restart = {
  run = function()
    if #vim.lsp.get_clients({ name = 'codegen_lsp' }) == 0 then
      say('the server is starting')
      return require('codegen_lsp.attach').start()
    end
    call('codegen.restartEngine', nil, function(_, client)
      forget(client)
      say('the engine is restarting')
    end)
  end,
}

subcommands.last = {
  run = function()
    call('codegen.showLastRequest', nil, function(record)
      if type(record) ~= 'table' then
        return say('no suggestion was requested yet')
      end
      require('codegen_lsp.last').open(record)
    end)
  end,
}

subcommands.surprise = {
  run = function()
    local client = server()
    if client and not client.attached_buffers[vim.api.nvim_get_current_buf()] then
      return say('the server is not attached to this buffer', vim.log.levels.ERROR)
    end
    if client then
      require('codegen_lsp.surprise').toggle(client)
    end
  end,
}

subcommands.log = {
  run = function()
    vim.cmd.tabedit(vim.fn.fnameescape(vim.lsp.log.get_filename()))
  end,
}

--- The names of the subcommands, sorted.
---@return string[]
local function names()
  local sorted = vim.tbl_keys(subcommands)
  table.sort(sorted)
  return sorted
end

--- Runs `:CodegenLsp`; without a subcommand it shows the status.
---@param arguments vim.api.keyset.create_user_command.command_args
function M.run(arguments)
  local words = vim.deepcopy(arguments.fargs)
  local name = table.remove(words, 1) or 'status'
  local subcommand = subcommands[name]
  if not subcommand then
    local expected = table.concat(names(), ', ')
    return say(
      ('unknown subcommand :CodegenLsp %s; expected one of %s'):format(name, expected),
      vim.log.levels.ERROR
    )
  end
  subcommand.run(words)
end

--- Completes the command line of `:CodegenLsp`.
---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local name = line:match('CodegenLsp%s+(%S+)%s')
  local choices
  if name then
    local subcommand = subcommands[name]
    choices = subcommand and subcommand.complete and subcommand.complete() or {}
    if name == 'model' and lead:match('^[./~]') then
      return vim.fn.getcompletion(lead, 'dir')
    end
  else
    choices = names()
  end
  return vim.tbl_filter(function(choice)
    return vim.startswith(choice, lead)
  end, choices)
end

return M
