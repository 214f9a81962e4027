--- The suggestions of each buffer: which ones there are, and which one is shown.
---
--- Requesting and drawing is done by `draw.native` or `draw.extmarks`. Which suggestions fit the text is computed in
--- `answers`, and `actions` accepts them.
local answers = require('codegen_lsp.answers')
local compat = require('codegen_lsp.compat')
local suggestion = require('codegen_lsp.suggestion')
local draw = require(compat.has_native_ghost and 'codegen_lsp.draw.native' or 'codegen_lsp.draw.extmarks')

local M = {}

---@class codegen_lsp.State
---@field client vim.lsp.Client
---@field group integer
---@field requests integer the number of requests so far
---@field origin? codegen_lsp.Origin of the latest answer that was not empty
---@field items codegen_lsp.Item[]
---@field chosen? codegen_lsp.Item
---@field reported? codegen_lsp.Item the one that the server was told is shown
---@field dismissed? integer the changedtick of the text for which suggestions were dismissed

---@type table<integer, codegen_lsp.State>
local states = {}

--- The state of a buffer, nil if no client is attached.
---@param buf integer
---@return codegen_lsp.State?
function M.state(buf)
  return states[buf]
end

--- Stores where the cursor is, for the answer to a request that is about to be sent.
---@param buf integer
---@return codegen_lsp.Origin?
function M.origin(buf)
  local state = states[buf]
  if not state then
    return nil
  end
  state.requests = state.requests + 1
  return answers.origin(buf, state.requests)
end

--- The suggestions that fit the text at the cursor.
---@param buf integer
---@param cursor? codegen_lsp.Cursor
---@return codegen_lsp.Match[]
function M.matches(buf, cursor)
  local state = states[buf]
  return state and answers.matches(buf, state.origin, state.items, cursor) or {}
end

--- Draws the chosen suggestion as it fits the text now.
---@param buf integer
function M.refresh(buf)
  local state, cursor = states[buf], answers.cursor(buf)
  if not state or not cursor then
    return
  end
  local matches = M.matches(buf, cursor)
  if #matches == 0 then
    return draw.clear(buf)
  end
  local index = answers.index(matches, state.chosen)
  state.chosen = matches[index].item
  draw.draw(buf, state.client, matches, index, cursor)
  if state.reported ~= state.chosen then
    state.reported = state.chosen
    compat.notify(state.client, 'textDocument/didShowCompletion', { item = state.chosen.source })
  end
end

--- Removes the suggestions of a buffer.
---@param buf integer
function M.forget(buf)
  local state = states[buf]
  if state and vim.api.nvim_buf_is_valid(buf) then
    state.origin, state.items, state.chosen, state.dismissed = nil, {}, nil, nil
    answers.forget(buf)
    draw.clear(buf)
  end
end

--- The items of an answer that ghost text can show.
---@param result? lsp.InlineCompletionList|lsp.InlineCompletionItem[]
---@param origin codegen_lsp.Origin
---@param encoding string
---@return codegen_lsp.Item[]
local function parse(result, origin, encoding)
  local items = {}
  for _, source in ipairs(type(result) == 'table' and (result.items or result) or {}) do
    items[#items + 1] = suggestion.parse(source, origin, encoding)
  end
  return items
end

--- Replaces the items; the suggestion that is shown stays chosen if the new items contain it.
---@param state codegen_lsp.State
---@param origin codegen_lsp.Origin
---@param items codegen_lsp.Item[]
---@param matches codegen_lsp.Match[] of the new items
---@param shown? codegen_lsp.Match of the old items
local function replace(state, origin, items, matches, shown)
  state.origin, state.items, state.chosen = origin, items, nil
  for _, match in ipairs(matches) do
    if shown and match.remainder == shown.remainder then
      state.chosen = match.item
      state.reported = state.reported == shown.item and match.item or state.reported
      return
    end
  end
end

--- Handles the server's answer to the request made at `origin`.
---
--- An empty answer does not remove a suggestion that still fits the text.
---@param client vim.lsp.Client
---@param buf integer
---@param origin? codegen_lsp.Origin
---@param result? lsp.InlineCompletionList|lsp.InlineCompletionItem[]
function M.answer(client, buf, origin, result)
  local state, cursor = states[buf], answers.cursor(buf)
  if not state or not origin or not cursor then
    return
  end
  local outdated = state.origin and origin.number < state.origin.number
  if outdated or state.dismissed == origin.tick then
    return answers.drop(buf, origin)
  end
  local items = parse(result, origin, client.offset_encoding)
  local old = M.matches(buf, cursor)
  local new = answers.matches(buf, origin, items, cursor)
  if #new == 0 and #old > 0 then
    return answers.drop(buf, origin)
  end
  answers.retire(buf, origin)
  replace(state, origin, items, new, old[answers.index(old, state.chosen)])
  M.refresh(buf)
end

--- Adds the document's version and the formatting options to the parameters of a request.
---@param params lsp.InlineCompletionParams
---@param buf integer
---@return table
function M.extend(params, buf)
  local document = { version = vim.lsp.util.buf_versions[buf] }
  local options = { tabSize = vim.lsp.util.get_effective_tabstop(buf), insertSpaces = vim.bo[buf].expandtab }
  return vim.tbl_deep_extend('keep', params, { textDocument = document, formattingOptions = options })
end

--- The parameters of a request for suggestions at the cursor.
---@param client vim.lsp.Client
---@param buf integer
---@param invoked boolean requested by the user
---@return table
function M.params(client, buf, invoked)
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  -- Not make_position_params: in Neovim 0.10 it is wrong after multibyte characters.
  local character = compat.units(vim.api.nvim_get_current_line(), col, client.offset_encoding)
  return M.extend({
    textDocument = { uri = vim.uri_from_bufnr(buf) },
    position = { line = row - 1, character = character },
    context = { triggerKind = invoked and 1 or 2 },
  }, buf)
end

--- Requests a suggestion in the current buffer, as the user wants one.
---@return boolean
function M.request()
  local buf = vim.api.nvim_get_current_buf()
  local state = states[buf]
  if not state then
    return false
  end
  state.dismissed = nil
  draw.request(state.client, buf, true)
  return true
end

--- The text that is drawn in a buffer, nil if there is none.
---@param buf integer
---@return string?
function M.drawn(buf)
  return states[buf] and draw.shown(buf)
end

---@param client vim.lsp.Client
---@param buf integer
function M.attach(client, buf)
  M.detach(buf)
  local group = vim.api.nvim_create_augroup('codegen_lsp.ghost.' .. buf, { clear = true })
  states[buf] = { client = client, group = group, requests = 0, items = {} }
  local function on(events, run)
    vim.api.nvim_create_autocmd(events, {
      group = group,
      buffer = buf,
      callback = function()
        run(buf)
      end,
    })
  end
  on('InsertLeave', M.forget)
  draw.attach(client, buf, group, function()
    if states[buf] and states[buf].group == group then
      on({ 'CursorMovedI', 'TextChangedI', 'TextChangedP' }, M.refresh)
    end
  end)
end

--- Removes the state of a buffer, if `client` is attached to it.
---@param buf integer
---@param client? integer the id of a client; any client without it
---@return boolean
function M.detach(buf, client)
  local state = states[buf]
  if not state or (client and state.client.id ~= client) then
    return false
  end
  M.forget(buf)
  draw.detach(buf)
  vim.api.nvim_del_augroup_by_id(state.group)
  states[buf] = nil
  return true
end

return M
