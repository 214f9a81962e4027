/** What is made of the server's account of surprise: colours, a list, a sentence. Pure: no `vscode`. */

import type { Surprise, SurprisingLine, TokenSurprise } from './protocol'

/** Bits of surprise from which on a token has a colour, and that colour's strength. */
export const SHADES: readonly { readonly bits: number; readonly strength: number }[] = [
  { bits: 1.5, strength: 0.12 },
  { bits: 4, strength: 0.25 },
  { bits: 6, strength: 0.4 },
  { bits: 8, strength: 0.55 },
  { bits: 12, strength: 0.75 },
]

/** From here on a token is also marked beside the scroll bar. */
export const RULER_FROM = 8

/** The index of a surprise's shade; -1 for a token that was expected. */
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

/** The most surprising lines as entries of a list, in the order of the server. */
export function lineEntries(lines: readonly SurprisingLine[]): readonly LineEntry[] {
  return lines.map(({ line, text, bitsPerToken }) => ({
    label: text,
    description: `line ${line + 1}, ${bitsPerToken.toFixed(1)} bits a token`,
    line,
  }))
}

/** The totals in a sentence; empty where there are none. */
export function summary({ totals, model }: Surprise): string {
  if (totals === null) return ''
  const { tokens, perplexity, bitsPerByte } = totals
  return `${tokens} tokens, perplexity ${perplexity.toFixed(2)}, ${bitsPerByte.toFixed(3)} bits a byte to ${model}`
}
