--- The page of `:CodegenLsp last`: the prompt of a request, its candidates, and what the filters did.
---
--- Shows the answer of the server's command `codegen.showLastRequest`.
local M = {}

local namespace = vim.api.nvim_create_namespace('codegen_lsp.last')

--- Upper bounds of a token's probability, each with its highlight group and the group that it links to.
local shades = {
  { 0.1, 'CodegenLspUnlikely', 'DiagnosticError' },
  { 0.4, 'CodegenLspDoubtful', 'DiagnosticWarn' },
  { 0.8, 'CodegenLspLikely', 'DiagnosticInfo' },
  { math.huge, 'CodegenLspSure', 'DiagnosticOk' },
}
for _, shade in ipairs(shades) do
  vim.api.nvim_set_hl(0, shade[2], { link = shade[3], default = true })
end
vim.api.nvim_set_hl(0, 'CodegenLspCached', { link = 'Visual', default = true })

---@class codegen_lsp.Page
---@field lines string[]
---@field marks { row: integer, from: integer, to: integer, group: string }[]
local Page = {}
Page.__index = Page

--- Appends chunks `{ text, group? }` as one line, or as several if the texts contain line breaks.
---@param ... [string, string?]
function Page:add(...)
  self.lines[#self.lines + 1] = ''
  for _, chunk in ipairs({ ... }) do
    for number, text in ipairs(vim.split(chunk[1], '\n', { plain = true })) do
      if number > 1 then
        self.lines[#self.lines + 1] = ''
      end
      local row = #self.lines
      local from = #self.lines[row]
      self.lines[row] = self.lines[row] .. text
      if chunk[2] then
        table.insert(self.marks, { row = row - 1, from = from, to = from + #text, group = chunk[2] })
      end
    end
  end
end

---@param value any
---@param form string
---@return string
local function number(value, form)
  return type(value) == 'number' and form:format(value) or '–'
end

--- Formats a map as `name 1.25, other 3`.
---@param map any
---@param form string
---@return string
local function pairs_text(map, form)
  local parts = {}
  for name, value in vim.spairs(type(map) == 'table' and map or {}) do
    parts[#parts + 1] = ('%s %s'):format(name:gsub('_ms$', ''):gsub('_', ' '), number(value, form))
  end
  return table.concat(parts, ', ')
end

---@param logprob any
---@return string
local function shade_of(logprob)
  local probability = type(logprob) == 'number' and math.exp(logprob) or 0
  for _, shade in ipairs(shades) do
    if probability < shade[1] then
      return shade[2]
    end
  end
  return shades[#shades][2]
end

---@param page codegen_lsp.Page
---@param candidate table
---@param index integer
local function add_candidate(page, candidate, index)
  local outcome = candidate.shown and 'shown'
    or ('not shown: %s'):format(candidate.reason or 'no reason given')
  page:add(
    { ('%d  '):format(index), 'Title' },
    { outcome, candidate.shown and 'DiagnosticOk' or 'DiagnosticWarn' },
    { (', score %s'):format(number(candidate.score, '%.3f')) },
    { (', mean log-probability %s'):format(number(candidate.meanLogprob, '%.3f')) }
  )
  local parts = pairs_text(candidate.parts, '%.3f')
  if parts ~= '' then
    page:add({ '   sum of ' .. parts, 'Comment' })
  end
  page:add({ candidate.text or '' })
  local tokens = {}
  local logprobs = type(candidate.tokenLogprobs) == 'table' and candidate.tokenLogprobs or {}
  for i, token in ipairs(type(candidate.tokens) == 'table' and candidate.tokens or {}) do
    tokens[i] = { (token:gsub('\n', '⏎\n')), shade_of(logprobs[i]) }
  end
  if #tokens > 0 then
    page:add({ '   as the model wrote it, each token coloured by its probability', 'Comment' })
    page:add(unpack(tokens))
  end
  for _, step in ipairs(type(candidate.trail) == 'table' and candidate.trail or {}) do
    page:add({ '   · ' .. step, 'Comment' })
  end
  page:add({ '' })
end

--- The number of bytes of a prompt that came from the prefix cache.
---@param prompt table
---@return integer bytes
---@return boolean exact false if the number is an estimate
local function cached_bytes(prompt)
  local text = prompt.text or ''
  if type(prompt.cachedCharacters) == 'number' then
    return vim.fn.byteidxcomp(text, math.min(prompt.cachedCharacters, vim.fn.strchars(text))), true
  end
  -- A remote server reports tokens only: estimate in proportion.
  local tokens, cached = prompt.tokens or 0, prompt.cachedTokens or 0
  local split = tokens > 0 and math.floor(#text * math.min(cached / tokens, 1)) or 0
  return split > 0 and split + vim.str_utf_end(text, split) or 0, false
end

---@param page codegen_lsp.Page
---@param prompt table
local function add_prompt(page, prompt)
  local split, exact = cached_bytes(prompt)
  local about = exact and 'shaded' or 'about the shaded part'
  page:add({ 'Prompt', 'Title' }, {
    ('  %d tokens, %d of them (%s) from the prefix cache'):format(
      prompt.tokens or 0,
      prompt.cachedTokens or 0,
      about
    ),
  })
  for _, piece in ipairs(type(prompt.otherFiles) == 'table' and prompt.otherFiles or {}) do
    page:add({
      ('   · %s: %s (%s), %d tokens'):format(
        piece.path or '',
        piece.why or '',
        piece.source or '',
        piece.tokens or 0
      ),
      'Comment',
    })
  end
  local text = prompt.text or ''
  page:add({ text:sub(1, split), 'CodegenLspCached' }, { text:sub(split + 1) })
end

---@param page codegen_lsp.Page
---@param record table
local function add_summary(page, record)
  local position = record.position or {}
  page:add({ 'Last request', 'Title' }, { ('  %s, %s'):format(record.method or '', record.trigger or '') })
  page:add({
    ('%s line %d, column %d'):format(record.uri or '', (position.line or 0) + 1, position.character or 0),
  })
  if type(record.reason) == 'string' then
    page:add({ 'Nothing was shown: ' .. record.reason, 'DiagnosticWarn' })
  end
  if type(record.message) == 'string' and record.message ~= '' then
    page:add({ record.message })
  end
  local source = ({ engine = ', from the engine', memory = ', from the suggestion cache' })[record.source]
    or ''
  page:add({ ('Model %s%s'):format(record.model ~= '' and record.model or '–', source) })
  page:add({ 'Milliseconds: ' .. pairs_text(record.timings, '%.1f') })
  page:add({ 'Tokens: ' .. pairs_text(record.usage, '%d') })
  page:add({ '' })
end

--- Formats a record as lines and highlights.
---@param record table
---@return codegen_lsp.Page
function M.page(record)
  local page = setmetatable({ lines = {}, marks = {} }, Page)
  add_summary(page, record)
  local candidates = type(record.candidates) == 'table' and record.candidates or {}
  page:add({ 'Candidates', 'Title' }, { #candidates == 0 and '  none' or '' })
  for index, candidate in ipairs(candidates) do
    add_candidate(page, candidate, index)
  end
  if type(record.prompt) == 'table' then
    add_prompt(page, record.prompt)
  end
  return page
end

--- The buffer of the page, created if necessary.
---@return integer
local function page_buffer()
  local name = 'codegen-lsp://last'
  local buf = vim.fn.bufnr('^' .. name .. '$')
  if buf == -1 then
    buf = vim.api.nvim_create_buf(false, true)
    vim.api.nvim_buf_set_name(buf, name)
    vim.bo[buf].bufhidden = 'wipe'
    vim.keymap.set('n', 'q', '<Cmd>close<CR>', { buffer = buf, desc = 'Close' })
  end
  return buf
end

---@param buf integer
---@param page codegen_lsp.Page
local function write(buf, page)
  vim.bo[buf].modifiable = true
  vim.api.nvim_buf_set_lines(buf, 0, -1, false, page.lines)
  vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  for _, mark in ipairs(page.marks) do
    vim.api.nvim_buf_set_extmark(buf, namespace, mark.row, mark.from, {
      end_col = mark.to,
      hl_group = mark.group,
    })
  end
  vim.bo[buf].modifiable = false
end

--- Shows a record in a window of its own, or in that of the previous record.
---@param record table
function M.open(record)
  local buf = page_buffer()
  write(buf, M.page(record))
  local window = vim.fn.bufwinid(buf)
  if window == -1 then
    vim.cmd('botright vertical sbuffer ' .. buf)
    vim.wo[0].wrap, vim.wo[0].linebreak, vim.wo[0].number, vim.wo[0].list = true, true, false, false
  else
    vim.api.nvim_set_current_win(window)
  end
end

return M
