/** The commands of the palette, the menu and the keys. The error of a command is shown. */

import {
  type Disposable,
  type LogOutputChannel,
  type QuickPickItem,
  ConfigurationTarget,
  QuickPickItemKind,
  commands,
  window,
  workspace,
} from 'vscode'

import { offerInstall } from './install'
import type { LastRequestPanel } from './lastRequest'
import { Command, type Entry, entries } from './menu'
import { MODELS, sameModel } from './models'
import { ServerCommand, type Unloaded } from './protocol'
import { EXTENSION_ID, SERVER_SECTION, type Server } from './server'
import type { SurpriseView } from './surprise'

export interface Services {
  readonly server: Server
  readonly log: LogOutputChannel
  readonly lastRequest: LastRequestPanel
  readonly surprise: SurpriseView
}

/** Registers every command of `Command`. */
export function registerCommands(services: Services): Disposable[] {
  const { server, log, lastRequest, surprise } = services
  const run: Record<(typeof Command)[keyof typeof Command], () => unknown> = {
    [Command.menu]: () => showMenu(server),
    [Command.chooseModel]: () => chooseModel(),
    [Command.togglePauseHere]: () => togglePauseHere(server),
    [Command.togglePause]: () => pause(server, !server.isPaused()),
    [Command.writeBody]: () => writeBody(server),
    [Command.restartEngine]: () => server.execute(ServerCommand.restartEngine),
    [Command.restartServer]: () => restartServer(server),
    [Command.unloadModel]: () => unloadModel(server),
    [Command.showLastRequest]: () => lastRequest.show(),
    [Command.surprise]: () => surprise.toggle(),
    [Command.showLog]: () => {
      log.show()
    },
    [Command.openSettings]: () => commands.executeCommand('workbench.action.openSettings', `@ext:${EXTENSION_ID}`),
    [Command.install]: () => offerInstall(server),
  }
  return Object.entries(run).map(([name, work]) => commands.registerCommand(name, () => guarded(work, log)))
}

async function guarded(work: () => unknown, log: LogOutputChannel): Promise<void> {
  try {
    await work()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    log.error(message)
    const answer = await window.showErrorMessage(message, 'Show Log', 'Restart Server')
    if (answer === 'Show Log') log.show()
    if (answer === 'Restart Server') await commands.executeCommand(Command.restartServer)
  }
}

/** Restarts the server, and offers to install it if it isn't found. */
export async function restartServer(server: Server): Promise<void> {
  await server.restart()
  if (server.found?.kind === 'missing') await offerInstall(server)
}

async function showMenu(server: Server): Promise<void> {
  const document = window.activeTextEditor?.document
  const items = entries({
    status: server.status,
    document: document === undefined ? undefined : workspace.asRelativePath(document.uri),
    pausedHere: document !== undefined && server.isPaused(document.uri.toString()),
    pausedEverywhere: server.isPaused(),
    missing: server.found?.kind === 'missing',
    ghostText: workspace.getConfiguration('editor', document).get('inlineSuggest.enabled', true),
  })
  const placeHolder = server.status.message === '' ? 'CodeGen' : server.status.message
  const picked = await window.showQuickPick<Entry & QuickPickItem>([...items], { title: 'CodeGen', placeHolder })
  if (picked !== undefined) await commands.executeCommand(picked.command, ...(picked.args ?? []))
}

async function chooseModel(): Promise<void> {
  const settings = workspace.getConfiguration(SERVER_SECTION)
  const current = settings.get('model', 'nano')
  const picked = await window.showQuickPick(modelItems(current), {
    title: 'CodeGen: choose the model',
    placeHolder: `Currently ${current}. A model is downloaded when it is first used.`,
    matchOnDescription: true,
  })
  const model = await picked?.choose()
  if (model === undefined || model === current) return
  await settings.update('model', model, ConfigurationTarget.Global) // a workspace can't choose it
}

interface ModelItem extends QuickPickItem {
  choose(): Promise<string | undefined> | string | undefined
}

function modelItems(current: string): ModelItem[] {
  const none = (): undefined => undefined
  return [
    ...MODELS.map(({ name, description }) => ({
      label: sameModel(current, name) ? `$(check) ${name}` : name,
      description,
      choose: () => name,
    })),
    { label: 'Other', kind: QuickPickItemKind.Separator, choose: none },
    { label: '$(folder) A folder…', description: 'a checkpoint on this machine', choose: askFolder },
    { label: '$(globe) A name on the Hugging Face hub…', description: 'owner/name', choose: askName },
  ]
}

async function askFolder(): Promise<string | undefined> {
  const picked = await window.showOpenDialog({
    canSelectFiles: false,
    canSelectFolders: true,
    openLabel: 'Use as model',
    title: 'Folder of a checkpoint (config.json and safetensors files)',
  })
  return picked?.[0]?.fsPath
}

function askName(): Promise<string | undefined> {
  return Promise.resolve(
    window.showInputBox({
      prompt: 'A causal language model on the Hugging Face hub',
      placeHolder: 'owner/name',
      validateInput: (text) => (/^[\w.-]+\/[\w.-]+$/.test(text.trim()) ? undefined : 'Expected owner/name.'),
    }),
  ).then((name) => name?.trim())
}

async function pause(server: Server, paused: boolean, uri?: string): Promise<void> {
  if (paused) await commands.executeCommand('editor.action.inlineSuggest.hide')
  await server.pause(paused, uri)
}

async function togglePauseHere(server: Server): Promise<void> {
  const uri = window.activeTextEditor?.document.uri.toString()
  if (uri === undefined) {
    void window.showInformationMessage('Open a file to pause suggestions in it.')
    return
  }
  await pause(server, !server.isPaused(uri), uri)
}

async function unloadModel(server: Server): Promise<void> {
  const { unloaded, message } = await server.execute<Unloaded>(ServerCommand.unloadModel)
  if (!unloaded) void window.showWarningMessage(`The model was not unloaded. ${message}`)
}

async function writeBody(server: Server): Promise<void> {
  const editor = window.activeTextEditor
  if (editor === undefined) {
    void window.showInformationMessage('Put the cursor on a function with a docstring, or on a comment.')
    return
  }
  const { line, character } = editor.selection.active
  await server.execute(ServerCommand.writeBody, editor.document.uri.toString(), { line, character })
}
