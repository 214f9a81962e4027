--- What a suggestion is, and what is left of it after some typing.
---
--- Pure: strings in, strings out. Knows no buffer, no client and no screen.
local compat = require('codegen_lsp.compat')

local M = {}

--- One suggestion, as text after the place it was asked for.
---@class codegen_lsp.Item
---@field text string lines end in "\n"
---@field tail string the text after the place that it replaces, such as an auto-closed bracket
---@field source table the server's item, for its `command`

--- What is left of a suggestion at the cursor.
---@class codegen_lsp.Live
---@field item codegen_lsp.Item
---@field rest string what is still to be inserted
---@field tail string the text after the cursor that `rest` replaces
---@field shown string `rest` as it is drawn: without a tail that is on the screen anyway
---@field skip integer the bytes of the tail that stand before what is drawn

--- The lines of a place: the text before and after it.
---@class codegen_lsp.Around
---@field row integer 0-based
---@field before string
---@field after string

---@param text string
---@return string
local function first_line(text)
  return text:match('^[^\n]*')
end

--- Whether the characters of `part` occur in `text`, in this order.
---@param text string
---@param part string
---@return boolean
local function covers(text, part)
  local from = 1
  for i = 1, #part do
    local found = text:find(part:sub(i, i), from, true)
    if not found then
      return false
    end
    from = found + 1
  end
  return true
end

--- Reads a server's item. nil for one that changes text before the place, which ghost text can't show.
---@param source lsp.InlineCompletionItem
---@param place codegen_lsp.Around
---@param encoding string
---@return codegen_lsp.Item?
function M.parse(source, place, encoding)
  local text = source.insertText
  if type(text) == 'table' then
    text = text.value
  end
  if type(text) ~= 'string' then
    return nil
  end
  text = text:gsub('\r\n?', '\n')
  local range = source.range
  if type(range) ~= 'table' then
    return { text = text, tail = '', source = source }
  end
  if range.start.line ~= place.row or range['end'].line ~= place.row then
    return nil
  end
  local line = place.before .. place.after
  local from = compat.bytes(line, range.start.character, encoding)
  local to = compat.bytes(line, range['end'].character, encoding)
  local head = place.before:sub(from + 1)
  if from > #place.before or to < #place.before or not vim.startswith(text, head) then
    return nil
  end
  return { text = text:sub(#head + 1), tail = line:sub(#place.before + 1, to), source = source }
end

--- The part of `between`, the text that now stands where the tail stood, that `rest` replaces.
---@param tail string
---@param between string
---@param rest string
---@return string? # nil where something else was written there
local function replaced(tail, between, rest)
  if vim.endswith(tail, between) then
    return between
  end
  if not between:match('^[%)%]}>"\'`;]*$') then
    return nil
  end
  -- An editor closed a bracket or a quote by itself while the suggestion was typed.
  if covers(first_line(rest), between) then
    return between
  end
  return tail == '' and '' or nil
end

--- The part of `rest` that is not on the screen already as its tail.
---@param rest string
---@param tail string
---@return string shown
---@return integer skip the bytes of the tail that stand before it
local function drawn(rest, tail)
  if tail ~= '' and vim.endswith(rest, tail) and not rest:find('\n', 1, true) then
    return rest:sub(1, #rest - #tail), 0
  elseif tail ~= '' and vim.startswith(rest, tail) then
    return rest:sub(#tail + 1), #tail
  end
  return rest, 0
end

--- What is left of `item` once `typed` was written at its place. nil where that is not how it begins, where the
--- text after it was changed, or where nothing is left to show.
---@param item codegen_lsp.Item
---@param after string the text after the place when the item was asked for
---@param typed string
---@param now string the text after the cursor now
---@return codegen_lsp.Live?
function M.live(item, after, typed, now)
  if not vim.startswith(item.text, typed) then
    return nil
  end
  local rest = item.text:sub(#typed + 1)
  local kept = after:sub(#item.tail + 1)
  if not vim.endswith(now, kept) then
    return nil
  end
  local tail = replaced(item.tail, now:sub(1, #now - #kept), rest)
  if not tail then
    return nil
  end
  local shown, skip = drawn(rest, tail)
  if not shown:find('%S') then
    return nil
  end
  return { item = item, rest = rest, tail = tail, shown = shown, skip = skip }
end

--- The next word of `rest`, with the white space before it. Line breaks count as white space.
---@param rest string
---@return string
function M.word(rest)
  return rest:match('^%s*[%w_\128-\255]+') or rest:match('^%s*[^%w%s_\128-\255]+') or rest
end

--- The rest of the line, or the next line where the line is complete.
---@param rest string
---@return string
function M.line(rest)
  return rest:match('^\n*[^\n]*')
end

--- How many bytes of the tail are written once only `left` is still to come.
---@param live codegen_lsp.Live
---@param left string
---@return integer
function M.spent(live, left)
  if left == '' then
    return #live.tail
  end
  if not covers(first_line(live.rest), live.tail) then
    return 0
  end
  local line = first_line(left)
  for n = 0, #live.tail do
    if covers(line, live.tail:sub(n + 1)) then
      return n
    end
  end
  return #live.tail
end

return M
