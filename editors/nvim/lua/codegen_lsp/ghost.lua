--- The suggestions of each buffer: which one is shown, and what accepting it writes.
---
--- How ghost text gets on the screen, and who asks for it, is `draw.native`'s or
--- `draw.own`'s part; which suggestions fit is found out in `answers`.
local answers = require('codegen_lsp.answers')
local compat = require('codegen_lsp.compat')
local suggestion = require('codegen_lsp.suggestion')
local draw = require(compat.has_native_ghost and 'codegen_lsp.draw.native' or 'codegen_lsp.draw.own')

local M = {}

---@class codegen_lsp.State
---@field client vim.lsp.Client
---@field group integer
---@field asked integer the number of the latest request
---@field place? codegen_lsp.Place of the latest answer that had something
---@field items codegen_lsp.Item[]
---@field chosen? codegen_lsp.Item
---@field told? codegen_lsp.Item the one the server knows to be shown
---@field dismissed? integer the tick of the text for which no suggestion is wanted

---@type table<integer, codegen_lsp.State>
local states = {}

--- Remembers the cursor for the answer to a request that is about to be sent.
---@param buf integer
---@return codegen_lsp.Place?
function M.place(buf)
  local state = states[buf]
  if not state then
    return nil
  end
  state.asked = state.asked + 1
  return answers.place(buf, state.asked)
end

--- Brings the screen up to date with the text.
---@param buf integer
local function refresh(buf)
  local state, cursor = states[buf], answers.cursor(buf)
  if not state or not cursor then
    return
  end
  local lives = answers.lives(buf, state.place, state.items, cursor)
  if #lives == 0 then
    return draw.clear(buf)
  end
  local index = answers.index(lives, state.chosen)
  state.chosen = lives[index].item
  draw.draw(buf, state.client, lives, index, cursor)
  if state.told ~= state.chosen then
    state.told = state.chosen
    compat.notify(state.client, 'textDocument/didShowCompletion', { item = state.chosen.source })
  end
end

--- Forgets the suggestions of a buffer.
---@param buf integer
function M.forget(buf)
  local state = states[buf]
  if state and vim.api.nvim_buf_is_valid(buf) then
    state.place, state.items, state.chosen, state.dismissed = nil, {}, nil, nil
    answers.forget(buf)
    draw.clear(buf)
  end
end

--- Takes the server's answer to the request made at `place`.
---
--- An answer with nothing in it does not take away a suggestion that still fits what is typed.
---@param client vim.lsp.Client
---@param buf integer
---@param place? codegen_lsp.Place
---@param result? lsp.InlineCompletionList|lsp.InlineCompletionItem[]
function M.answer(client, buf, place, result)
  local state, cursor = states[buf], answers.cursor(buf)
  if not state or not place or not cursor then
    return
  end
  local late = state.place and place.number < state.place.number
  if late or state.dismissed == place.tick then
    return answers.drop(buf, place)
  end
  local items = {}
  for _, source in ipairs(type(result) == 'table' and (result.items or result) or {}) do
    items[#items + 1] = suggestion.parse(source, place, client.offset_encoding)
  end
  local old = answers.lives(buf, state.place, state.items, cursor)
  local new = answers.lives(buf, place, items, cursor)
  if #new == 0 and #old > 0 then
    return answers.drop(buf, place)
  end
  answers.retire(buf, place)
  local shown = old[answers.index(old, state.chosen)]
  state.place, state.items, state.chosen = place, items, nil
  for _, live in ipairs(new) do
    if shown and live.rest == shown.rest then
      state.chosen, state.told = live.item, state.told == shown.item and live.item or state.told
      break
    end
  end
  refresh(buf)
end

--- `params` of a request with what servers for suggestions like to know besides.
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
---@param invoked boolean asked for by hand
---@return table
function M.params(client, buf, invoked)
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  -- Not make_position_params: Neovim 0.10's is wrong after characters of several bytes.
  local character = compat.units(vim.api.nvim_get_current_line(), col, client.offset_encoding)
  return M.extend({
    textDocument = { uri = vim.uri_from_bufnr(buf) },
    position = { line = row - 1, character = character },
    context = { triggerKind = invoked and 1 or 2 },
  }, buf)
end

---@param client vim.lsp.Client
---@param buf integer
function M.attach(client, buf)
  M.detach(buf)
  local group = vim.api.nvim_create_augroup('codegen_lsp.ghost.' .. buf, { clear = true })
  states[buf] = { client = client, group = group, asked = 0, items = {} }
  vim.api.nvim_create_autocmd('InsertLeave', {
    group = group,
    buffer = buf,
    callback = function()
      M.forget(buf)
    end,
  })
  draw.attach(client, buf, group, function()
    if states[buf] and states[buf].group == group then
      vim.api.nvim_create_autocmd({ 'CursorMovedI', 'TextChangedI', 'TextChangedP' }, {
        group = group,
        buffer = buf,
        callback = function()
          refresh(buf)
        end,
      })
    end
  end)
end

--- Forgets a buffer, where it is `client` that was attached to it.
---@param buf integer
---@param client? integer any without it
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

---@class codegen_lsp.Shown
---@field buf integer
---@field state codegen_lsp.State
---@field cursor codegen_lsp.Cursor
---@field lives codegen_lsp.Live[]
---@field live codegen_lsp.Live the one of `lives` that is on the screen

--- What is shown in the current buffer, nil for nothing of ours.
---@return codegen_lsp.Shown?
---@return string? text what another server is shown to suggest
local function current()
  local buf = vim.api.nvim_get_current_buf()
  local state, cursor = states[buf], answers.cursor(buf)
  local shown = state and draw.shown(buf)
  if not cursor or not shown then
    return nil
  end
  local lives = answers.lives(buf, state.place, state.items, cursor)
  local drawn = lives[answers.index(lives, state.chosen)]
  for _, live in ipairs({ drawn, unpack(lives) }) do
    if live.shown == shown then
      return { buf = buf, state = state, cursor = cursor, lives = lives, live = live }
    end
  end
  for _, item in ipairs(state.items) do
    if item.text:find(shown, 1, true) then
      -- It is from before the latest keys: several were read at once, and nothing was drawn in between.
      refresh(buf)
      return drawn and { buf = buf, state = state, cursor = cursor, lives = lives, live = drawn }
    end
  end
  return nil, shown
end

--- Writes `piece` at the cursor in place of `tail` bytes after it, the cursor behind it.
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

--- Tells the server that a suggestion was accepted up to `left`.
---@param state codegen_lsp.State
---@param item codegen_lsp.Item
---@param left string
local function tell_part(state, item, left)
  local text = item.source.insertText
  text = type(text) == 'table' and text.value or text
  local length = compat.units(text, math.max(#text - #left, 0), 'utf-16')
  local params = { item = item.source, acceptedLength = length }
  compat.notify(state.client, 'textDocument/didPartiallyAcceptCompletion', params)
end

--- Accepts what `pick` takes of the rest.
---@param pick fun(rest: string): string
---@return boolean
local function take(pick)
  local ours = current()
  if not ours then
    return false
  end
  local buf, state, live = ours.buf, ours.state, ours.live
  local piece = pick(live.rest)
  local left = live.rest:sub(#piece + 1)
  vim.bo[buf].undolevels = vim.bo[buf].undolevels -- one `u` takes back what was accepted, and no more
  state.chosen = live.item
  if left:find('%S') then
    write(buf, ours.cursor, piece, suggestion.spent(live, left))
    refresh(buf)
    tell_part(state, live.item, left)
    return true
  end
  M.forget(buf)
  write(buf, ours.cursor, live.rest, #live.tail)
  if live.item.source.command then
    compat.command(state.client, live.item.source.command, buf)
  end
  return true
end

---@return boolean
function M.accept()
  local ours, foreign = current()
  if not ours and foreign then
    return vim.lsp.inline_completion.get()
  end
  return take(function(rest)
    return rest
  end)
end

---@return boolean
function M.accept_word()
  return take(suggestion.word)
end

---@return boolean
function M.accept_line()
  return take(suggestion.line)
end

---@param step integer
---@return boolean
local function cycle(step)
  local ours = current()
  if not ours then
    return false
  end
  local index = (answers.index(ours.lives, ours.live.item) - 1 + step) % #ours.lives + 1
  ours.state.chosen = ours.lives[index].item
  refresh(ours.buf)
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
  local ours = current()
  if not ours then
    return false
  end
  M.forget(ours.buf)
  ours.state.dismissed = vim.api.nvim_buf_get_changedtick(ours.buf)
  return true
end

---@return boolean
function M.trigger()
  local state = states[vim.api.nvim_get_current_buf()]
  if not state then
    return false
  end
  state.dismissed = nil
  draw.request(state.client, vim.api.nvim_get_current_buf(), true)
  return true
end

---@return boolean
function M.visible()
  local ours, foreign = current()
  return ours ~= nil or foreign ~= nil
end

return M
