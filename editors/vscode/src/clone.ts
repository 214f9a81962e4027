/** A clone of the repository, from which the server is installed. Pure: the machine is a parameter. */

import * as path from 'node:path'

import type { Machine } from './discovery'

type Files = Pick<Machine, 'platform' | 'isFile'>

/** What to do without an environment to install into. */
export const CLONE_HINT =
  "Install it in a clone of codegen-lsp with: pip install -c .ci/constraints.txt '.[engine]' and set codegen-lsp.serverPath."

const CONSTRAINTS = ['.ci', 'constraints.txt']

/** Whether a folder contains the Python package and can be installed. */
export function isClone(folder: string, machine: Files): boolean {
  const p = pathOf(machine)
  return (
    machine.isFile(p.join(folder, 'pyproject.toml')) && machine.isFile(p.join(folder, 'codegen_lsp', '__main__.py'))
  )
}

/** Arguments for Python that install the clone with its engine, in the tested versions if it pins them. */
export function pipArguments(folder: string, machine: Files): string[] {
  const constraints = pathOf(machine).join(folder, ...CONSTRAINTS)
  const pins = machine.isFile(constraints) ? ['-c', constraints] : []
  return ['-m', 'pip', 'install', '--upgrade', ...pins, `${folder}[engine]`]
}

function pathOf(machine: Files): path.PlatformPath {
  return machine.platform === 'win32' ? path.win32 : path.posix
}
