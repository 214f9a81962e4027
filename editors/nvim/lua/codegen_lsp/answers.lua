--- The origins of requests, and the suggestions of their answers that fit the text.
---
--- Knows buffers, marks and the cursor; strings are compared in `suggestion`.
local suggestion = require('codegen_lsp.suggestion')

local M = {}

local origins = vim.api.nvim_create_namespace('codegen_lsp.origins')

---@class codegen_lsp.Cursor
---@field row integer 0-based
---@field col integer bytes
---@field line string

--- The cursor of a request. The mark moves with edits above it.
---@class codegen_lsp.Origin : codegen_lsp.Around
---@field mark integer
---@field number integer of the request
---@field tick integer the changedtick at the time of the request

--- The cursor, nil unless `buf` is the current buffer and in insert mode.
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

--- Stores the cursor for the answer to a request that is about to be sent.
---@param buf integer
---@param number integer
---@return codegen_lsp.Origin?
function M.origin(buf, number)
  local cursor = M.cursor(buf)
  return cursor
    and {
      row = cursor.row,
      before = cursor.line:sub(1, cursor.col),
      after = cursor.line:sub(cursor.col + 1),
      mark = vim.api.nvim_buf_set_extmark(buf, origins, cursor.row, cursor.col, { right_gravity = false }),
      number = number,
      tick = vim.api.nvim_buf_get_changedtick(buf),
    }
end

--- Removes an origin whose answer is not used.
---@param buf integer
---@param origin codegen_lsp.Origin
function M.drop(buf, origin)
  vim.api.nvim_buf_del_extmark(buf, origins, origin.mark)
end

--- Removes the origins of a buffer that are older than `origin`.
---@param buf integer
---@param origin codegen_lsp.Origin
function M.retire(buf, origin)
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buf, origins, 0, -1, {})) do
    if mark[1] < origin.mark then
      vim.api.nvim_buf_del_extmark(buf, origins, mark[1])
    end
  end
end

--- Removes all origins of a buffer.
---@param buf integer
function M.forget(buf)
  vim.api.nvim_buf_clear_namespace(buf, origins, 0, -1)
end

--- The text that was typed since `origin`, nil if the cursor or the text before it has moved away.
---@param buf integer
---@param origin codegen_lsp.Origin
---@param cursor codegen_lsp.Cursor
---@return string?
local function typed_since(buf, origin, cursor)
  local mark = vim.api.nvim_buf_get_extmark_by_id(buf, origins, origin.mark, {})
  local row, col = mark[1], mark[2]
  if not row or cursor.row < row or (cursor.row == row and cursor.col < col) then
    return nil
  end
  local line = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1]
  if line:sub(1, col) ~= origin.before then
    return nil
  end
  return table.concat(vim.api.nvim_buf_get_text(buf, row, col, cursor.row, cursor.col, {}), '\n')
end

--- The items that fit the text at the cursor.
---@param buf integer
---@param origin? codegen_lsp.Origin
---@param items codegen_lsp.Item[]
---@param cursor? codegen_lsp.Cursor
---@return codegen_lsp.Match[]
function M.matches(buf, origin, items, cursor)
  local typed = origin and cursor and typed_since(buf, origin, cursor)
  if not typed then
    return {}
  end
  local matches = {}
  for _, item in ipairs(items) do
    matches[#matches + 1] = suggestion.match(item, origin.after, typed, cursor.line:sub(cursor.col + 1))
  end
  return matches
end

---@param matches codegen_lsp.Match[]
---@param chosen? codegen_lsp.Item
---@return integer index of the chosen item; 1 if it is not among the matches
function M.index(matches, chosen)
  for index, match in ipairs(matches) do
    if match.item == chosen then
      return index
    end
  end
  return 1
end

return M
