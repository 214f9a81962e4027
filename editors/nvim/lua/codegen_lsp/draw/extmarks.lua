--- Requests ghost text and draws it with extmarks, for Neovim 0.10 and 0.11, which do neither.
local compat = require('codegen_lsp.compat')

local M = {}

local namespace = vim.api.nvim_create_namespace('codegen_lsp.inline_completion')

---@class codegen_lsp.Pending
---@field timer? uv.uv_timer_t
---@field client? vim.lsp.Client
---@field id? integer of the pending request

---@type table<integer, codegen_lsp.Pending>
local pending = {}
---@type table<integer, string> buffer -> the text that is drawn
local texts = {}

vim.api.nvim_set_hl(0, 'ComplHint', { link = 'NonText', default = true })
vim.api.nvim_set_hl(0, 'ComplHintMore', { link = 'MoreMsg', default = true })

--- Replaces tabs by spaces, because virtual text has no tab stops.
---@param text string
---@param column integer the screen column of its start
---@return string
local function expand(text, column)
  while true do
    local tab = text:find('\t', 1, true)
    if not tab then
      return text
    end
    local head = text:sub(1, tab - 1)
    local width = vim.fn.strdisplaywidth(head .. '\t', column) - vim.fn.strdisplaywidth(head, column)
    text = head .. (' '):rep(width) .. text:sub(tab + 1)
  end
end

---@param buf integer
function M.clear(buf)
  texts[buf] = nil
  vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
end

--- Draws one of `matches` at the cursor.
---@param buf integer
---@param _ vim.lsp.Client
---@param matches codegen_lsp.Match[]
---@param index integer
---@param cursor codegen_lsp.Cursor
function M.draw(buf, _, matches, index, cursor)
  M.clear(buf)
  local match = matches[index]
  texts[buf] = match.visible
  local col = cursor.col + match.skip
  local covered = match.visible == match.remainder and match.tail ~= ''
  local lines = {}
  for line in vim.gsplit(match.visible, '\n', { plain = true }) do
    local column = #lines == 0 and vim.fn.strdisplaywidth(cursor.line:sub(1, col)) or 0
    lines[#lines + 1] = { { expand(line, column), 'ComplHint' } }
  end
  if index > 1 then
    table.insert(lines[#lines], { (' (%d/%d)'):format(index, #matches), 'ComplHintMore' })
  end
  vim.api.nvim_buf_set_extmark(buf, namespace, cursor.row, col, {
    virt_text = lines[1],
    virt_lines = { unpack(lines, 2) },
    virt_text_pos = covered and 'overlay' or 'inline',
    hl_mode = 'replace', -- otherwise the colour is blended with that of a matching bracket
  })
end

--- The text that is drawn, nil if there is none.
---@param buf integer
---@return string?
function M.shown(buf)
  return texts[buf]
end

--- Stops the timer and cancels the request of a buffer.
---@param buf integer
local function stop(buf)
  local request = pending[buf] or {}
  pending[buf] = nil
  if request.timer and not request.timer:is_closing() then
    request.timer:stop()
    request.timer:close()
  end
  if request.id and request.client then
    compat.cancel(request.client, request.id)
  end
end

--- Requests suggestions at the cursor, and cancels an earlier request.
---@param client vim.lsp.Client
---@param buf integer
---@param invoked boolean requested by the user
function M.request(client, buf, invoked)
  stop(buf)
  local ghost = require('codegen_lsp.ghost')
  local origin = ghost.origin(buf)
  if not origin then
    return
  end
  local request = { client = client }
  pending[buf] = request
  local params = ghost.params(client, buf, invoked)
  local _, id = compat.request(client, 'textDocument/inlineCompletion', params, function(err, result)
    request.id = nil
    if not err then
      ghost.answer(client, buf, origin, result)
    end
  end, buf)
  request.id = id
end

---@param client vim.lsp.Client
---@param buf integer
---@param group integer
---@param watch fun() starts following the text
function M.attach(client, buf, group, watch)
  watch()
  vim.api.nvim_create_autocmd({ 'InsertEnter', 'CursorMovedI', 'TextChangedI', 'TextChangedP' }, {
    group = group,
    buffer = buf,
    callback = function()
      stop(buf)
      pending[buf] = {
        timer = vim.defer_fn(function()
          M.request(client, buf, false)
        end, require('codegen_lsp.config').get().debounce),
      }
    end,
  })
  vim.api.nvim_create_autocmd('InsertLeave', {
    group = group,
    buffer = buf,
    callback = function()
      stop(buf)
    end,
  })
end

---@param buf integer
function M.detach(buf)
  stop(buf)
  M.clear(buf)
end

return M
