import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Machine, type Preferences, discover } from '../src/discovery'

interface Fake {
  readonly files?: readonly string[]
  readonly withServer?: readonly string[]
  readonly path?: string
  readonly platform?: NodeJS.Platform
}

function machine({ files = [], withServer = [], path = '', platform = 'linux' }: Fake): Machine {
  return {
    platform,
    env: { PATH: path, TOOLS: '/tools' },
    home: platform === 'win32' ? 'C:\\Users\\me' : '/home/me',
    isFile: (file) => files.includes(file),
    isExecutable: (file) => files.includes(file),
    hasServer: (python) => Promise.resolve(withServer.includes(python)),
  }
}

const PREFERENCES: Preferences = { setting: '', python: undefined, folders: ['/code'], trusted: true }

/** What a Python is called with to run the package. */
const RUN_PACKAGE = ['-P', '-m', 'codegen_lsp']

describe('the setting', () => {
  it('takes precedence', async () => {
    const files = ['/opt/codegen-lsp', '/venv/bin/codegen-lsp', '/usr/bin/codegen-lsp']
    const result = await discover(
      { ...PREFERENCES, setting: '/opt/codegen-lsp', python: '/venv/bin/python' },
      machine({ files, path: '/usr/bin' }),
    )
    assert.deepEqual(result, { kind: 'found', source: 'setting', command: '/opt/codegen-lsp', args: [] })
  })

  it('can be a Python, which runs the package without importing from the workspace', async () => {
    const result = await discover({ ...PREFERENCES, setting: '/venv/bin/python3.12' }, machine({ files: ['/venv/bin/python3.12'] }))
    assert.deepEqual(result, { kind: 'found', source: 'setting', command: '/venv/bin/python3.12', args: RUN_PACKAGE })
  })

  for (const [setting, file] of [
    ['~/bin/codegen-lsp', '/home/me/bin/codegen-lsp'],
    ['${userHome}/bin/codegen-lsp', '/home/me/bin/codegen-lsp'],
    ['${workspaceFolder}/.venv/bin/codegen-lsp', '/code/.venv/bin/codegen-lsp'],
    ['${env:TOOLS}/codegen-lsp', '/tools/codegen-lsp'],
    ['  /opt/../opt/codegen-lsp ', '/opt/codegen-lsp'],
  ] as const) {
    it(`${setting} is ${file}`, async () => {
      const result = await discover({ ...PREFERENCES, setting }, machine({ files: [file] }))
      assert.equal(result.kind === 'found' && result.command, file)
    })
  }

  it('is reported if it is not a program, although PATH has the server', async () => {
    const result = await discover(
      { ...PREFERENCES, setting: '/gone/codegen-lsp' },
      machine({ files: ['/usr/bin/codegen-lsp'], path: '/usr/bin' }),
    )
    assert.match(result.kind === 'missing' ? result.message : '', /serverPath is \/gone\/codegen-lsp, which is not a program/)
  })

  it('is refused if it is relative: it would depend on the folder in which VS Code was started', async () => {
    const result = await discover({ ...PREFERENCES, setting: 'codegen-lsp' }, machine({ files: ['codegen-lsp'] }))
    assert.match(result.kind === 'missing' ? result.message : '', /not an absolute path/)
  })
})

describe('the active Python environment', () => {
  it('provides its script', async () => {
    const files = ['/venv/bin/codegen-lsp', '/usr/bin/codegen-lsp']
    const result = await discover({ ...PREFERENCES, python: '/venv/bin/python' }, machine({ files, path: '/usr/bin' }))
    assert.deepEqual(result, { kind: 'found', source: 'environment', command: '/venv/bin/codegen-lsp', args: [] })
  })

  it('provides its package if there is no script', async () => {
    const result = await discover({ ...PREFERENCES, python: '/venv/bin/python' }, machine({ withServer: ['/venv/bin/python'] }))
    assert.deepEqual(result, { kind: 'found', source: 'environment', command: '/venv/bin/python', args: RUN_PACKAGE })
  })

  it('is ignored inside an untrusted workspace', async () => {
    const fake = machine({
      files: ['/code/.venv/bin/codegen-lsp', '/usr/bin/codegen-lsp'],
      withServer: ['/code/.venv/bin/python'],
      path: '/code/.venv/bin:/usr/bin',
    })
    const preferences = { ...PREFERENCES, python: '/code/.venv/bin/python' }
    const trusted = await discover(preferences, fake)
    assert.equal(trusted.kind === 'found' && trusted.command, '/code/.venv/bin/codegen-lsp')
    const untrusted = await discover({ ...preferences, trusted: false }, fake)
    assert.equal(untrusted.kind === 'found' && untrusted.command, '/usr/bin/codegen-lsp')
  })

  it('is used next to an untrusted workspace', async () => {
    const result = await discover(
      { ...PREFERENCES, python: '/code-venv/bin/python', trusted: false },
      machine({ files: ['/code-venv/bin/codegen-lsp'] }),
    )
    assert.equal(result.kind === 'found' && result.command, '/code-venv/bin/codegen-lsp')
  })
})

describe('PATH', () => {
  it('is searched in order, without relative entries', async () => {
    const result = await discover(
      PREFERENCES,
      machine({ files: ['./codegen-lsp', '/b/codegen-lsp', '/c/codegen-lsp'], path: '.::/a:/b:/c' }),
    )
    assert.deepEqual(result, { kind: 'found', source: 'path', command: '/b/codegen-lsp', args: [] })
  })

  it('is followed by the folder of pipx and uv', async () => {
    const result = await discover(PREFERENCES, machine({ files: ['/home/me/.local/bin/codegen-lsp'] }))
    assert.equal(result.kind === 'found' && result.command, '/home/me/.local/bin/codegen-lsp')
  })

  it('has .exe files on Windows', async () => {
    const fake = machine({ files: ['C:\\Tools\\codegen-lsp.exe'], path: 'C:\\Windows;C:\\Tools', platform: 'win32' })
    const result = await discover({ ...PREFERENCES, folders: ['C:\\code'] }, fake)
    assert.equal(result.kind === 'found' && result.command, 'C:\\Tools\\codegen-lsp.exe')
  })
})

describe('no server', () => {
  it('is reported with the environment to install into', async () => {
    const result = await discover({ ...PREFERENCES, python: '/venv/bin/python' }, machine({ path: '/usr/bin' }))
    assert.deepEqual(result, {
      kind: 'missing',
      message: 'codegen-lsp was not found in the Python environment of /venv/bin/python, on PATH or in the settings.',
      python: '/venv/bin/python',
    })
  })
})
