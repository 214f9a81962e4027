--- Settings that a project may never choose, written by editors/generate.py.
return {
  'model',
  'revision',
  'dtype',
  'quantize',
  'deviceMap',
  'maxMemory',
  'offloadFolder',
  'prefixCache',
  'threads',
  'allowPickle',
  'idleTimeout',
  'server',
  'serverModel',
  'token',
}
