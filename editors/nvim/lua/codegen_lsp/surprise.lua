--- `:CodegenLsp surprise`: colours each token by how little the model expected it, and lists the most surprising
--- lines.
---
--- Shows the answer of the server's command `codegen.surprise` until the text changes.
local compat = require('codegen_lsp.compat')

local M = {}

local namespace = vim.api.nvim_create_namespace('codegen_lsp.surprise')
local TITLE = 'Most surprising lines: '

--- Lower bounds of surprise in bits, each with a highlight group and its dark and light colour.
local shades = {
  { 1.5, 'CodegenLspSurprise1', '#38302c', '#fbeae3' },
  { 4, 'CodegenLspSurprise2', '#54352a', '#f7cfbf' },
  { 8, 'CodegenLspSurprise3', '#7d3b29', '#f0a58c' },
  { 12, 'CodegenLspSurprise4', '#b03a22', '#e87254' },
}

---@class codegen_lsp.Measuring
---@field client vim.lsp.Client
---@field id integer?

---@type table<integer, codegen_lsp.Measuring> buffer -> its pending request
local measuring = {}
---@type table<integer, integer> buffer -> the window with its list of lines
local shown = {}

local function say(text, level)
  vim.notify('codegen-lsp: ' .. text, level or vim.log.levels.INFO)
end

--- Defines the highlight groups unless the user did. A colour scheme clears them, so this is done each time.
local function define_colours()
  local column = vim.o.background == 'light' and 4 or 3
  for _, shade in ipairs(shades) do
    vim.api.nvim_set_hl(0, shade[2], { bg = shade[column], default = true })
  end
end

--- The highlight group of a token with this surprise, nil if it needs no colour.
---@param bits number
---@return string?
function M.group(bits)
  local group
  for _, shade in ipairs(shades) do
    if bits >= shade[1] then
      group = shade[2]
    end
  end
  return group
end

---@param buf integer
---@param position lsp.Position
---@param encoding string
---@return integer row
---@return integer col bytes
local function byte_position(buf, position, encoding)
  local line = vim.api.nvim_buf_get_lines(buf, position.line, position.line + 1, false)[1]
  if not line then
    return vim.api.nvim_buf_line_count(buf), 0
  end
  return position.line, compat.bytes(line, position.character, encoding)
end

---@param buf integer
---@param tokens { range: lsp.Range, bits: number }[]
---@param encoding string
local function colour(buf, tokens, encoding)
  for _, token in ipairs(tokens) do
    local group = M.group(token.bits)
    if group then
      local row, col = byte_position(buf, token.range.start, encoding)
      local end_row, end_col = byte_position(buf, token.range['end'], encoding)
      vim.api.nvim_buf_set_extmark(buf, namespace, row, col, {
        end_row = end_row,
        end_col = end_col,
        hl_group = group,
        -- The end of the last line is the start of a line that doesn't exist.
        strict = false,
      })
    end
  end
end

--- The most surprising lines as entries of a location list, the most surprising first.
---@param buf integer
---@param lines { line: integer, bitsPerToken: number, text: string }[]
---@return vim.quickfix.entry[]
local function entries(buf, lines)
  return vim.tbl_map(function(line)
    local text = ('%.1f bits per token: %s'):format(line.bitsPerToken, line.text)
    return { bufnr = buf, lnum = line.line + 1, col = 1, text = text }
  end, lines)
end

--- Opens the list below a window, and leaves the cursor in the window.
---@param window integer
---@param buf integer
---@param answer table
local function list(window, buf, answer)
  local totals = answer.totals
  local title = ('%s%d tokens, perplexity %.2f, %.3f bits per byte'):format(
    TITLE,
    totals.tokens,
    totals.perplexity,
    totals.bitsPerByte
  )
  vim.fn.setloclist(window, {}, ' ', { title = title, items = entries(buf, answer.lines) })
  vim.api.nvim_win_call(window, function()
    vim.cmd(('belowright lopen %d'):format(math.max(1, math.min(8, #answer.lines))))
  end)
  shown[buf] = window
end

--- Removes the colours and the list of a buffer.
---@param buf integer
function M.clear(buf)
  local window = shown[buf]
  shown[buf] = nil
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  end
  if not window or not vim.api.nvim_win_is_valid(window) then
    return
  end
  -- Another list may have replaced ours.
  if vim.startswith(vim.fn.getloclist(window, { title = 1 }).title, TITLE) then
    vim.fn.setloclist(window, {}, 'r', { title = TITLE, items = {} })
    vim.api.nvim_win_call(window, function()
      vim.cmd.lclose()
    end)
  end
end

--- Removes colours and list at the next change of the text. Windows can only be closed after the change.
---@param buf integer
local function clear_on_change(buf)
  local function changed()
    if shown[buf] then
      vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
      vim.schedule(function()
        M.clear(buf)
      end)
    end
    return true
  end
  vim.api.nvim_buf_attach(buf, false, { on_lines = changed, on_reload = changed, on_detach = changed })
end

---@param buf integer
---@param window integer
---@param answer table
---@param encoding string
local function show(buf, window, answer, encoding)
  define_colours()
  colour(buf, answer.tokens, encoding)
  list(window, buf, answer)
  clear_on_change(buf)
end

--- Why an answer can't be shown, nil if it can.
---@param err? lsp.ResponseError
---@param answer table
---@param buf integer
---@param window integer
---@param tick integer of the buffer at the time of the request
---@return string? problem
---@return integer? level
local function obstacle(err, answer, buf, window, tick)
  if err then
    return err.message, vim.log.levels.ERROR
  end
  if type(answer.reason) == 'string' then
    return answer.message, vim.log.levels.WARN
  end
  if not vim.api.nvim_buf_is_valid(buf) or vim.api.nvim_buf_get_changedtick(buf) ~= tick then
    return 'the text changed during the measurement', vim.log.levels.WARN
  end
  if not vim.api.nvim_win_is_valid(window) or vim.api.nvim_win_get_buf(window) ~= buf then
    return 'the window shows another buffer now', vim.log.levels.INFO
  end
end

--- Requests the surprise of the current buffer and shows it.
---@param client vim.lsp.Client
local function measure(client)
  local buf, window = vim.api.nvim_get_current_buf(), vim.api.nvim_get_current_win()
  local tick = vim.api.nvim_buf_get_changedtick(buf)
  local request = { client = client }
  measuring[buf] = request
  local command = { command = 'codegen.surprise', arguments = { { uri = vim.uri_from_bufnr(buf) } } }
  local _, id = compat.command(client, command, buf, function(err, answer)
    if measuring[buf] ~= request then
      return
    end
    measuring[buf] = nil
    local problem, level = obstacle(err, answer, buf, window, tick)
    if problem then
      return say(problem, level)
    end
    show(buf, window, answer, client.offset_encoding)
  end)
  request.id = id
end

--- Shows the surprise of the current buffer; hides it if it is shown, and cancels a running measurement.
---@param client vim.lsp.Client
function M.toggle(client)
  local buf = vim.api.nvim_get_current_buf()
  if shown[buf] then
    return M.clear(buf)
  end
  local request = measuring[buf]
  if not request then
    return measure(client)
  end
  measuring[buf] = nil
  if request.id then
    compat.cancel(request.client, request.id)
  end
  say('cancelled')
end

return M
