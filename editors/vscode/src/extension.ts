/** Creates the parts of the extension when VS Code activates it, and disposes of them at the end. */

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
    // The environment matters only if the server comes from it, or is missing.
    const result = server.found
    if (result?.kind === 'missing' || result?.source === 'environment') restart()
  })
  if (environment !== undefined) context.subscriptions.push(environment)
}

export async function deactivate(): Promise<void> {
  await running?.stop()
}
