--- What the keys do with the suggestion that is shown: accept it or a part of it, show another one, dismiss it.
---
--- Each action returns whether there was a suggestion.
local answers = require('codegen_lsp.answers')
local compat = require('codegen_lsp.compat')
local ghost = require('codegen_lsp.ghost')
local suggestion = require('codegen_lsp.suggestion')

local M = {}

---@class codegen_lsp.Shown
---@field buf integer
---@field state codegen_lsp.State
---@field cursor codegen_lsp.Cursor
---@field matches codegen_lsp.Match[]
---@field match codegen_lsp.Match the one of `matches` that is on the screen

--- Whether `text` is part of one of the items, without regard to what was typed since.
---@param items codegen_lsp.Item[]
---@param text string
---@return boolean
local function is_part_of(items, text)
  for _, item in ipairs(items) do
    if item.text:find(text, 1, true) then
      return true
    end
  end
  return false
end

--- The match whose text is on the screen, nil if there is none.
---@param matches codegen_lsp.Match[]
---@param chosen? codegen_lsp.Match
---@param drawn string
---@return codegen_lsp.Match?
local function match_of(matches, chosen, drawn)
  for _, match in ipairs({ chosen, unpack(matches) }) do
    if match.visible == drawn then
      return match
    end
  end
  return nil
end

--- The suggestion that is shown in the current buffer, nil if there is none from this server.
---@return codegen_lsp.Shown?
---@return string? text of another server's suggestion
local function current()
  local buf = vim.api.nvim_get_current_buf()
  local state, cursor, drawn = ghost.state(buf), answers.cursor(buf), ghost.drawn(buf)
  if not state or not cursor or not drawn then
    return nil
  end
  local matches = ghost.matches(buf, cursor)
  local chosen = matches[answers.index(matches, state.chosen)]
  local match = match_of(matches, chosen, drawn)
  if not match and is_part_of(state.items, drawn) then
    -- Several keys were read at once, so that the latest text was not drawn yet.
    ghost.refresh(buf)
    match = chosen
    drawn = nil
  end
  if match then
    return { buf = buf, state = state, cursor = cursor, matches = matches, match = match }
  end
  return nil, drawn
end

--- Writes `piece` over the `tail` bytes after the cursor, and moves the cursor to its end.
---@param buf integer
---@param cursor codegen_lsp.Cursor
---@param piece string
---@param tail integer
local function write(buf, cursor, piece, tail)
  local lines = vim.split(piece, '\n', { plain = true })
  vim.api.nvim_buf_set_text(buf, cursor.row, cursor.col, cursor.row, cursor.col + tail, lines)
  local col = (#lines == 1 and cursor.col or 0) + #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { cursor.row + #lines, col })
end

--- Tells the server that a suggestion was accepted except for `remainder`.
---@param state codegen_lsp.State
---@param item codegen_lsp.Item
---@param remainder string
local function report_part(state, item, remainder)
  local text = item.source.insertText
  text = type(text) == 'table' and text.value or text
  local length = compat.units(text, math.max(#text - #remainder, 0), 'utf-16')
  local params = { item = item.source, acceptedLength = length }
  compat.notify(state.client, 'textDocument/didPartiallyAcceptCompletion', params)
end

---@param shown codegen_lsp.Shown
local function accept_all(shown)
  local match = shown.match
  ghost.forget(shown.buf)
  write(shown.buf, shown.cursor, match.remainder, #match.tail)
  if match.item.source.command then
    compat.command(shown.state.client, match.item.source.command, shown.buf)
  end
end

--- Accepts the part of the suggestion that `pick` returns.
---@param pick fun(remainder: string): string
---@return boolean
local function accept(pick)
  local shown = current()
  if not shown then
    return false
  end
  local buf, state, match = shown.buf, shown.state, shown.match
  local piece = pick(match.remainder)
  local remainder = match.remainder:sub(#piece + 1)
  vim.bo[buf].undolevels = vim.bo[buf].undolevels -- start a new undo step
  state.chosen = match.item
  if not remainder:find('%S') then
    accept_all(shown)
    return true
  end
  write(buf, shown.cursor, piece, suggestion.spent(match, remainder))
  ghost.refresh(buf)
  report_part(state, match.item, remainder)
  return true
end

---@return boolean
function M.accept()
  local shown, foreign = current()
  if not shown and foreign then
    return vim.lsp.inline_completion.get()
  end
  return accept(function(remainder)
    return remainder
  end)
end

---@return boolean
function M.accept_word()
  return accept(suggestion.word)
end

---@return boolean
function M.accept_line()
  return accept(suggestion.line)
end

---@param step integer
---@return boolean
local function cycle(step)
  local shown = current()
  if not shown then
    return false
  end
  local index = (answers.index(shown.matches, shown.match.item) - 1 + step) % #shown.matches + 1
  shown.state.chosen = shown.matches[index].item
  ghost.refresh(shown.buf)
  return true
end

---@return boolean
function M.next()
  return cycle(1)
end

---@return boolean
function M.previous()
  return cycle(-1)
end

---@return boolean
function M.dismiss()
  local shown = current()
  if not shown then
    return false
  end
  ghost.forget(shown.buf)
  shown.state.dismissed = vim.api.nvim_buf_get_changedtick(shown.buf)
  return true
end

---@return boolean
function M.trigger()
  return ghost.request()
end

---@return boolean
function M.visible()
  local shown, foreign = current()
  return shown ~= nil or foreign ~= nil
end

return M
