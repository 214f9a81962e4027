--- Suggestions from a CodeGen model on your own machine: the functions for a user's configuration.
---
--- Each function loads its module when it is first called.
local M = {}

--- Sets the options (|codegen-lsp-options|) and starts the server for their file types.
---@param options? table
function M.setup(options)
  require('codegen_lsp.config').set(options)
  require('codegen_lsp.attach').start()
end

--- What each key does, by name.
M.actions = {
  accept = 'Inserts the suggestion.',
  accept_word = 'Inserts the next word of the suggestion.',
  accept_line = 'Inserts the suggestion up to the end of its line.',
  next = 'Shows the next suggestion.',
  previous = 'Shows the previous suggestion.',
  dismiss = 'Hides the suggestion until something is typed.',
  trigger = 'Requests a suggestion now, even if the model is not confident.',
}

for name in pairs(M.actions) do
  --- Returns whether there was a suggestion, so that a mapping can do something else otherwise.
  M[name] = function()
    return require('codegen_lsp.actions')[name]()
  end
end

--- Whether ghost text is on the screen in the current buffer.
---@return boolean
function M.visible()
  return require('codegen_lsp.actions').visible()
end

--- A short status for the statusline, such as `nano` or `loading 40/100`; empty if no server is attached.
---@param buf? integer
---@return string
function M.status(buf)
  return require('codegen_lsp.status').text(buf)
end

return M
