--- Ghost text through `vim.lsp.inline_completion`, Neovim 0.12 and later.
---
--- Neovim asks and draws. Between the two stands this module: an answer goes to `ghost`, which compares it with the
--- text as it is by then, and what is left goes on to Neovim, again after each keystroke. So what Neovim holds is
--- never out of date: not while typing through, not after an edit further up, and not when it is accepted by
--- `vim.lsp.inline_completion.get()` in a user's own mapping.
local compat = require('codegen_lsp.compat')

local M = {}

---@class codegen_lsp.Answering
---@field handler lsp.Handler Neovim's own for its latest request
---@field context lsp.HandlerContext

---@type table<integer, codegen_lsp.Answering>
local answering = {}
local METHOD = 'textDocument/inlineCompletion'

---@param buf integer
---@param items lsp.InlineCompletionItem[]
local function answer(buf, items)
  local to = answering[buf]
  local enabled = vim.lsp.inline_completion.is_enabled({ bufnr = buf })
  if to and enabled and vim.lsp.buf_is_attached(buf, to.context.client_id) then
    to.handler(nil, { items = items }, to.context)
    return true
  end
  return false
end

---@param buf integer
function M.clear(buf)
  answer(buf, {})
end

--- Neovim's drawing: extmarks may be of any client that suggests.
---@param buf integer
---@return vim.api.keyset.get_extmark_item?
local function drawing(buf)
  local namespace = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
  return namespace and vim.api.nvim_buf_get_extmarks(buf, namespace, 0, -1, { details = true })[1]
end

--- Keeps the colour of ghost text between brackets: Neovim lets it look like the matching bracket after it.
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
---@param lives codegen_lsp.Live[]
---@param index integer
---@param cursor codegen_lsp.Cursor
function M.draw(buf, client, lives, index, cursor)
  local function position(col)
    return { line = cursor.row, character = compat.units(cursor.line, col, client.offset_encoding) }
  end
  local function item(live)
    local col = cursor.col + live.skip
    local tail = live.shown == live.rest and #live.tail or 0
    return {
      insertText = live.shown,
      range = { start = position(col), ['end'] = position(col + tail) },
      command = live.item.source.command,
    }
  end
  local drawn = answer(buf, vim.tbl_map(item, lives))
  if drawn and index > 1 then
    vim.lsp.inline_completion.select({ bufnr = buf, count = index - 1 })
  end
  restyle(buf)
end

--- The text that is on the screen, which may be another server's; nil for none.
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

--- Stands between the client and Neovim's requests for ghost text.
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
    local place = ghost.place(buf)
    answering[buf] = { handler = handler, context = { client_id = self.id, bufnr = buf, method = method } }
    return request(self, method, ghost.extend(params, buf), function(err, result, context)
      if err then
        return handler(err, result, context)
      end
      ghost.answer(self, buf, place, result)
    end, buf)
  end
end

--- Asks for suggestions at the cursor.
---@param client vim.lsp.Client
---@param buf integer
---@param invoked boolean asked for by hand
function M.request(client, buf, invoked)
  local to = answering[buf]
  if to then
    client:request(METHOD, require('codegen_lsp.ghost').params(client, buf, invoked), to.handler, buf)
  end
end

---@type table<integer, true>
local intercepted = {}

---@param client vim.lsp.Client
---@param buf integer
---@param _ integer
---@param watch fun() follows the text from now on
function M.attach(client, buf, _, watch)
  if not intercepted[client.id] then
    intercepted[client.id] = true
    intercept(client)
  end
  vim.lsp.inline_completion.enable(true, { bufnr = buf })
  -- Neovim follows the text from the next turn of its loop on; what it draws is put right after it has.
  vim.schedule(function()
    vim.schedule(watch)
  end)
end

---@param buf integer
function M.detach(buf)
  answering[buf] = nil
end

return M
