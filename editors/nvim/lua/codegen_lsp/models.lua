--- Names of the models, written by editors/generate.py.
return {
  'nano',
  '350M-mono',
  '350M-multi',
  '350M-nl',
  '2B-mono',
  '2B-multi',
  '2B-nl',
  '6B-mono',
  '6B-multi',
  '6B-nl',
  '16B-mono',
  '16B-multi',
  '16B-nl',
}
