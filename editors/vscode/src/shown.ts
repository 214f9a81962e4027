/**
 * Detects partly accepted suggestions from the changes of a document. Pure: no `vscode`.
 *
 * VS Code's stable API reports that a whole suggestion was accepted, but not that a word or a line was. A change
 * that inserts more of the suggestion's text at its position than one key types is such a partial acceptance.
 */

import type { Position } from './protocol'

/** An inline completion item as the server sent it. */
export interface Item {
  readonly insertText: string | { readonly value: string }
  readonly range?: { readonly start: Position; readonly end: Position } | null
}

/** A change of a document: `text` replaces `length` characters at `start`. */
export interface Change {
  readonly start: Position
  readonly length: number
  readonly text: string
}

export interface PartialAccept {
  readonly item: Item
  /** UTF-16 code units from the start of the item's text. */
  readonly acceptedLength: number
}

/** The suggestions of the last answer, in one document. */
export class Shown {
  #items: readonly Item[]
  readonly #position: Position
  #taken: string
  #sinceRequest = ''

  /**
   * @param items the candidates, best first
   * @param position the cursor of the request
   * @param before the text of the line before that cursor
   */
  constructor(items: readonly Item[], position: Position, before: string) {
    this.#position = position
    const start = items[0]?.range?.start
    this.#taken = start?.line === position.line ? before.slice(start.character) : ''
    this.#items = items.filter((item) => textOf(item).startsWith(this.#taken))
  }

  /** Follows one change; null if it is not a partial acceptance. It may make `isOver` true. */
  follow(change: Change): PartialAccept | null {
    const { line, character } = advance(this.#position, this.#sinceRequest)
    const expected = change.length === 0 && change.start.line === line && change.start.character === character
    const text = normalize(change.text)
    const taken = this.#taken + text
    const matching = expected && text !== '' ? this.#items.filter((item) => textOf(item).startsWith(taken)) : []
    const [item] = matching
    this.#items = matching
    if (item === undefined) return null
    this.#taken = taken
    this.#sinceRequest += text
    return isTyped(text) || taken.length >= textOf(item).length ? null : { item, acceptedLength: taken.length }
  }

  /** Whether no suggestion is shown any longer. */
  get isOver(): boolean {
    return this.#items.length === 0
  }
}

/** Whether one key can insert a text: one character, an auto-closed pair, a line break with its indentation. */
function isTyped(text: string): boolean {
  return Array.from(text).length === 1 || ['()', '[]', '{}', '""', "''", '``'].includes(text) || /^\n[ \t]*$/.test(text)
}

function textOf(item: Item): string {
  return normalize(typeof item.insertText === 'string' ? item.insertText : item.insertText.value)
}

function normalize(text: string): string {
  return text.replaceAll('\r\n', '\n')
}

/** The position after inserting a text. */
function advance(from: Position, text: string): Position {
  const lines = text.split('\n')
  const last = lines.at(-1) ?? ''
  return lines.length === 1
    ? { line: from.line, character: from.character + last.length }
    : { line: from.line + lines.length - 1, character: last.length }
}
