/**
 * What of a suggestion the user has taken so far, worked out from the document's changes.
 *
 * VS Code's stable API calls back when a suggestion is accepted whole, not when a word or a line of it is. A change
 * that inserts, at the suggestion's place, more of its text than a key types is such a partial acceptance. Pure.
 */

export interface Position {
  readonly line: number
  readonly character: number
}

/** An inline completion item as the server sent it. */
export interface Item {
  readonly insertText: string | { readonly value: string }
  readonly range?: { readonly start: Position; readonly end: Position } | null
}

/** One change of a document: `text` takes the place of `length` characters at `start`. */
export interface Change {
  readonly start: Position
  readonly length: number
  readonly text: string
}

export interface PartialAccept {
  readonly item: Item
  /** UTF-16 units from the start of the item's text. */
  readonly acceptedLength: number
}

/** The suggestions last shown, in one document. */
export class Shown {
  #items: readonly Item[]
  readonly #position: Position
  #taken: string
  #sinceRequest = ''

  /**
   * @param items the candidates, best first
   * @param position the cursor when they were asked for
   * @param before the text of the cursor's line up to the cursor, then
   */
  constructor(items: readonly Item[], position: Position, before: string) {
    this.#position = position
    const start = items[0]?.range?.start
    this.#taken = start?.line === position.line ? before.slice(start.character) : ''
    this.#items = items.filter((item) => textOf(item).startsWith(this.#taken))
  }

  /** Follows one change. Null where it is not a partial acceptance; afterwards `isOver` may have become true. */
  follow(change: Change): PartialAccept | null {
    const here = advance(this.#position, this.#sinceRequest)
    const expected = change.length === 0 && change.start.line === here.line && change.start.character === here.character
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

  /** Whether nothing is shown any more. */
  get isOver(): boolean {
    return this.#items.length === 0
  }
}

/** What one key can put into a document: one character, an auto-closed pair, a line break with its indentation. */
function isTyped(text: string): boolean {
  return Array.from(text).length === 1 || ['()', '[]', '{}', '""', "''", '``'].includes(text) || /^\n[ \t]*$/.test(text)
}

function textOf(item: Item): string {
  return normalize(typeof item.insertText === 'string' ? item.insertText : item.insertText.value)
}

function normalize(text: string): string {
  return text.replaceAll('\r\n', '\n')
}

function advance(from: Position, text: string): Position {
  const lines = text.split('\n')
  const last = lines.at(-1) ?? ''
  return lines.length === 1
    ? { line: from.line, character: from.character + last.length }
    : { line: from.line + lines.length - 1, character: last.length }
}
