--- Settings that a project may never choose, written by editors/generate.py.
return {
  'fillInTheMiddle',
  'fimFormat',
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
