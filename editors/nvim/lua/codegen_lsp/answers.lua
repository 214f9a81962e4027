--- Where requests were made, and which of their answers still fit the text.
---
--- Knows buffers, marks and the cursor. What is left of one suggestion is computed in `suggestion`.
local suggestion = require('codegen_lsp.suggestion')

local M = {}

local places = vim.api.nvim_create_namespace('codegen_lsp.places')

---@class codegen_lsp.Cursor
---@field row integer 0-based
---@field col integer bytes
---@field line string

--- Where a request was made. The mark follows edits further up.
---@class codegen_lsp.Place : codegen_lsp.Around
---@field mark integer
---@field number integer of the request, in order
---@field tick integer

--- The cursor, nil where `buf` is not being written in.
---@param buf integer
---@return codegen_lsp.Cursor?
function M.cursor(buf)
  if vim.api.nvim_get_current_buf() ~= buf or not vim.api.nvim_get_mode().mode:match('^i') then
    return nil
  end
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_buf_get_lines(buf, row - 1, row, false)[1] or ''
  return { row = row - 1, col = col, line = line }
end

--- Remembers the cursor for the answer to a request that is about to be sent.
---@param buf integer
---@param number integer
---@return codegen_lsp.Place?
function M.place(buf, number)
  local cursor = M.cursor(buf)
  return cursor
    and {
      row = cursor.row,
      before = cursor.line:sub(1, cursor.col),
      after = cursor.line:sub(cursor.col + 1),
      mark = vim.api.nvim_buf_set_extmark(buf, places, cursor.row, cursor.col, { right_gravity = false }),
      number = number,
      tick = vim.api.nvim_buf_get_changedtick(buf),
    }
end

--- Forgets a place whose answer was not taken up.
---@param buf integer
---@param place codegen_lsp.Place
function M.drop(buf, place)
  vim.api.nvim_buf_del_extmark(buf, places, place.mark)
end

--- Forgets the places of a buffer that were left before `place`.
---@param buf integer
---@param place codegen_lsp.Place
function M.retire(buf, place)
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buf, places, 0, -1, {})) do
    if mark[1] < place.mark then
      vim.api.nvim_buf_del_extmark(buf, places, mark[1])
    end
  end
end

--- Forgets all places of a buffer.
---@param buf integer
function M.forget(buf)
  vim.api.nvim_buf_clear_namespace(buf, places, 0, -1)
end

--- What was typed since `place`, nil where the cursor or the text before it is elsewhere.
---@param buf integer
---@param place codegen_lsp.Place
---@param cursor codegen_lsp.Cursor
---@return string?
local function typed_since(buf, place, cursor)
  local mark = vim.api.nvim_buf_get_extmark_by_id(buf, places, place.mark, {})
  local row, col = mark[1], mark[2]
  if not row or cursor.row < row or (cursor.row == row and cursor.col < col) then
    return nil
  end
  local line = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1]
  if line:sub(1, col) ~= place.before then
    return nil
  end
  return table.concat(vim.api.nvim_buf_get_text(buf, row, col, cursor.row, cursor.col, {}), '\n')
end

--- What is left of each item at the cursor, items that no longer fit left out.
---@param buf integer
---@param place? codegen_lsp.Place
---@param items codegen_lsp.Item[]
---@param cursor? codegen_lsp.Cursor
---@return codegen_lsp.Live[]
function M.lives(buf, place, items, cursor)
  local typed = place and cursor and typed_since(buf, place, cursor)
  if not typed then
    return {}
  end
  local lives = {}
  for _, item in ipairs(items) do
    lives[#lives + 1] = suggestion.live(item, place.after, typed, cursor.line:sub(cursor.col + 1))
  end
  return lives
end

---@param lives codegen_lsp.Live[]
---@param chosen? codegen_lsp.Item
---@return integer index 1 where it is not among them
function M.index(lives, chosen)
  for index, live in ipairs(lives) do
    if live.item == chosen then
      return index
    end
  end
  return 1
end

return M
