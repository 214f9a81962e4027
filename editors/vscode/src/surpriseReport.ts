/** Shades, list entries and a summary for the surprise of a document. Pure: no `vscode`. */

import type { Surprise, SurprisingLine, TokenSurprise } from './protocol'

/** Lower bounds of surprise in bits, each with the opacity of its colour. */
export const SHADES: readonly { readonly bits: number; readonly strength: number }[] = [
  { bits: 1.5, strength: 0.12 },
  { bits: 4, strength: 0.25 },
  { bits: 6, strength: 0.4 },
  { bits: 8, strength: 0.55 },
  { bits: 12, strength: 0.75 },
]

/** Lower bound of surprise in bits for a mark in the overview ruler. */
export const RULER_FROM = 8

/** The index of the shade for a surprise; -1 if it needs no colour. */
export function shadeOf(bits: number): number {
  return SHADES.filter((shade) => bits >= shade.bits).length - 1
}

/** The tokens of each shade. */
export function byShade(tokens: readonly TokenSurprise[]): readonly (readonly TokenSurprise[])[] {
  return SHADES.map((_, index) => tokens.filter((token) => shadeOf(token.bits) === index))
}

export interface LineEntry {
  readonly label: string
  readonly description: string
  readonly line: number
}

/** The most surprising lines as list entries, in the server's order. */
export function lineEntries(lines: readonly SurprisingLine[]): readonly LineEntry[] {
  return lines.map(({ line, text, bitsPerToken }) => ({
    label: text,
    description: `line ${line + 1}, ${bitsPerToken.toFixed(1)} bits per token`,
    line,
  }))
}

/** The totals as text; empty if there are none. */
export function summary({ totals, model }: Surprise): string {
  if (totals === null) return ''
  const { tokens, perplexity, bitsPerByte } = totals
  return `${tokens} tokens, perplexity ${perplexity.toFixed(2)}, ${bitsPerByte.toFixed(3)} bits per byte (${model})`
}
