// Checks Lua files with StyLua's WebAssembly build: `node nvim_stylua.mjs FOLDER [--fix]`. Lists the files that are
// not formatted and exits with 1. NVIM_STYLUA is the folder of the npm package.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, fix] = process.argv.slice(2);
const stylua = createRequire(import.meta.url)(join(process.env.NVIM_STYLUA, "stylua_lib_node.cjs"));

// The npm package can't read `.stylua.toml`, which has four lines of this form.
const settings = Object.fromEntries(
  readFileSync(join(folder, ".stylua.toml"), "utf8")
    .split("\n")
    .filter((line) => line.includes("="))
    .map((line) => line.split("=").map((part) => part.trim().replaceAll('"', ""))),
);

// Formatting consumes the configuration, so each file needs a new one.
function configuration() {
  const config = stylua.Config.new();
  config.column_width = Number(settings.column_width);
  config.indent_type = stylua.IndentType[settings.indent_type];
  config.indent_width = Number(settings.indent_width);
  config.quote_style = stylua.QuoteStyle[settings.quote_style];
  config.syntax = stylua.LuaVersion.LuaJIT;
  return config;
}

let wrong = 0;
for (const name of readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".lua"))) {
  const path = join(folder, name);
  const text = readFileSync(path, "utf8");
  const formatted = stylua.formatCode(text, configuration(), undefined, stylua.OutputVerification.None);
  if (formatted === text) continue;
  if (fix) writeFileSync(path, formatted);
  else wrong++, console.error(`${path} is not formatted`);
}
process.exit(wrong ? 1 : 0);
