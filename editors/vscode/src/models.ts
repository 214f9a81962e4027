/** The models that the menu offers. Pure: no `vscode`. */

import generated from './models.json'

export interface ModelChoice {
  /** The value for the setting `codegen.model`. */
  readonly name: string
  readonly description: string
}

/** nano, then the twelve CodeGen checkpoints, the smallest first; `editors/generate.py` writes the file. */
export const MODELS: readonly ModelChoice[] = generated

/** Whether two spellings name the same model: `350m-Mono`, `Salesforce/codegen-350M-mono`. */
export function sameModel(setting: string, name: string): boolean {
  const plain = (text: string) => text.toLowerCase().replace(/^salesforce\/codegen-/, '')
  return plain(setting) === plain(name)
}
