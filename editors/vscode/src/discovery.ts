/**
 * Where the language server is: the setting, the active Python environment, `PATH`.
 *
 * Pure: everything it asks of the machine goes through `Machine`, so that tests need neither VS Code nor files.
 * It never looks for a program inside the workspace of an untrusted window.
 */

import * as path from 'node:path'

export interface Machine {
  readonly platform: NodeJS.Platform
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
  /** Whether this absolute path is a file that may be executed. */
  isExecutable(file: string): boolean
  /** Whether this Python can import the package `codegen_lsp`. */
  hasServer(python: string): Promise<boolean>
}

export interface Wishes {
  /** The setting `codegen-lsp.serverPath`; empty where unset. */
  readonly setting: string
  /** The interpreter of the active Python environment, where one is known. */
  readonly python: string | undefined
  /** Workspace folders as paths of this machine, the first one first. */
  readonly folders: readonly string[]
  /** Whether the user trusts the workspace. */
  readonly trusted: boolean
}

export type Source = 'setting' | 'environment' | 'path'

export interface Found {
  readonly kind: 'found'
  readonly source: Source
  readonly command: string
  readonly args: readonly string[]
}

export interface Missing {
  readonly kind: 'missing'
  /** A sentence that says what was looked at. */
  readonly message: string
  /** The interpreter that the server could be installed into. */
  readonly python: string | undefined
}

/** Finds the server, or says where it was looked for. A setting that is wrong is never passed over in silence. */
export async function discover(wishes: Wishes, machine: Machine): Promise<Found | Missing> {
  const p = machine.platform === 'win32' ? path.win32 : path.posix
  const python = usablePython(wishes, p)
  if (wishes.setting.trim() !== '') return fromSetting(wishes, machine, p, python)
  if (python !== undefined) {
    const script = p.join(p.dirname(python), executableName('codegen-lsp', machine))
    if (machine.isExecutable(script)) return found('environment', script)
    if (await machine.hasServer(python)) return found('environment', python, asModule())
  }
  const onPath = searchPath(wishes, machine, p)
  if (onPath !== undefined) return found('path', onPath)
  const environment = python === undefined ? '' : `in the Python environment of ${python}, `
  return { kind: 'missing', message: `codegen-lsp was not found ${environment}on PATH or in the settings.`, python }
}

/** Arguments that run the package by name, without the working directory among the places to import from. */
function asModule(): readonly string[] {
  return ['-P', '-m', 'codegen_lsp']
}

function fromSetting(
  wishes: Wishes,
  machine: Machine,
  p: path.PlatformPath,
  python: string | undefined,
): Found | Missing {
  const file = p.normalize(expand(wishes.setting.trim(), wishes, machine))
  const missing = (what: string): Missing => ({
    kind: 'missing',
    message: `The setting codegen-lsp.serverPath names ${file}, ${what}`,
    python,
  })
  if (!p.isAbsolute(file)) return missing('which is not an absolute path.')
  if (!machine.isExecutable(file)) return missing('which is not a program on this machine.')
  return isPython(file, p) ? found('setting', file, asModule()) : found('setting', file)
}

/** Replaces `~`, `${userHome}`, `${workspaceFolder}` and `${env:NAME}`, as VS Code's own path settings do. */
export function expand(
  text: string,
  wishes: Pick<Wishes, 'folders'>,
  machine: Pick<Machine, 'home' | 'env'>,
): string {
  const folder = wishes.folders[0] ?? ''
  return text
    .replace(/^~(?=$|[\\/])/, () => machine.home)
    .replaceAll('${userHome}', () => machine.home)
    .replaceAll('${workspaceFolder}', () => folder)
    .replace(/\$\{env:([^}]*)\}/g, (_, name: string) => machine.env[name] ?? '')
}

/** In an untrusted workspace an interpreter that lies inside of it counts as none: it came with the workspace. */
function usablePython(wishes: Wishes, p: path.PlatformPath): string | undefined {
  const { python, trusted, folders } = wishes
  if (python === undefined || !p.isAbsolute(python)) return undefined
  return trusted || !folders.some((folder) => isInside(python, folder, p)) ? python : undefined
}

function searchPath(wishes: Wishes, machine: Machine, p: path.PlatformPath): string | undefined {
  const listed = (machine.env.PATH ?? machine.env.Path ?? '').split(p.delimiter)
  // pipx and uv put programs here, and a desktop's PATH often leaves it out.
  const places = [...listed, p.join(machine.home, '.local', 'bin')]
  return places
    .filter((place) => p.isAbsolute(place)) // a relative entry would look into the workspace
    .filter((place) => wishes.trusted || !wishes.folders.some((folder) => isInside(place, folder, p)))
    .map((place) => p.join(place, executableName('codegen-lsp', machine)))
    .find((file) => machine.isExecutable(file))
}

function isInside(file: string, folder: string, p: path.PlatformPath): boolean {
  const relative = p.relative(folder, file)
  return relative === '' || (!relative.startsWith('..') && !p.isAbsolute(relative))
}

function isPython(file: string, p: path.PlatformPath): boolean {
  return /^(python|pypy)[\d.]*(\.exe)?$/i.test(p.basename(file))
}

function executableName(name: string, machine: Machine): string {
  return machine.platform === 'win32' ? `${name}.exe` : name
}

function found(source: Source, command: string, args: readonly string[] = []): Found {
  return { kind: 'found', source, command, args }
}
