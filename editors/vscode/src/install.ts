/** Shows that the server was not found, and offers to install it. */

import {
  type Task as VTask,
  type TaskProcessEndEvent,
  ProcessExecution,
  Task,
  TaskScope,
  Uri,
  commands,
  env,
  tasks,
  window,
  workspace,
} from 'vscode'

import { CLONE_HINT, isClone, pipArguments } from './clone'
import { machine } from './machine'
import { hasPythonExtension } from './python'
import { EDITOR_SECTION, type Server } from './server'

/** Shows what is missing, with buttons: install, select an interpreter, open the settings, look again. */
export async function offerInstall(server: Server): Promise<void> {
  const result = server.found
  if (result?.kind !== 'missing') {
    void window.showInformationMessage('The server is already installed.')
    return
  }
  const { python } = result
  const actions = new Map<string, () => Thenable<unknown>>()
  // An untrusted workspace can't run tasks, and must not choose what is installed.
  if (python !== undefined && workspace.isTrusted) {
    actions.set('Install into Environment', () => install(python, server))
  }
  if (hasPythonExtension()) {
    actions.set('Select Interpreter', () => commands.executeCommand('python.setInterpreter'))
  }
  actions.set('Open Settings', openPathSetting)
  actions.set('Look Again', () => lookAgain(server))
  const hint = python === undefined ? ` ${CLONE_HINT}` : ''
  const answer = await window.showWarningMessage(`${result.message}${hint}`, ...actions.keys())
  if (answer !== undefined) await actions.get(answer)?.()
}

/** Opens the setting where it applies: in a remote window, among the settings of the remote machine. */
function openPathSetting(): Thenable<unknown> {
  const query = `${EDITOR_SECTION}.serverPath`
  return env.remoteName === undefined
    ? commands.executeCommand('workbench.action.openSettings', query)
    : commands.executeCommand('workbench.action.openRemoteSettings', { query })
}

async function lookAgain(server: Server): Promise<void> {
  await server.restart()
  if (server.found?.kind === 'missing') await offerInstall(server)
}

/** Runs pip in a terminal on a clone that the user selects, then starts the server. */
async function install(python: string, server: Server): Promise<void> {
  const clone = await selectClone()
  if (clone === undefined) return
  const execution = new ProcessExecution(python, pipArguments(clone, machine), { cwd: clone })
  const task = new Task({ type: 'process' }, TaskScope.Workspace, 'Install codegen-lsp', 'CodeGen', execution)
  const code = await finished(task)
  if (code === 0) {
    await server.restart()
    if (server.found?.kind !== 'missing') return
  }
  void window.showErrorMessage(`pip could not install codegen-lsp into ${python}; see the terminal.`)
}

/** The folder of a clone of the repository: an open workspace folder, or one that the user picks. */
async function selectClone(): Promise<string | undefined> {
  const folders = workspace.workspaceFolders ?? []
  const open = folders.find(({ uri }) => uri.scheme === 'file' && isClone(uri.fsPath, machine))
  if (open !== undefined) return open.uri.fsPath
  const picked = await window.showOpenDialog({
    canSelectFiles: false,
    canSelectFolders: true,
    defaultUri: Uri.file(machine.home),
    openLabel: 'Install from this clone',
    title: 'Folder of your clone of the codegen-lsp repository',
  })
  const folder = picked?.[0]?.fsPath
  if (folder === undefined || isClone(folder, machine)) return folder
  void window.showErrorMessage(`${folder} is not a clone of codegen-lsp: it has no codegen_lsp package.`)
  return undefined
}

async function finished(task: VTask): Promise<number | undefined> {
  const ended = new Promise<TaskProcessEndEvent>((resolve) => {
    const subscription = tasks.onDidEndTaskProcess((event) => {
      if (event.execution.task.name !== task.name) return
      subscription.dispose()
      resolve(event)
    })
  })
  await tasks.executeTask(task)
  return (await ended).exitCode
}
