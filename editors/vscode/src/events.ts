/**
 * What the server is told about its suggestions beyond LSP: which were shown, which were taken in part, and which
 * document has the focus. Also completes the request's parameters as other clients of such servers do.
 *
 * VS Code's stable API has no event for "shown": an answer that arrives while it is still wanted counts as shown.
 */

import {
  type CancellationToken,
  type Disposable,
  type TextDocument,
  type TextDocumentChangeEvent,
  type TextEditor,
  window,
  workspace,
} from 'vscode'
import type { Middleware } from 'vscode-languageclient/node'

import { type Item, type Position, Shown } from './shown'

const INLINE_COMPLETION = 'textDocument/inlineCompletion'

interface InlineCompletionParams {
  readonly textDocument: { readonly uri: string }
  readonly position: Position
}

type Notify = (method: string, params: unknown) => void

export class Events implements Disposable {
  readonly #notify: Notify
  readonly #subscriptions: Disposable[]
  /** The version of the document that each request is about; its token stands for the request. */
  readonly #versions = new WeakMap<CancellationToken, number>()
  #shown: { readonly document: TextDocument; readonly items: Shown } | undefined

  constructor(notify: Notify) {
    this.#notify = notify
    this.#subscriptions = [
      workspace.onDidChangeTextDocument((event) => {
        this.#documentChanged(event)
      }),
      window.onDidChangeActiveTextEditor((editor) => {
        this.#focused(editor)
      }),
    ]
  }

  readonly middleware: Middleware = {
    provideInlineCompletionItems: (document, position, context, token, next) => {
      this.#versions.set(token, document.version)
      return next(document, position, context, token)
    },

    sendRequest: async (type, params, token, next) => {
      const method = typeof type === 'string' ? type : type.method
      if (method !== INLINE_COMPLETION) return next(type, params, token)
      const asked = params as InlineCompletionParams
      const document = findDocument(asked.textDocument.uri)
      const version = token === undefined ? undefined : this.#versions.get(token)
      const answer = await next(type, complete(asked, document, version) as typeof params, token)
      if (document !== undefined && token?.isCancellationRequested !== true) {
        this.#answered(document, asked.position, itemsOf(answer))
      }
      return answer
    },
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose()
  }

  #answered(document: TextDocument, position: Position, items: readonly Item[]): void {
    this.#shown = undefined
    const [first] = items
    // The answer may come after the lines that it was for have gone.
    if (first === undefined || position.line >= document.lineCount) return
    const before = document.lineAt(position.line).text.slice(0, position.character)
    this.#shown = { document, items: new Shown(items, position, before) }
    this.#notify('textDocument/didShowCompletion', { item: first })
  }

  #documentChanged({ document, contentChanges }: TextDocumentChangeEvent): void {
    if (this.#shown?.document !== document) return
    const [change] = contentChanges
    if (change === undefined) return // only its "dirty" flag changed
    if (contentChanges.length > 1) {
      this.#shown = undefined
      return
    }
    const accepted = this.#shown.items.follow({
      start: change.range.start,
      length: change.rangeLength,
      text: change.text,
    })
    if (accepted !== null) this.#notify('textDocument/didPartiallyAcceptCompletion', accepted)
    if (this.#shown.items.isOver) this.#shown = undefined
  }

  #focused(editor: TextEditor | undefined): void {
    if (editor?.document.uri.scheme !== 'file' && editor?.document.uri.scheme !== 'untitled') return
    this.#notify('textDocument/didFocus', { textDocument: { uri: editor.document.uri.toString() } })
  }
}

/** The request with what the server understands beyond LSP: the version and how the editor indents. */
function complete(
  params: InlineCompletionParams,
  document: TextDocument | undefined,
  version: number | undefined,
): InlineCompletionParams {
  const editor = window.visibleTextEditors.find((candidate) => candidate.document === document)
  const { tabSize, insertSpaces } = editor?.options ?? {}
  const known = typeof tabSize === 'number' && typeof insertSpaces === 'boolean'
  return {
    ...params,
    textDocument: { ...params.textDocument, ...(version === undefined ? {} : { version }) },
    ...(known ? { formattingOptions: { tabSize, insertSpaces } } : {}),
  }
}

function findDocument(uri: string): TextDocument | undefined {
  return workspace.textDocuments.find((document) => document.uri.toString() === uri)
}

function itemsOf(answer: unknown): readonly Item[] {
  if (Array.isArray(answer)) return answer as Item[]
  return (answer as { items?: readonly Item[] } | null)?.items ?? []
}
