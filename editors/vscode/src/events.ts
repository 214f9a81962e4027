/**
 * Tells the server what LSP has no message for: which suggestions were shown or partly accepted, and which document
 * has the focus. Also adds parameters to the requests, as other clients of such servers do.
 *
 * VS Code's stable API has no event for a shown suggestion: an answer to a request that was not cancelled counts.
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

import type { Position } from './protocol'
import { type Item, Shown } from './shown'

const INLINE_COMPLETION = 'textDocument/inlineCompletion'

interface InlineCompletionParams {
  readonly textDocument: { readonly uri: string }
  readonly position: Position
}

type Notify = (method: string, params: unknown) => void

export class Events implements Disposable {
  readonly #notify: Notify
  readonly #subscriptions: Disposable[]
  /** The document's version of each request; the token identifies the request. */
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
      const request = params as InlineCompletionParams
      const document = findDocument(request.textDocument.uri)
      const version = token === undefined ? undefined : this.#versions.get(token)
      const answer = await next(type, extend(request, document, version) as typeof params, token)
      if (document !== undefined && token?.isCancellationRequested !== true) {
        this.#answered(document, request.position, itemsOf(answer))
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
    // The line of the request may be deleted by now.
    if (first === undefined || position.line >= document.lineCount) return
    const before = document.lineAt(position.line).text.slice(0, position.character)
    this.#shown = { document, items: new Shown(items, position, before) }
    this.#notify('textDocument/didShowCompletion', { item: first })
  }

  #documentChanged({ document, contentChanges }: TextDocumentChangeEvent): void {
    if (this.#shown?.document !== document) return
    const [change] = contentChanges
    if (change === undefined) return // only the "dirty" flag changed
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

/** The request with parameters beyond LSP: the document's version and the editor's indentation. */
function extend(
  params: InlineCompletionParams,
  document: TextDocument | undefined,
  version: number | undefined,
): InlineCompletionParams {
  const editor = window.visibleTextEditors.find((candidate) => candidate.document === document)
  const { tabSize, insertSpaces } = editor?.options ?? {}
  const hasOptions = typeof tabSize === 'number' && typeof insertSpaces === 'boolean'
  return {
    ...params,
    textDocument: { ...params.textDocument, ...(version === undefined ? {} : { version }) },
    ...(hasOptions ? { formattingOptions: { tabSize, insertSpaces } } : {}),
  }
}

function findDocument(uri: string): TextDocument | undefined {
  return workspace.textDocuments.find((document) => document.uri.toString() === uri)
}

function itemsOf(answer: unknown): readonly Item[] {
  if (Array.isArray(answer)) return answer as Item[]
  return (answer as { items?: readonly Item[] } | null)?.items ?? []
}
