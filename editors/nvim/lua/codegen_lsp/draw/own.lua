--- Draws ghost text with extmarks, and asks for it: Neovim 0.10 and 0.11, where the editor does neither.
local compat = require('codegen_lsp.compat')

local M = {}

local namespace = vim.api.nvim_create_namespace('codegen_lsp.inline_completion')

---@class codegen_lsp.Pending
---@field timer? uv.uv_timer_t
---@field client? vim.lsp.Client
---@field id? integer of the request that has no answer yet

---@type table<integer, codegen_lsp.Pending>
local pending = {}
---@type table<integer, string> what is drawn
local texts = {}

vim.api.nvim_set_hl(0, 'ComplHint', { link = 'NonText', default = true })
vim.api.nvim_set_hl(0, 'ComplHintMore', { link = 'MoreMsg', default = true })

--- Virtual text does not know tab stops: tabs become spaces, `column` being the screen column it starts in.
---@param text string
---@param column integer
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

--- Draws the `index`-th of `lives` at the cursor.
---@param buf integer
---@param _ vim.lsp.Client
---@param lives codegen_lsp.Live[]
---@param index integer
---@param cursor codegen_lsp.Cursor
function M.draw(buf, _, lives, index, cursor)
  M.clear(buf)
  local live = lives[index]
  texts[buf] = live.shown
  local col = cursor.col + live.skip
  local covered = live.shown == live.rest and live.tail ~= ''
  local lines = {}
  for line in vim.gsplit(live.shown, '\n', { plain = true }) do
    local column = #lines == 0 and vim.fn.strdisplaywidth(cursor.line:sub(1, col)) or 0
    lines[#lines + 1] = { { expand(line, column), 'ComplHint' } }
  end
  if index > 1 then
    table.insert(lines[#lines], { (' (%d/%d)'):format(index, #lives), 'ComplHintMore' })
  end
  vim.api.nvim_buf_set_extmark(buf, namespace, cursor.row, col, {
    virt_text = lines[1],
    virt_lines = { unpack(lines, 2) },
    virt_text_pos = covered and 'overlay' or 'inline',
    hl_mode = 'replace', -- between brackets it would look like the matching bracket otherwise
  })
end

--- The text that is on the screen, nil for none.
---@param buf integer
---@return string?
function M.shown(buf)
  return texts[buf]
end

--- Forgets the timer and cancels the request.
---@param buf integer
local function stop(buf)
  local wait = pending[buf] or {}
  pending[buf] = nil
  if wait.timer and not wait.timer:is_closing() then
    wait.timer:stop()
    wait.timer:close()
  end
  if wait.id and wait.client then
    compat.cancel(wait.client, wait.id)
  end
end

--- Asks for suggestions at the cursor; what was asked before is no longer waited for.
---@param client vim.lsp.Client
---@param buf integer
---@param invoked boolean asked for by hand
function M.request(client, buf, invoked)
  stop(buf)
  local ghost = require('codegen_lsp.ghost')
  local place = ghost.place(buf)
  if not place then
    return
  end
  local wait = { client = client }
  pending[buf] = wait
  local params = ghost.params(client, buf, invoked)
  local _, id = compat.request(client, 'textDocument/inlineCompletion', params, function(err, result)
    wait.id = nil
    if not err then
      ghost.answer(client, buf, place, result)
    end
  end, buf)
  wait.id = id
end

---@param client vim.lsp.Client
---@param buf integer
---@param group integer
---@param watch fun() follows the text from now on
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
