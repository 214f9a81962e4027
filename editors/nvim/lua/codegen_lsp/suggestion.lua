--- Suggestions, and the remainder of a suggestion after a part of it was typed.
---
--- Pure: strings in, strings out. Knows no buffer, no client and no screen.
local compat = require('codegen_lsp.compat')

local M = {}

--- One suggestion, as text after the cursor of its request.
---@class codegen_lsp.Item
---@field text string lines end in "\n"
---@field tail string the text after the cursor that it replaces, such as an auto-closed bracket
---@field source table the server's item, for its `command`

--- A suggestion that fits the text at the cursor.
---@class codegen_lsp.Match
---@field item codegen_lsp.Item
---@field remainder string the text that is not typed yet
---@field tail string the text after the cursor that `remainder` replaces
---@field visible string `remainder` as it is drawn: without a tail that is in the buffer already
---@field skip integer the bytes of the tail before the text that is drawn

--- The line of a request: the text before and after its cursor.
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
  local start = 1
  for i = 1, #part do
    local index = text:find(part:sub(i, i), start, true)
    if not index then
      return false
    end
    start = index + 1
  end
  return true
end

--- Parses a server's item. nil if it changes text before the cursor, which ghost text can't show.
---@param source lsp.InlineCompletionItem
---@param origin codegen_lsp.Around
---@param encoding string
---@return codegen_lsp.Item?
function M.parse(source, origin, encoding)
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
  if range.start.line ~= origin.row or range['end'].line ~= origin.row then
    return nil
  end
  local line = origin.before .. origin.after
  local first = compat.bytes(line, range.start.character, encoding)
  local last = compat.bytes(line, range['end'].character, encoding)
  local head = origin.before:sub(first + 1)
  if first > #origin.before or last < #origin.before or not vim.startswith(text, head) then
    return nil
  end
  return { text = text:sub(#head + 1), tail = line:sub(#origin.before + 1, last), source = source }
end

--- The part of `between`, the text that is now in the place of the tail, that `remainder` replaces.
---@param tail string
---@param between string
---@param remainder string
---@return string? # nil if the text was changed otherwise
local function replaced(tail, between, remainder)
  if vim.endswith(tail, between) then
    return between
  end
  if not between:match('^[%)%]}>"\'`;]*$') then
    return nil
  end
  -- A bracket or a quote was closed automatically while the suggestion was typed.
  if covers(first_line(remainder), between) then
    return between
  end
  return tail == '' and '' or nil
end

--- The part of `remainder` to draw: without the tail, which is in the buffer already.
---@param remainder string
---@param tail string
---@return string visible
---@return integer skip the bytes of the tail before the part
local function visible_part(remainder, tail)
  if tail ~= '' and vim.endswith(remainder, tail) and not remainder:find('\n', 1, true) then
    return remainder:sub(1, #remainder - #tail), 0
  elseif tail ~= '' and vim.startswith(remainder, tail) then
    return remainder:sub(#tail + 1), #tail
  end
  return remainder, 0
end

--- The match of `item` after `typed` was typed. nil if the item begins otherwise, if the text after the cursor was
--- changed, or if nothing is left to show.
---@param item codegen_lsp.Item
---@param after string the text after the cursor at the time of the request
---@param typed string
---@param now string the text after the cursor now
---@return codegen_lsp.Match?
function M.match(item, after, typed, now)
  if not vim.startswith(item.text, typed) then
    return nil
  end
  local remainder = item.text:sub(#typed + 1)
  local unchanged = after:sub(#item.tail + 1)
  if not vim.endswith(now, unchanged) then
    return nil
  end
  local tail = replaced(item.tail, now:sub(1, #now - #unchanged), remainder)
  if not tail then
    return nil
  end
  local visible, skip = visible_part(remainder, tail)
  if not visible:find('%S') then
    return nil
  end
  return { item = item, remainder = remainder, tail = tail, visible = visible, skip = skip }
end

--- The next word of `remainder`, with the white space, including line breaks, before it.
---@param remainder string
---@return string
function M.word(remainder)
  return remainder:match('^%s*[%w_\128-\255]+') or remainder:match('^%s*[^%w%s_\128-\255]+') or remainder
end

--- The rest of the current line, or the next line if the current one is complete.
---@param remainder string
---@return string
function M.line(remainder)
  return remainder:match('^\n*[^\n]*')
end

--- The number of bytes of the tail that are used up once only `remainder` is left to insert.
---@param match codegen_lsp.Match
---@param remainder string
---@return integer
function M.spent(match, remainder)
  if remainder == '' then
    return #match.tail
  end
  if not covers(first_line(match.remainder), match.tail) then
    return 0
  end
  local line = first_line(remainder)
  for n = 0, #match.tail do
    if covers(line, match.tail:sub(n + 1)) then
      return n
    end
  end
  return #match.tail
end

return M
