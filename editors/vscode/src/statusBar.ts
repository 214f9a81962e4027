/** The status bar item, which follows the server and the active document. */

import { type Disposable, StatusBarAlignment, ThemeColor, window } from 'vscode'

import type { Server } from './server'
import { present } from './status'

/** Each keystroke makes the engine busy for a moment; showing that would make the icon flicker. */
const BUSY_AFTER_MS = 300

export class StatusBar implements Disposable {
  readonly #server: Server
  readonly #item = window.createStatusBarItem('codegen-lsp.status', StatusBarAlignment.Right, 100)
  readonly #subscriptions: Disposable[]
  #busyTimer: NodeJS.Timeout | undefined

  constructor(server: Server, command: string) {
    this.#server = server
    this.#item.name = 'CodeGen'
    this.#item.command = command
    this.#subscriptions = [
      server.onDidChange(() => {
        this.#changed()
      }),
      window.onDidChangeActiveTextEditor(() => {
        this.#render()
      }),
    ]
    this.#render()
    this.#item.show()
  }

  dispose(): void {
    clearTimeout(this.#busyTimer)
    for (const subscription of this.#subscriptions) subscription.dispose()
    this.#item.dispose()
  }

  #changed(): void {
    if (this.#server.status.state !== 'busy') {
      clearTimeout(this.#busyTimer)
      this.#busyTimer = undefined
      this.#render()
    } else {
      this.#busyTimer ??= setTimeout(() => {
        this.#render()
      }, BUSY_AFTER_MS)
    }
  }

  #render(): void {
    const uri = window.activeTextEditor?.document.uri.toString()
    const { text, tooltip, label, severity } = present(
      this.#server.status,
      uri !== undefined && this.#server.isPaused(uri),
    )
    this.#item.text = text
    this.#item.tooltip = `${tooltip}\nClick for the menu.`
    this.#item.accessibilityInformation = { label, role: 'button' }
    this.#item.backgroundColor =
      severity === null ? undefined : new ThemeColor(`statusBarItem.${severity}Background`)
  }
}
