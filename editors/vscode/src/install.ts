/** Says that the server was not found, and offers the ways out. */

import {
  type Task as VTask,
  type TaskProcessEndEvent,
  ProcessExecution,
  Task,
  TaskScope,
  commands,
  env,
  tasks,
  window,
  workspace,
} from 'vscode'

import { hasPythonExtension } from './python'
import { EDITOR_SECTION, type Server } from './server'

const PACKAGE = 'codegen-lsp'

/** Shows what is missing, with buttons: install, select an interpreter, open the settings, look again. */
export async function offerInstall(server: Server): Promise<void> {
  const found = server.found
  if (found?.kind !== 'missing') {
    void window.showInformationMessage('The server is installed already.')
    return
  }
  const { python } = found
  const actions = new Map<string, () => Thenable<unknown>>()
  // An untrusted workspace may run no task, and should not choose what is installed where.
  if (python !== undefined && workspace.isTrusted) {
    actions.set('Install into Environment', () => install(python, server))
  }
  if (hasPythonExtension()) {
    actions.set('Select Interpreter', () => commands.executeCommand('python.setInterpreter'))
  }
  actions.set('Open Settings', openPathSetting)
  actions.set('Look Again', () => lookAgain(server))
  const hint = python === undefined ? ` Install it with: pip install ${PACKAGE}` : ''
  const answer = await window.showWarningMessage(`${found.message}${hint}`, ...actions.keys())
  if (answer !== undefined) await actions.get(answer)?.()
}

/** Settings of a machine are read from that machine: in a remote window, from the remote one's. */
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

/** Runs pip in a terminal that the user sees, then starts what it installed. */
async function install(python: string, server: Server): Promise<void> {
  const execution = new ProcessExecution(python, ['-m', 'pip', 'install', '--upgrade', PACKAGE])
  const task = new Task({ type: 'process' }, TaskScope.Workspace, `Install ${PACKAGE}`, 'CodeGen', execution)
  const code = await finished(task)
  if (code === 0) {
    await server.restart()
    if (server.found?.kind !== 'missing') return
  }
  void window.showErrorMessage(`pip did not install ${PACKAGE} into ${python}; the terminal says why.`)
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
