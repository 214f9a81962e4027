/**
 * Finds the language server: in the setting, in the active Python environment, or on `PATH`.
 *
 * Pure: it accesses the machine through `Machine` only, so that tests need neither VS Code nor files. It never
 * uses a program inside an untrusted workspace.
 */

import * as path from 'node:path'

export interface Machine {
  readonly platform: NodeJS.Platform
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
  /** Whether this absolute path is a file. */
  isFile(file: string): boolean
  /** Whether this absolute path is an executable file. */
  isExecutable(file: string): boolean
  /** Whether this Python can import the package `codegen_lsp`. */
  hasServer(python: string): Promise<boolean>
}

/** What the user configured. */
export interface Preferences {
  /** The setting `codegen-lsp.serverPath`; empty if unset. */
  readonly setting: string
  /** The interpreter of the active Python environment; undefined if unknown. */
  readonly python: string | undefined
  /** Workspace folders as paths on this machine, in their order. */
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
  /** A sentence that says where the server was looked for. */
  readonly message: string
  /** The interpreter of the environment that the server can be installed into. */
  readonly python: string | undefined
}

/** Finds the server, or says where it was looked for. A wrong setting is reported instead of ignored. */
export async function discover(preferences: Preferences, machine: Machine): Promise<Found | Missing> {
  const p = machine.platform === 'win32' ? path.win32 : path.posix
  const python = usablePython(preferences, p)
  if (preferences.setting.trim() !== '') return fromSetting(preferences, machine, p, python)
  if (python !== undefined) {
    const script = p.join(p.dirname(python), executableName('codegen-lsp', machine))
    if (machine.isExecutable(script)) return found('environment', script)
    if (await machine.hasServer(python)) return found('environment', python, asModule())
  }
  const onPath = searchPath(preferences, machine, p)
  if (onPath !== undefined) return found('path', onPath)
  const environment = python === undefined ? '' : `in the Python environment of ${python}, `
  return { kind: 'missing', message: `codegen-lsp was not found ${environment}on PATH or in the settings.`, python }
}

/** Arguments that run the package by its name; `-P` keeps the working directory out of `sys.path`. */
function asModule(): readonly string[] {
  return ['-P', '-m', 'codegen_lsp']
}

function fromSetting(
  preferences: Preferences,
  machine: Machine,
  p: path.PlatformPath,
  python: string | undefined,
): Found | Missing {
  const file = p.normalize(expand(preferences.setting.trim(), preferences, machine))
  const missing = (reason: string): Missing => ({
    kind: 'missing',
    message: `The setting codegen-lsp.serverPath is ${file}, ${reason}`,
    python,
  })
  if (!p.isAbsolute(file)) return missing('which is not an absolute path.')
  if (!machine.isExecutable(file)) return missing('which is not a program on this machine.')
  return isPython(file, p) ? found('setting', file, asModule()) : found('setting', file)
}

/** Replaces `~`, `${userHome}`, `${workspaceFolder}` and `${env:NAME}`, like VS Code in its own path settings. */
export function expand(
  text: string,
  preferences: Pick<Preferences, 'folders'>,
  machine: Pick<Machine, 'home' | 'env'>,
): string {
  const folder = preferences.folders[0] ?? ''
  return text
    .replace(/^~(?=$|[\\/])/, () => machine.home)
    .replaceAll('${userHome}', () => machine.home)
    .replaceAll('${workspaceFolder}', () => folder)
    .replace(/\$\{env:([^}]*)\}/g, (_, name: string) => machine.env[name] ?? '')
}

/** The interpreter, unless it is inside an untrusted workspace. */
function usablePython(preferences: Preferences, p: path.PlatformPath): string | undefined {
  const { python, trusted, folders } = preferences
  if (python === undefined || !p.isAbsolute(python)) return undefined
  return trusted || !folders.some((folder) => isInside(python, folder, p)) ? python : undefined
}

function searchPath(preferences: Preferences, machine: Machine, p: path.PlatformPath): string | undefined {
  const { trusted, folders } = preferences
  const entries = (machine.env.PATH ?? machine.env.Path ?? '').split(p.delimiter)
  // pipx and uv install programs here, which is often missing in the PATH of a desktop.
  return [...entries, p.join(machine.home, '.local', 'bin')]
    .filter((entry) => p.isAbsolute(entry)) // a relative entry would be inside the workspace
    .filter((entry) => trusted || !folders.some((folder) => isInside(entry, folder, p)))
    .map((entry) => p.join(entry, executableName('codegen-lsp', machine)))
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
