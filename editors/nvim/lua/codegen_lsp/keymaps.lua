--- Keys in insert mode that act on visible ghost text, and keep their previous mapping otherwise.
local M = {}

---@type table<integer, table<string, table>> buffer -> key -> its previous mapping in the buffer, or {}
local previous = {}

---@param keys string
---@param mode string
local function feed(keys, mode)
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(keys, true, true, true), mode, false)
end

--- Runs the previous mapping of `lhs`. Its keys are inserted before keys that are waiting to be read.
---@param lhs string
---@param mapping table of maparg()
local function run_previous(lhs, mapping)
  if vim.tbl_isempty(mapping) then
    return feed(lhs, 'in')
  end
  local mode = mapping.noremap == 1 and 'in' or 'im'
  local keys = mapping.rhs
  if mapping.callback then
    keys = mapping.callback()
  elseif mapping.expr == 1 then
    keys = vim.api.nvim_eval(mapping.rhs)
  end
  if type(keys) ~= 'string' or (mapping.callback and mapping.expr ~= 1) then
    return
  end
  if mapping.callback and mapping.replace_keycodes ~= 1 then
    return vim.api.nvim_feedkeys(keys, mode, false)
  end
  feed(keys, mode)
end

--- Maps the keys in `buf`.
---@param buf integer
---@param keys table<string, string|false> by the name of the action
function M.set(buf, keys)
  if previous[buf] then
    return
  end
  previous[buf] = {}
  local api = require('codegen_lsp')
  for name, lhs in pairs(keys) do
    if lhs then
      local mapping = vim.api.nvim_buf_call(buf, function()
        return vim.fn.maparg(lhs, 'i', false, true)
      end)
      previous[buf][lhs] = mapping.buffer == 1 and mapping or {}
      vim.keymap.set('i', lhs, function()
        if not api[name]() then
          run_previous(lhs, mapping)
        end
      end, { buffer = buf, desc = 'codegen-lsp: ' .. name:gsub('_', ' ') })
    end
  end
end

--- Restores the previous mappings of the keys.
---@param buf integer
function M.remove(buf)
  local keys = previous[buf]
  previous[buf] = nil
  if not keys or not vim.api.nvim_buf_is_valid(buf) then
    return
  end
  for lhs, mapping in pairs(keys) do
    pcall(vim.keymap.del, 'i', lhs, { buffer = buf })
    if mapping.lhs then
      vim.api.nvim_buf_call(buf, function()
        vim.fn.mapset('i', false, mapping)
      end)
    end
  end
end

return M
