/** The entries of the status bar's menu. Pure: no `vscode`. */

import type { Status } from './protocol'

/** The commands of the extension, which package.json declares. */
export const Command = {
  menu: 'codegen-lsp.menu',
  chooseModel: 'codegen-lsp.chooseModel',
  togglePauseHere: 'codegen-lsp.togglePauseHere',
  togglePause: 'codegen-lsp.togglePause',
  writeBody: 'codegen-lsp.writeBody',
  restartEngine: 'codegen-lsp.restartEngine',
  restartServer: 'codegen-lsp.restartServer',
  unloadModel: 'codegen-lsp.unloadModel',
  showLastRequest: 'codegen-lsp.showLastRequest',
  surprise: 'codegen-lsp.surprise',
  showLog: 'codegen-lsp.showLog',
  openSettings: 'codegen-lsp.openSettings',
  install: 'codegen-lsp.install',
} as const

export interface Entry {
  readonly label: string
  readonly description?: string
  /** A command of the extension or of VS Code. */
  readonly command: string
  readonly args?: readonly unknown[]
}

export interface Situation {
  readonly status: Status
  /** The file name of the active document; undefined if there is none. */
  readonly document: string | undefined
  readonly pausedHere: boolean
  readonly pausedEverywhere: boolean
  /** Whether the server was not found. */
  readonly missing: boolean
  /** Whether `editor.inlineSuggest.enabled` is on. */
  readonly ghostText: boolean
}

/** The entries for a situation, in the order of the menu. */
export function entries(situation: Situation): readonly Entry[] {
  if (situation.missing) return [...findServer(), ...always()]
  if (situation.status.state === 'stopped') return [restartServer(), ...always()]
  return [
    ...(situation.ghostText ? [] : [turnOnGhostText()]),
    { label: '$(symbol-misc) Choose model…', description: situation.status.model, command: Command.chooseModel },
    ...pauses(situation),
    { label: '$(search) Show last request', command: Command.showLastRequest },
    ...(situation.document === undefined ? [] : [showSurprise(situation.document)]),
    { label: '$(debug-restart) Restart the engine', command: Command.restartEngine },
    restartServer(),
    { label: '$(archive) Unload the model', description: 'free its memory', command: Command.unloadModel },
    ...always(),
  ]
}

function pauses({ document, pausedHere, pausedEverywhere }: Situation): readonly Entry[] {
  const everywhere: Entry = pausedEverywhere
    ? { label: '$(play) Resume everywhere', command: Command.togglePause }
    : { label: '$(debug-pause) Pause everywhere', command: Command.togglePause }
  if (document === undefined || pausedEverywhere) return [everywhere]
  const inFile: Entry = pausedHere
    ? { label: '$(play) Resume in this file', description: document, command: Command.togglePauseHere }
    : { label: '$(debug-pause) Pause in this file', description: document, command: Command.togglePauseHere }
  return [inFile, everywhere]
}

function findServer(): readonly Entry[] {
  return [
    { label: '$(cloud-download) Install the server…', command: Command.install },
    { ...restartServer(), label: '$(refresh) Look for the server again' },
  ]
}

function restartServer(): Entry {
  return { label: '$(refresh) Restart the language server', command: Command.restartServer }
}

function showSurprise(document: string): Entry {
  return { label: '$(flame) Show or hide surprise', description: document, command: Command.surprise }
}

function turnOnGhostText(): Entry {
  return {
    label: '$(warning) Inline suggestions are turned off in the editor',
    description: 'editor.inlineSuggest.enabled',
    command: 'workbench.action.openSettings',
    args: ['editor.inlineSuggest.enabled'],
  }
}

function always(): readonly Entry[] {
  return [
    { label: '$(output) Show the log', command: Command.showLog },
    { label: '$(gear) Open settings', command: Command.openSettings },
  ]
}
