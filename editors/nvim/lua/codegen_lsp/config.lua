--- The options of the plugin, and the client configuration made from them.
---
--- Knows each option with its type and default, and where to look for the server. Starts nothing.
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
  filetypes = { 'c', 'cpp', 'go', 'java', 'javascript', 'python', 'typescript' },
  --- Files and folders that mark the root of a project.
  root_markers = { 'pyproject.toml', 'setup.py', 'go.mod', 'package.json', 'compile_commands.json', '.git' },
  --- Settings of the server, such as `{ model = '350M-mono' }`.
  ---@type table<string, any>
  settings = {},
  --- Show ghost text.
  ghost = true,
  --- Milliseconds without a keystroke before ghost text is requested, on Neovim 0.10 and 0.11.
  --- Later versions send the requests themselves, after 200 ms.
  debounce = 75,
  --- Keys in insert mode that act while ghost text is visible; false maps none of them.
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

--- The type of each option: that of its default.
local types = { cmd = 'table' }
for name, value in pairs(defaults) do
  types[name] = type(value)
end

---@type codegen_lsp.Options?
local current

--- Whether `vim.lsp.enable('codegen_lsp')` starts the client, so that `vim.lsp.config` has settings for it.
M.enabled = false

---@param keymaps table
---@return string[]
local function key_problems(keymaps)
  local problems = {}
  for name, key in pairs(keymaps) do
    if defaults.keymaps[name] == nil then
      problems[#problems + 1] = ('unknown key option `keymaps.%s`; see :help codegen-lsp-keys'):format(name)
    elseif key ~= false and (type(key) ~= 'string' or key == '') then
      problems[#problems + 1] = ('`keymaps.%s` must be a key such as <Tab>, or false'):format(name)
    end
  end
  return problems
end

--- The problems of `options`, a sentence each.
---@param options any
---@return string[]
function M.problems(options)
  if type(options) ~= 'table' then
    return { ('the options must be a table, not %s'):format(vim.inspect(options)) }
  end
  local problems = key_problems(type(options.keymaps) == 'table' and options.keymaps or {})
  for name, value in pairs(options) do
    local expected = types[name]
    if not expected then
      problems[#problems + 1] = ('unknown option `%s`; see :help codegen-lsp-options'):format(name)
    elseif type(value) ~= expected and not (name == 'keymaps' and value == false) then
      problems[#problems + 1] = ('`%s` must be a %s, not %s'):format(name, expected, vim.inspect(value))
    end
  end
  table.sort(problems)
  return problems
end

--- A copy of `options` without those that have problems.
---@param options any
---@return table
local function valid(options)
  local copy = type(options) == 'table' and vim.deepcopy(options) or {}
  for name, value in pairs(copy) do
    if #M.problems({ [name] = value }) > 0 then
      copy[name] = nil
    end
  end
  return copy
end

--- Sets the options. For a wrong option an error is shown, and its default applies.
---@param options? table
---@return codegen_lsp.Options
function M.set(options)
  options = options == nil and {} or options
  local problems = M.problems(options)
  if #problems > 0 then
    vim.notify('codegen-lsp: ' .. table.concat(problems, '\n  '), vim.log.levels.ERROR)
    options = valid(options)
  end
  current = vim.tbl_deep_extend('force', vim.deepcopy(defaults), options)
  return current
end

--- The current options: those of `setup`, otherwise of `vim.g.codegen_lsp`, otherwise the defaults.
---@return codegen_lsp.Options
function M.get()
  return current or M.set(vim.g.codegen_lsp)
end

--- Programs that may be the server, the first one first.
---@return string[]
local function programs()
  local paths = { 'codegen-lsp' }
  if vim.env.VIRTUAL_ENV then
    paths[#paths + 1] = vim.env.VIRTUAL_ENV .. '/bin/codegen-lsp'
  end
  if type(vim.g.python3_host_prog) == 'string' then
    paths[#paths + 1] = vim.fs.dirname(vim.fn.expand(vim.g.python3_host_prog)) .. '/codegen-lsp'
  end
  return paths
end

--- The command that starts the server, nil if there is none.
---
--- It is looked for on PATH, in the active virtual environment and next to `g:python3_host_prog`. It is not looked
--- for in the project: opening a file must not run a program that came with it.
---@return string[]?
function M.command()
  local configured = M.get().cmd
  if configured then
    return M.startable(configured) and configured or nil
  end
  for _, path in ipairs(programs()) do
    if vim.fn.executable(path) == 1 then
      return { vim.fn.exepath(path) }
    end
  end
  return nil
end

--- Whether a client with this command can start; a function is not called to find out.
---@param cmd string[]|function|nil
---@return boolean
function M.startable(cmd)
  return type(cmd) == 'function' or (type(cmd) == 'table' and vim.fn.executable(cmd[1] or '') == 1)
end

--- What to do if no server was found.
---@return string
function M.advice()
  local configured = M.get().cmd
  if configured then
    return ("codegen-lsp: can't run %s; correct the option `cmd`"):format(vim.inspect(configured))
  end
  return 'codegen-lsp: the server was not found on PATH. Install it from a clone of codegen-lsp '
    .. "with `pip install -c .ci/constraints.txt '.[engine]'`, "
    .. "or set its path: require('codegen_lsp').setup { cmd = { '/path/to/.venv/bin/codegen-lsp' } }"
end

---@return lsp.ClientCapabilities
local function capabilities()
  local defaults_of_editor = vim.lsp.protocol.make_client_capabilities()
  if compat.has_native_ghost then
    return defaults_of_editor
  end
  local inline = { textDocument = { inlineCompletion = vim.empty_dict() } }
  return vim.tbl_deep_extend('force', defaults_of_editor, inline)
end

--- What the user chose, and apart from it `settings`, a client's, without those that only the user may choose.
---
--- Plugins read the settings of a project from a file in its folder and put them into `client.settings`; a project that
--- was cloned must not choose the server that gets the code, or the model that is loaded. What the user chose stands in
--- the options of this plugin and in `vim.lsp.config`. The server takes from a project only what it may choose.
---@param settings any
---@return table<string, any>
local function layers(settings)
  local theirs = type(settings) == 'table' and vim.deepcopy(settings) or {}
  for _, name in ipairs(require('codegen_lsp.restricted')) do
    theirs[name] = nil
  end
  local configured = M.enabled and vim.lsp.config.codegen_lsp.settings or {}
  local chosen = vim.tbl_extend('force', configured.codegen or {}, M.get().settings)
  return next(theirs) and vim.tbl_extend('force', chosen, { workspaceSettings = theirs }) or chosen
end

--- Answers `workspace/configuration` from the client's settings.
local function configuration(err, params, context)
  local answers = vim.lsp.handlers['workspace/configuration'](err, params, context)
  for index, item in ipairs(type(answers) == 'table' and params.items or {}) do
    if item.section == 'codegen' then
      local settings = layers(answers[index] ~= vim.NIL and answers[index] or {})
      answers[index] = next(settings) and settings or vim.empty_dict()
    end
  end
  return answers
end

--- The client's configuration without a root folder.
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
      filtersWorkspaceSettings = true,
    }, options.settings),
    handlers = {
      ['workspace/configuration'] = configuration,
      didChangeStatus = function(_, params, context)
        require('codegen_lsp.status').set(context.client_id, params)
      end,
    },
  }, options.lsp)
end

return M
