--- Suggestions from a CodeGen model on your own machine: what a configuration calls.
---
--- Everything is loaded when it is first needed.
local M = {}

--- Sets the options (|codegen-lsp-options|) and starts the server for their file types.
---@param options? table
function M.setup(options)
  require('codegen_lsp.config').set(options)
  require('codegen_lsp.attach').start()
end

local ghost = {
  accept = 'Inserts the suggestion.',
  accept_word = 'Inserts the next word of the suggestion.',
  accept_line = 'Inserts the suggestion up to the end of its line.',
  next = 'Shows the next suggestion.',
  previous = 'Shows the suggestion before.',
  dismiss = 'Hides the suggestion until something is typed.',
  trigger = 'Asks for a suggestion now, also for one the server is not sure of.',
}

--- What the functions and keys do, by name.
M.actions = ghost

for name in pairs(ghost) do
  --- Each returns whether there was something to do it to.
  M[name] = function()
    return require('codegen_lsp.ghost')[name]()
  end
end

--- Whether ghost text is on the screen in the current buffer.
---@return boolean
function M.visible()
  return require('codegen_lsp.ghost').visible()
end

--- A word or two for the statusline, such as `nano` or `loading 40/100`; empty where no server is attached.
---@param buf? integer
---@return string
function M.status(buf)
  return require('codegen_lsp.status').text(buf)
end

return M
