/** The machine that the extension host runs on. */

import { execFile } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'

import type { Machine } from './discovery'

const IMPORT_TIMEOUT_MS = 20_000

export const machine: Machine = {
  platform: process.platform,
  env: process.env,
  home: homedir(),

  isFile(file) {
    return statSync(file, { throwIfNoEntry: false })?.isFile() === true
  },

  isExecutable(file) {
    try {
      accessSync(file, constants.X_OK)
      return statSync(file).isFile()
    } catch {
      return false
    }
  },

  hasServer(python) {
    // -P and another folder: Python must not import from the workspace.
    const find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('codegen_lsp') is None)"
    return new Promise((resolve) => {
      execFile(python, ['-P', '-c', find], { cwd: tmpdir(), timeout: IMPORT_TIMEOUT_MS }, (error) => {
        resolve(error === null)
      })
    })
  },
}
