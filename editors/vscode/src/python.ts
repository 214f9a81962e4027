/** The active Python environment, as the Python extension (ms-python.python) knows it. */

import { PVSC_EXTENSION_ID, PythonExtension } from '@vscode/python-extension'
import { type Disposable, extensions, workspace } from 'vscode'

/** The interpreter's path, or undefined where there is no Python extension or it knows none. */
export async function activePython(): Promise<string | undefined> {
  const api = await pythonApi()
  if (api === undefined) return undefined
  const folder = workspace.workspaceFolders?.[0]?.uri
  const active = api.environments.getActiveEnvironmentPath(folder)
  const environment = await api.environments.resolveEnvironment(active)
  return environment?.executable.uri?.fsPath
}

/** Calls back whenever the user selects another environment. */
export async function onDidChangePython(changed: () => void): Promise<Disposable | undefined> {
  return (await pythonApi())?.environments.onDidChangeActiveEnvironmentPath(changed)
}

/** Whether the Python extension is here to select an interpreter with. */
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
    return undefined // it is there but failed to start: the other places remain
  }
}
