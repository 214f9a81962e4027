--- Options, and how they become the configuration of a client.
---
--- Knows every option, its type and default, and where the server may be. Starts nothing.
local compat = require('codegen_lsp.compat')

local M = {}

---@class codegen_lsp.Keymaps
---@field accept string|false
---@field accept_word string|false
---@field accept_line string|false
---@field next string|false
---@field previous string|false
---@field dismiss string|false
---@field trigger string|false

---@class codegen_lsp.Options
local defaults = {
  --- The command that starts the server; nil finds `codegen-lsp`.
  ---@type string[]?
  cmd = nil,
  --- The file types to start it for.
  filetypes = { 'c', 'cpp', 'go', 'java', 'javascript', 'python' },
  --- Files and folders that mark the root of a project.
  root_markers = { 'pyproject.toml', 'setup.py', 'go.mod', 'package.json', 'compile_commands.json', '.git' },
  --- The server's own settings, as `{ model = '350M-mono' }`; `codegen-lsp --help` names them.
  ---@type table<string, any>
  settings = {},
  --- Show ghost text.
  ghost = true,
  --- Milliseconds without a keystroke before ghost text is asked for, on Neovim 0.10 and 0.11;
  --- later versions ask by themselves, after 200.
  debounce = 75,
  --- Keys in insert mode, only taken while ghost text is visible; false takes none of them.
  ---@type codegen_lsp.Keymaps|false
  keymaps = {
    accept = '<M-l>',
    accept_word = '<M-w>',
    accept_line = '<M-j>',
    next = '<M-n>',
    previous = '<M-p>',
    dismiss = '<C-]>',
    trigger = '<M-\\>',
  },
  --- More fields of |vim.lsp.ClientConfig|, such as `capabilities` or `on_attach`.
  ---@type table<string, any>
  lsp = {},
}

local types = {
  cmd = 'table',
  filetypes = 'table',
  root_markers = 'table',
  settings = 'table',
  ghost = 'boolean',
  debounce = 'number',
  keymaps = 'table',
  lsp = 'table',
}

---@type codegen_lsp.Options?
local current

--- The sentences that say what is wrong with `given`; empty where nothing is.
---@param given any
---@return string[]
function M.problems(given)
  if type(given) ~= 'table' then
    return { ('the options must be a table, not %s'):format(vim.inspect(given)) }
  end
  local found = {}
  for name, value in pairs(given) do
    local wanted = types[name]
    if not wanted then
      found[#found + 1] = ('there is no option `%s`; :help codegen-lsp-options lists them'):format(name)
    elseif type(value) ~= wanted and not (name == 'keymaps' and value == false) then
      found[#found + 1] = ('`%s` must be a %s, not %s'):format(name, wanted, vim.inspect(value))
    end
  end
  for name, key in pairs(type(given.keymaps) == 'table' and given.keymaps or {}) do
    if defaults.keymaps[name] == nil then
      found[#found + 1] = ('there is no key for `%s`'):format(name)
    elseif key ~= false and (type(key) ~= 'string' or key == '') then
      found[#found + 1] = ('`keymaps.%s` must be a key such as <Tab>, or false'):format(name)
    end
  end
  table.sort(found)
  return found
end

--- Takes the options; a wrong one is named once and its default is kept.
---@param given? table
---@return codegen_lsp.Options
function M.set(given)
  given = given == nil and {} or given
  local problems = M.problems(given)
  if #problems > 0 then
    vim.notify('codegen-lsp: ' .. table.concat(problems, '\n  '), vim.log.levels.ERROR)
    given = type(given) == 'table' and vim.deepcopy(given) or {}
    for name, value in pairs(given) do
      if #M.problems({ [name] = value }) > 0 then
        given[name] = nil
      end
    end
  end
  current = vim.tbl_deep_extend('force', vim.deepcopy(defaults), given)
  return current
end

--- The options in effect: those of `setup`, else of `vim.g.codegen_lsp`, else the defaults.
---@return codegen_lsp.Options
function M.get()
  return current or M.set(vim.g.codegen_lsp)
end

--- The command that starts the server, nil where none was found.
---
--- Looked for on PATH, in the active virtual environment and beside `g:python3_host_prog`. Never inside the
--- project: a file that came with it must not be run because it was opened.
---@return string[]?
function M.command()
  local named = M.get().cmd
  if named then
    return M.startable(named) and named or nil
  end
  local folders = {}
  if vim.env.VIRTUAL_ENV then
    folders[1] = vim.env.VIRTUAL_ENV .. '/bin'
  end
  if type(vim.g.python3_host_prog) == 'string' then
    folders[#folders + 1] = vim.fs.dirname(vim.fn.expand(vim.g.python3_host_prog))
  end
  for _, path in ipairs({
    'codegen-lsp',
    unpack(vim.tbl_map(function(folder)
      return folder .. '/codegen-lsp'
    end, folders)),
  }) do
    if vim.fn.executable(path) == 1 then
      return { vim.fn.exepath(path) }
    end
  end
  return nil
end

--- Whether a client with this command can start; a function is taken at its word.
---@param cmd string[]|function|nil
---@return boolean
function M.startable(cmd)
  return type(cmd) == 'function' or (type(cmd) == 'table' and vim.fn.executable(cmd[1] or '') == 1)
end

--- What to do where no server was found.
---@return string
function M.advice()
  local named = M.get().cmd
  if named then
    return ('codegen-lsp: %s can not be run; correct `cmd` in the options'):format(vim.inspect(named))
  end
  return 'codegen-lsp: the server was not found. Install it with `pipx install codegen-lsp`, '
    .. "or name it: require('codegen_lsp').setup { cmd = { '/path/to/codegen-lsp' } }"
end

---@return lsp.ClientCapabilities
local function capabilities()
  local ours = vim.lsp.protocol.make_client_capabilities()
  if not compat.has_native_ghost then
    ours = vim.tbl_deep_extend('force', ours, { textDocument = { inlineCompletion = vim.empty_dict() } })
  end
  return ours
end

--- The client's configuration, without a root.
---@return vim.lsp.ClientConfig
function M.client()
  local options = M.get()
  local settings = next(options.settings) and options.settings or vim.empty_dict()
  return vim.tbl_deep_extend('force', {
    name = 'codegen_lsp',
    cmd = M.command() or options.cmd or { 'codegen-lsp' },
    capabilities = capabilities(),
    settings = { codegen = settings },
    init_options = vim.tbl_extend('keep', {
      editorInfo = { name = 'Neovim', version = tostring(vim.version()) },
      editorPluginInfo = { name = 'codegen_lsp', version = '1' },
    }, options.settings),
    handlers = {
      didChangeStatus = function(_, params, context)
        require('codegen_lsp.status').set(context.client_id, params)
      end,
    },
  }, options.lsp)
end

return M
