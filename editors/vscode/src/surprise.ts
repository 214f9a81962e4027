/**
 * Colours each token of a document by its surprise and lists the most surprising lines, until the text changes.
 *
 * Owns the decorations, and knows which documents have them.
 */

import {
  type Disposable,
  type TextDocument,
  type TextEditor,
  type TextEditorDecorationType,
  CancellationTokenSource,
  OverviewRulerLane,
  Range,
  Selection,
  TextEditorRevealType,
  window,
  workspace,
} from 'vscode'

import { ServerCommand, type Surprise, type TokenSurprise } from './protocol'
import type { Server } from './server'
import { type LineEntry, RULER_FROM, SHADES, byShade, lineEntries, summary } from './surpriseReport'

export class SurpriseView implements Disposable {
  readonly #server: Server
  readonly #types: readonly TextEditorDecorationType[] = SHADES.map(({ bits, strength }) => decoration(bits, strength))
  readonly #shown = new Map<TextDocument, Surprise>()
  readonly #measured = new Map<TextDocument, CancellationTokenSource>()
  readonly #subscriptions: readonly Disposable[]

  constructor(server: Server) {
    this.#server = server
    this.#subscriptions = [
      workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length > 0) this.#hide(document)
      }),
      workspace.onDidCloseTextDocument((document) => {
        this.#measured.get(document)?.cancel()
        this.#shown.delete(document)
      }),
      // An editor that is shown again, or a second one, has no decorations yet.
      window.onDidChangeVisibleTextEditors((editors) => {
        for (const editor of editors) this.#decorate(editor)
      }),
    ]
  }

  /** Shows the surprise of the active document; hides it if it is shown, and cancels a running measurement. */
  async toggle(): Promise<void> {
    const editor = window.activeTextEditor
    if (editor === undefined) {
      void window.showInformationMessage('Open a file to measure its surprise.')
      return
    }
    const { document } = editor
    const running = this.#measured.get(document)
    if (running !== undefined) running.cancel()
    else if (this.#shown.has(document)) this.#hide(document)
    else await this.#show(document)
  }

  dispose(): void {
    for (const source of this.#measured.values()) source.cancel()
    for (const subscription of this.#subscriptions) subscription.dispose()
    for (const type of this.#types) type.dispose()
  }

  async #show(document: TextDocument): Promise<void> {
    const surprise = await this.#measure(document)
    if (surprise === undefined) return
    if (surprise.reason !== null) {
      if (surprise.reason !== 'cancelled') void window.showWarningMessage(`Surprise: ${surprise.message}`)
      return
    }
    if (document.isClosed || surprise.version !== document.version) {
      void window.showInformationMessage('Surprise: the text changed during the measurement.')
      return
    }
    this.#shown.set(document, surprise)
    for (const editor of window.visibleTextEditors) this.#decorate(editor)
    this.#list(document, surprise)
  }

  /** The server's answer; undefined if the user cancelled the measurement. */
  async #measure(document: TextDocument): Promise<Surprise | undefined> {
    const source = new CancellationTokenSource()
    this.#measured.set(document, source)
    try {
      const argument = { uri: document.uri.toString() }
      return await this.#server.executeUntil<Surprise>(source.token, ServerCommand.surprise, argument)
    } catch (error) {
      if (source.token.isCancellationRequested) return undefined
      throw error
    } finally {
      this.#measured.delete(document)
      source.dispose()
    }
  }

  #hide(document: TextDocument): void {
    if (!this.#shown.delete(document)) return
    for (const editor of window.visibleTextEditors) {
      if (editor.document === document) for (const type of this.#types) editor.setDecorations(type, [])
    }
  }

  #decorate(editor: TextEditor): void {
    const surprise = this.#shown.get(editor.document)
    if (surprise === undefined) return
    byShade(surprise.tokens).forEach((tokens, index) => {
      const type = this.#types[index]
      if (type !== undefined) editor.setDecorations(type, tokens.map(decorated))
    })
  }

  /** Lists the most surprising lines; the editor scrolls to the active entry. */
  #list(document: TextDocument, surprise: Surprise): void {
    const list = window.createQuickPick<LineEntry>()
    list.title = `Most surprising lines: ${summary(surprise)}`
    list.placeholder = 'Go to a line. The colours stay until the text changes or the command runs again.'
    list.matchOnDescription = true
    list.items = [...lineEntries(surprise.lines)]
    list.onDidChangeActive(([entry]) => {
      const editor = window.visibleTextEditors.find((candidate) => candidate.document === document)
      if (entry !== undefined) editor?.revealRange(startOf(document, entry.line), TextEditorRevealType.InCenter)
    })
    list.onDidAccept(() => {
      const [entry] = list.selectedItems
      list.hide()
      if (entry === undefined) return
      const { start } = startOf(document, entry.line)
      void window.showTextDocument(document, { selection: new Selection(start, start) })
    })
    list.onDidHide(() => {
      list.dispose()
    })
    list.show()
  }
}

function decoration(bits: number, strength: number): TextEditorDecorationType {
  return window.createTextEditorDecorationType({
    backgroundColor: `rgba(220, 60, 20, ${strength})`,
    ...(bits >= RULER_FROM
      ? { overviewRulerColor: `rgba(220, 60, 20, ${strength})`, overviewRulerLane: OverviewRulerLane.Center }
      : {}),
  })
}

function decorated({ range: { start, end }, bits }: TokenSurprise): { range: Range; hoverMessage: string } {
  const range = new Range(start.line, start.character, end.line, end.character)
  return { range, hoverMessage: `${bits.toFixed(1)} bits of surprise` }
}

/** The empty range at the first character of a line that is not white space. */
function startOf(document: TextDocument, line: number): Range {
  const { firstNonWhitespaceCharacterIndex } = document.lineAt(Math.min(line, document.lineCount - 1))
  return new Range(line, firstNonWhitespaceCharacterIndex, line, firstNonWhitespaceCharacterIndex)
}
