/** Wires the parts together when VS Code activates the extension, and takes them down with it. */

import { type ExtensionContext, window, workspace } from 'vscode'

import { registerCommands, restartServer } from './commands'
import { LastRequestPanel } from './lastRequest'
import { Command } from './menu'
import { onDidChangePython } from './python'
import { EDITOR_SECTION, Server } from './server'
import { StatusBar } from './statusBar'
import { SurpriseView } from './surprise'

let running: Server | undefined

export async function activate(context: ExtensionContext): Promise<void> {
  const log = window.createOutputChannel('CodeGen', { log: true })
  const server = new Server(log)
  const lastRequest = new LastRequestPanel(server, context.extensionUri)
  const surprise = new SurpriseView(server)
  running = server
  const report = (error: unknown): void => {
    log.error(String(error))
  }
  const restart = (): void => {
    restartServer(server).catch(report)
  }
  context.subscriptions.push(
    log,
    server,
    lastRequest,
    surprise,
    new StatusBar(server, Command.menu),
    ...registerCommands({ server, log, lastRequest, surprise }),
    workspace.onDidGrantWorkspaceTrust(restart),
    workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration(EDITOR_SECTION)) restart()
    }),
  )
  restart()
  const environment = await onDidChangePython(() => {
    // Another environment matters only where the server is taken from it, or from nowhere.
    const found = server.found
    if (found?.kind === 'missing' || found?.source === 'environment') restart()
  })
  if (environment !== undefined) context.subscriptions.push(environment)
}

export async function deactivate(): Promise<void> {
  await running?.stop()
}
