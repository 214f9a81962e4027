import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import manifest from '../package.json'
import { Command, type Situation, entries } from '../src/menu'
import { MODELS, sameModel } from '../src/models'

const SITUATION: Situation = {
  status: { state: 'ready', message: '', model: 'nano', percent: null },
  document: 'a.py',
  pausedHere: false,
  pausedEverywhere: false,
  missing: false,
  ghostText: true,
}

const commandsOf = (situation: Partial<Situation>) =>
  entries({ ...SITUATION, ...situation }).map((entry) => entry.command)

describe('the menu', () => {
  it('offers everything while the server runs', () => {
    assert.deepEqual(commandsOf({}), [
      Command.chooseModel,
      Command.togglePauseHere,
      Command.togglePause,
      Command.showLastRequest,
      Command.surprise,
      Command.restartEngine,
      Command.restartServer,
      Command.unloadModel,
      Command.showLog,
      Command.openSettings,
    ])
  })

  it('offers to resume what is paused', () => {
    const labels = (situation: Partial<Situation>) => entries({ ...SITUATION, ...situation }).map((e) => e.label).join()
    assert.match(labels({ pausedHere: true }), /Resume in this file.*Pause everywhere/)
    assert.match(labels({ pausedEverywhere: true }), /Resume everywhere/)
    assert.doesNotMatch(labels({ pausedEverywhere: true }), /in this file/)
    assert.doesNotMatch(labels({ document: undefined }), /in this file/)
  })

  it('offers to install the server or to look again if it is missing', () => {
    assert.deepEqual(commandsOf({ missing: true }).slice(0, 2), [Command.install, Command.restartServer])
  })

  it('offers nothing that requires the server after it has stopped', () => {
    const status = { ...SITUATION.status, state: 'stopped' } as const
    assert.deepEqual(commandsOf({ status }), [Command.restartServer, Command.showLog, Command.openSettings])
  })

  it('warns that the editor hides ghost text', () => {
    assert.equal(commandsOf({ ghostText: false })[0], 'workbench.action.openSettings')
  })
})

describe('the models', () => {
  it('are nano, the twelve and others', () => {
    assert.equal(MODELS.filter(({ name }) => /^(350M|2B|6B|16B)-(nl|multi|mono)$/.test(name)).length, 12)
    assert.deepEqual(MODELS.slice(0, 3).map((model) => model.name), ['nano', 'smollm2-135m', '350M-mono'])
    assert.ok(MODELS.some((model) => model.name === '16B-nl'))
    assert.ok(MODELS.some((model) => model.description.endsWith('Apache-2.0 · fills in the middle')))
  })

  it('are recognized in any spelling of their name', () => {
    assert.ok(sameModel('350m-MONO', '350M-mono'))
    assert.ok(sameModel('Salesforce/codegen-350M-mono', '350M-mono'))
    assert.ok(!sameModel('350M-multi', '350M-mono'))
  })
})

describe('the manifest', () => {
  it('declares each command, once', () => {
    const declared = manifest.contributes.commands.map((command) => command.command)
    assert.deepEqual([...declared].sort(), Object.values(Command).sort())
  })

  it('binds keys to commands that exist, only while an editor has the focus or shows a suggestion', () => {
    for (const { command, when } of manifest.contributes.keybindings) {
      assert.ok(command.startsWith('editor.action.inlineSuggest.') || Object.values<string>(Command).includes(command))
      assert.match(when, /editorTextFocus|inlineSuggestionVisible/)
    }
  })

  it('lets no untrusted workspace choose the program, the model or the address', () => {
    const { supported, restrictedConfigurations } = manifest.capabilities.untrustedWorkspaces
    assert.equal(supported, 'limited')
    const properties = manifest.contributes.configuration.flatMap((section) => Object.keys(section.properties))
    for (const name of restrictedConfigurations) assert.ok(properties.includes(name), name)
    for (const name of ['codegen-lsp.serverPath', 'codegen-lsp.serverArguments', 'codegen-lsp.serverEnvironment']) {
      assert.ok(restrictedConfigurations.includes(name), name)
    }
  })
})
