--- Keys in insert mode that do something while ghost text is visible, and what they did before otherwise.
local M = {}

---@type table<integer, table<string, table>> buffer -> key -> the buffer's own mapping before
local taken = {}

---@param keys string
---@param mode string
local function feed(keys, mode)
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(keys, true, true, true), mode, false)
end

--- Does what `lhs` did before it was taken. The keys go before what is still to be read from the keyboard.
---@param lhs string
---@param before table of maparg()
local function pass_on(lhs, before)
  if vim.tbl_isempty(before) then
    return feed(lhs, 'in')
  end
  local mode = before.noremap == 1 and 'in' or 'im'
  local keys = before.rhs
  if before.callback then
    keys = before.callback()
  elseif before.expr == 1 then
    keys = vim.api.nvim_eval(before.rhs)
  end
  if type(keys) ~= 'string' or (before.callback and before.expr ~= 1) then
    return
  end
  if before.callback and before.replace_keycodes ~= 1 then
    return vim.api.nvim_feedkeys(keys, mode, false)
  end
  feed(keys, mode)
end

--- Takes the keys in `buf`.
---@param buf integer
---@param keys table<string, string|false> by the action's name
function M.set(buf, keys)
  if taken[buf] then
    return
  end
  taken[buf] = {}
  local api = require('codegen_lsp')
  for name, lhs in pairs(keys) do
    if lhs then
      local before = vim.api.nvim_buf_call(buf, function()
        return vim.fn.maparg(lhs, 'i', false, true)
      end)
      taken[buf][lhs] = before.buffer == 1 and before or {}
      vim.keymap.set('i', lhs, function()
        if not api[name]() then
          pass_on(lhs, before)
        end
      end, { buffer = buf, desc = 'codegen-lsp: ' .. name:gsub('_', ' ') })
    end
  end
end

--- Gives the keys back.
---@param buf integer
function M.remove(buf)
  local keys = taken[buf]
  taken[buf] = nil
  if not keys or not vim.api.nvim_buf_is_valid(buf) then
    return
  end
  for lhs, before in pairs(keys) do
    pcall(vim.keymap.del, 'i', lhs, { buffer = buf })
    if before.lhs then
      vim.api.nvim_buf_call(buf, function()
        vim.fn.mapset('i', false, before)
      end)
    end
  end
end

return M
