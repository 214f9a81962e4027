-- https://luacheck.readthedocs.io: Neovim runs LuaJIT and adds one global.
std = 'luajit'
read_globals = { 'vim' }
globals = { 'vim.b', 'vim.bo', 'vim.g', 'vim.wo' }
max_line_length = 120
