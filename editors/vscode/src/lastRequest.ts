/** The tab with the page about the last request; a window has one, which is updated each time it is shown. */

import { type Disposable, type WebviewPanel, Uri, ViewColumn, window } from 'vscode'

import { renderPage } from './lastRequestPage'
import { Command } from './menu'
import { type Counters, type LastRequest, ServerCommand } from './protocol'
import type { Server } from './server'

export class LastRequestPanel implements Disposable {
  readonly #server: Server
  readonly #media: Uri
  #panel: WebviewPanel | undefined

  constructor(server: Server, extensionUri: Uri) {
    this.#server = server
    this.#media = Uri.joinPath(extensionUri, 'media')
  }

  /** Shows the server's last request, of any document, beside the editor. */
  async show(): Promise<void> {
    const request = await this.#server.execute<LastRequest | null>(ServerCommand.showLastRequest)
    const counters = await this.#server.execute<Counters | null>(ServerCommand.status)
    const panel = (this.#panel ??= this.#create())
    panel.webview.html = renderPage(request, counters, {
      cspSource: panel.webview.cspSource,
      styleUri: panel.webview.asWebviewUri(Uri.joinPath(this.#media, 'lastRequest.css')).toString(),
      refreshUri: `command:${Command.showLastRequest}`,
    })
    panel.reveal(undefined, true)
  }

  dispose(): void {
    this.#panel?.dispose()
  }

  #create(): WebviewPanel {
    const panel = window.createWebviewPanel(
      'codegen-lsp.lastRequest',
      'Last request',
      { viewColumn: ViewColumn.Beside, preserveFocus: true },
      {
        enableScripts: false,
        enableCommandUris: [Command.showLastRequest],
        enableFindWidget: true,
        localResourceRoots: [this.#media],
      },
    )
    panel.onDidDispose(() => {
      this.#panel = undefined
    })
    return panel
  }
}
