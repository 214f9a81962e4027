--- Ghost text through `vim.lsp.inline_completion`, Neovim 0.12 and later.
---
--- Neovim sends the requests and draws. This module intercepts the answers: `ghost` compares an answer with the
--- current text, and Neovim gets the suggestions that fit, again after each keystroke. So Neovim's suggestions are
--- never outdated: not while typing along, not after an edit further up, and not if a mapping of the user accepts
--- them with `vim.lsp.inline_completion.get()`.
local compat = require('codegen_lsp.compat')

local M = {}

---@class codegen_lsp.Receiver
---@field handler lsp.Handler Neovim's handler for its latest request
---@field context lsp.HandlerContext

---@type table<integer, codegen_lsp.Receiver>
local receivers = {}
local METHOD = 'textDocument/inlineCompletion'

--- Gives items to Neovim as the answer to its latest request.
---@param buf integer
---@param items lsp.InlineCompletionItem[]
---@return boolean
local function answer(buf, items)
  local receiver = receivers[buf]
  local enabled = vim.lsp.inline_completion.is_enabled({ bufnr = buf })
  if receiver and enabled and vim.lsp.buf_is_attached(buf, receiver.context.client_id) then
    receiver.handler(nil, { items = items }, receiver.context)
    return true
  end
  return false
end

---@param buf integer
function M.clear(buf)
  answer(buf, {})
end

--- The extmark that Neovim draws; it can belong to any client with suggestions.
---@param buf integer
---@return vim.api.keyset.get_extmark_item?
local function drawing(buf)
  local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
  return namespace and vim.api.nvim_buf_get_extmarks(buf, namespace, 0, -1, { details = true })[1]
end

--- Restores the colour of ghost text between brackets: Neovim blends it with that of the matching bracket.
---@param buf integer
local function restyle(buf)
  local mark = drawing(buf)
  if mark then
    local id, row, col, details = unpack(mark)
    vim.api.nvim_buf_set_extmark(buf, details.ns_id, row, col, {
      id = id,
      virt_text = details.virt_text,
      virt_text_pos = details.virt_text_pos,
      virt_lines = details.virt_lines,
      hl_mode = 'replace',
    })
  end
end

---@param buf integer
---@param client vim.lsp.Client
---@param matches codegen_lsp.Match[]
---@param index integer
---@param cursor codegen_lsp.Cursor
function M.draw(buf, client, matches, index, cursor)
  local function position(col)
    return { line = cursor.row, character = compat.units(cursor.line, col, client.offset_encoding) }
  end
  local function item(match)
    local col = cursor.col + match.skip
    local tail = match.visible == match.remainder and #match.tail or 0
    return {
      insertText = match.visible,
      range = { start = position(col), ['end'] = position(col + tail) },
      command = match.item.source.command,
    }
  end
  local drawn = answer(buf, vim.tbl_map(item, matches))
  if drawn and index > 1 then
    vim.lsp.inline_completion.select({ bufnr = buf, count = index - 1 })
  end
  restyle(buf)
end

--- The text that is drawn, possibly of another server; nil if there is none.
---@param buf integer
---@return string?
function M.shown(buf)
  local mark = drawing(buf)
  if not mark then
    return nil
  end
  local lines = { mark[4].virt_text or {}, unpack(mark[4].virt_lines or {}) }
  local text = table.concat(
    vim.tbl_map(function(chunks)
      local texts = {}
      for _, chunk in ipairs(chunks) do
        texts[#texts + 1] = chunk[2] ~= 'ComplHintMore' and chunk[1] or nil
      end
      return table.concat(texts)
    end, lines),
    '\n'
  )
  return text ~= '' and text or nil
end

--- Intercepts Neovim's requests for ghost text, and their answers.
---@param client vim.lsp.Client
local function intercept(client)
  local request = client.request
  ---@diagnostic disable-next-line: duplicate-set-field
  client.request = function(self, method, params, handler, buf)
    if method ~= METHOD or not handler then
      return request(self, method, params, handler, buf)
    end
    buf = (buf == nil or buf == 0) and vim.api.nvim_get_current_buf() or buf
    local ghost = require('codegen_lsp.ghost')
    local origin = ghost.origin(buf)
    receivers[buf] = { handler = handler, context = { client_id = self.id, bufnr = buf, method = method } }
    return request(self, method, ghost.extend(params, buf), function(err, result, context)
      if err then
        return handler(err, result, context)
      end
      ghost.answer(self, buf, origin, result)
    end, buf)
  end
end

--- Requests suggestions at the cursor.
---@param client vim.lsp.Client
---@param buf integer
---@param invoked boolean requested by the user
function M.request(client, buf, invoked)
  local receiver = receivers[buf]
  if receiver then
    client:request(METHOD, require('codegen_lsp.ghost').params(client, buf, invoked), receiver.handler, buf)
  end
end

---@type table<integer, true>
local intercepted = {}

---@param client vim.lsp.Client
---@param buf integer
---@param _ integer
---@param watch fun() starts following the text
function M.attach(client, buf, _, watch)
  if not intercepted[client.id] then
    intercepted[client.id] = true
    intercept(client)
  end
  vim.lsp.inline_completion.enable(true, { bufnr = buf })
  -- Neovim starts following the text in the next iteration of its loop; ours has to run after it.
  vim.schedule(function()
    vim.schedule(watch)
  end)
end

---@param buf integer
function M.detach(buf)
  receivers[buf] = nil
end

return M
