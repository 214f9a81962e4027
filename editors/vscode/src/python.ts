/** The active Python environment of the Python extension (ms-python.python). */

import { PVSC_EXTENSION_ID, PythonExtension } from '@vscode/python-extension'
import { type Disposable, extensions, workspace } from 'vscode'

/** The path of the interpreter; undefined without the Python extension or an active environment. */
export async function activePython(): Promise<string | undefined> {
  const api = await pythonApi()
  if (api === undefined) return undefined
  const folder = workspace.workspaceFolders?.[0]?.uri
  const active = api.environments.getActiveEnvironmentPath(folder)
  const environment = await api.environments.resolveEnvironment(active)
  return environment?.executable.uri?.fsPath
}

/** Calls `changed` when the user selects another environment. */
export async function onDidChangePython(changed: () => void): Promise<Disposable | undefined> {
  return (await pythonApi())?.environments.onDidChangeActiveEnvironmentPath(changed)
}

/** Whether the Python extension is installed. */
export function hasPythonExtension(): boolean {
  return extensions.getExtension(PVSC_EXTENSION_ID) !== undefined
}

async function pythonApi(): Promise<PythonExtension | undefined> {
  if (!hasPythonExtension()) return undefined
  try {
    const api = await PythonExtension.api()
    await api.ready
    return api
  } catch {
    return undefined // the extension failed to start
  }
}
