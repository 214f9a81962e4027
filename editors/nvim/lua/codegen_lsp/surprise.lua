--- `:CodegenLsp surprise`: how surprising each token of a buffer is to the model, as colour, and which lines are
--- most so.
---
--- Knows the answer of the server's command `codegen.surprise`. What is shown is gone with the first change of the
--- text.
local compat = require('codegen_lsp.compat')

local M = {}

local namespace = vim.api.nvim_create_namespace('codegen_lsp.surprise')
local TITLE = 'Most surprising lines: '

--- From how many bits of surprise on a token looks like what. Below the first it has no colour.
local shades = {
  { 1.5, 'CodegenLspSurprise1', '#38302c', '#fbeae3' },
  { 4, 'CodegenLspSurprise2', '#54352a', '#f7cfbf' },
  { 8, 'CodegenLspSurprise3', '#7d3b29', '#f0a58c' },
  { 12, 'CodegenLspSurprise4', '#b03a22', '#e87254' },
}

---@class codegen_lsp.Measuring
---@field client vim.lsp.Client
---@field id integer?

---@type table<integer, codegen_lsp.Measuring> buffer -> the request that has no answer yet
local measuring = {}
---@type table<integer, integer> buffer -> a window that has its list of lines
local shown = {}

local function say(text, level)
  vim.notify('codegen-lsp: ' .. text, level or vim.log.levels.INFO)
end

--- A colour scheme clears what was set before it, so this is done each time; what the user has set stays.
local function define_colours()
  local column = vim.o.background == 'light' and 4 or 3
  for _, shade in ipairs(shades) do
    vim.api.nvim_set_hl(0, shade[2], { bg = shade[column], default = true })
  end
end

--- The highlight group of a surprise, nil where it is none.
---@param bits number
---@return string?
function M.group(bits)
  local found
  for _, shade in ipairs(shades) do
    if bits >= shade[1] then
      found = shade[2]
    end
  end
  return found
end

---@param buf integer
---@param position lsp.Position
---@param encoding string
---@return integer row
---@return integer col bytes
local function place(buf, position, encoding)
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
      local row, col = place(buf, token.range.start, encoding)
      local end_row, end_col = place(buf, token.range['end'], encoding)
      vim.api.nvim_buf_set_extmark(buf, namespace, row, col, {
        end_row = end_row,
        end_col = end_col,
        hl_group = group,
        -- The end of a file's last line is below all lines.
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
    local text = ('%.1f bits a token: %s'):format(line.bitsPerToken, line.text)
    return { bufnr = buf, lnum = line.line + 1, col = 1, text = text }
  end, lines)
end

--- Opens the list below a window, which keeps the cursor.
---@param window integer
---@param buf integer
---@param answer table
local function list(window, buf, answer)
  local totals = answer.totals
  local title = ('%s%d tokens, perplexity %.2f, %.3f bits a byte'):format(
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

--- Takes away what is shown of a buffer.
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
  -- Another list may have come in its place.
  if vim.startswith(vim.fn.getloclist(window, { title = 1 }).title, TITLE) then
    vim.fn.setloclist(window, {}, 'r', { title = TITLE, items = {} })
    vim.api.nvim_win_call(window, function()
      vim.cmd.lclose()
    end)
  end
end

--- Clears at the first change of the text. Windows can't be closed within the change, colours can.
---@param buf integer
local function clear_on_change(buf)
  local function gone()
    if shown[buf] then
      vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
      vim.schedule(function()
        M.clear(buf)
      end)
    end
    return true
  end
  vim.api.nvim_buf_attach(buf, false, { on_lines = gone, on_reload = gone, on_detach = gone })
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

--- Asks for the surprise of the current buffer and shows it; where it is shown, or asked for, stops that.
---@param client vim.lsp.Client
function M.toggle(client)
  local buf, window = vim.api.nvim_get_current_buf(), vim.api.nvim_get_current_win()
  if shown[buf] then
    return M.clear(buf)
  end
  local before = measuring[buf]
  if before then
    measuring[buf] = nil
    if before.id then
      compat.cancel(before.client, before.id)
    end
    return say('stopped')
  end
  local tick = vim.api.nvim_buf_get_changedtick(buf)
  local mine = { client = client }
  measuring[buf] = mine
  local command = { command = 'codegen.surprise', arguments = { { uri = vim.uri_from_bufnr(buf) } } }
  local _, id = compat.command(client, command, buf, function(err, answer)
    if measuring[buf] ~= mine then
      return
    end
    measuring[buf] = nil
    if err then
      return say(err.message, vim.log.levels.ERROR)
    end
    if type(answer.reason) == 'string' then
      return say(answer.message, vim.log.levels.WARN)
    end
    if not vim.api.nvim_buf_is_valid(buf) or vim.api.nvim_buf_get_changedtick(buf) ~= tick then
      return say('the text changed meanwhile', vim.log.levels.WARN)
    end
    if not vim.api.nvim_win_is_valid(window) or vim.api.nvim_win_get_buf(window) ~= buf then
      return say('the window shows something else now')
    end
    show(buf, window, answer, client.offset_encoding)
  end)
  mine.id = id
end

return M
