--- A language server inside the editor whose answers a test dictates, and the setup of the plugin for it.
---
--- `fake.offer(texts, tail)` sets the suggestions at the cursor. After a part of a text was typed, the answer has the
--- rest of it, as with the real server. `fake.surprise` and `fake.last` are the answers to the commands. Positions
--- are in UTF-16.
local function encode(line, bytes)
  local _, units = vim.str_utfindex(line, bytes)
  return units
end

_G.fake = { texts = {}, tail = 0, requests = 0, delay = 20, accepted = {}, notified = {} }

---@param texts string[]
---@param tail? integer the number of bytes after the suggestion that each text replaces
---@param col? integer column of the suggestion in bytes; by default before the tail at the end of the line
function fake.offer(texts, tail, col)
  local row = vim.api.nvim_win_get_cursor(0)[1]
  fake.texts, fake.tail = texts, tail or 0
  fake.mark = vim.api.nvim_buf_set_extmark(
    0,
    vim.api.nvim_create_namespace('fake'),
    row - 1,
    col or #vim.api.nvim_get_current_line() - fake.tail,
    { right_gravity = false }
  )
  return true
end

local function answer(params)
  local mark = fake.mark and vim.api.nvim_buf_get_extmark_by_id(0, vim.api.nvim_get_namespaces().fake, fake.mark, {})
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  if not mark or not mark[1] or row - 1 ~= params.position.line or row - 1 < mark[1] then
    return {}
  end
  local ok, typed = pcall(vim.api.nvim_buf_get_text, 0, mark[1], mark[2], row - 1, col, {})
  typed = ok and table.concat(typed, '\n') or nil
  local line = vim.api.nvim_get_current_line()
  local items = {}
  local after = line:sub(col + 1)
  for number, text in ipairs(fake.texts) do
    if typed and vim.startswith(text, typed) and text ~= typed then
      local closed = after ~= '' and vim.endswith(text, after) and #after or 0
      items[#items + 1] = {
        insertText = text:sub(#typed + 1),
        range = {
          start = params.position,
          ['end'] = { line = row - 1, character = encode(line, math.min(col + math.max(fake.tail, closed), #line)) },
        },
        command = { title = 'accepted', command = 'codegen.accepted', arguments = { tostring(number) } },
      }
    end
  end
  return items
end

local function start(dispatchers)
  local id, stopped = 0, false
  local server = {}
  function server.request(method, params, callback, replied)
    id = id + 1
    local result = {}
    if method == 'initialize' then
      result = {
        capabilities = {
          positionEncoding = 'utf-16',
          inlineCompletionProvider = true,
          textDocumentSync = { openClose = true, change = 2 },
          executeCommandProvider = {
            commands = { 'codegen.accepted', 'codegen.surprise', 'codegen.showLastRequest' },
          },
        },
      }
    elseif method == 'textDocument/inlineCompletion' then
      fake.requests = fake.requests + 1
      fake.params = params
      result = { items = answer(params) }
    elseif method == 'workspace/executeCommand' and params.command == 'codegen.surprise' then
      fake.measured = params.arguments
      result = fake.surprise
    elseif method == 'workspace/executeCommand' and params.command == 'codegen.showLastRequest' then
      result = fake.last
    elseif method == 'workspace/executeCommand' then
      table.insert(fake.accepted, params.arguments[1])
    end
    local this = id
    vim.defer_fn(function()
      if replied then
        replied(this)
      end
      callback(nil, result, this)
    end, (method == 'textDocument/inlineCompletion' or result == fake.surprise) and fake.delay or 0)
    return true, this
  end
  function server.notify(method, params)
    fake.notified[#fake.notified + 1] = { method, params }
    if method == 'exit' then
      dispatchers.on_exit(0, 15)
    end
    return true
  end
  function server.is_closing()
    return stopped
  end
  function server.terminate()
    stopped = true
  end
  return server
end

require('codegen_lsp').setup(vim.tbl_deep_extend('force', { lsp = { cmd = start } }, vim.g.test_options or {}))
