/** The models that the menu offers. Pure: no `vscode`. */

export interface ModelChoice {
  /** The value for the setting `codegen.model`. */
  readonly name: string
  readonly description: string
}

const SIZES = [
  ['350M', 'about 0.7 GB in bfloat16'],
  ['2B', 'about 5.5 GB in bfloat16'],
  ['6B', 'about 14 GB in bfloat16'],
  ['16B', 'about 32 GB in bfloat16'],
] as const

const KINDS = [
  ['mono', 'Python'],
  ['multi', 'C, C++, Go, Java, JavaScript, Python'],
  ['nl', 'natural language and some code'],
] as const

/** nano, then the twelve CodeGen checkpoints, the smallest first. */
export const MODELS: readonly ModelChoice[] = [
  { name: 'nano', description: 'bundled and small: Python, nothing to download' },
  ...SIZES.flatMap(([size, memory]) =>
    KINDS.map(([kind, what]) => ({ name: `${size}-${kind}`, description: `${what} · ${memory}` })),
  ),
]

/** Whether a model's name in the settings and one of the list are the same: `350m-Mono`, `Salesforce/codegen-350M-mono`. */
export function sameModel(setting: string, name: string): boolean {
  const plain = (text: string) => text.toLowerCase().replace(/^salesforce\/codegen-/, '')
  return plain(setting) === plain(name)
}
