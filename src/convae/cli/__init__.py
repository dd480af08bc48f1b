"""The command line: parse, call a public name, print.

main.py       gathers the verbs; messages and exit codes
options.py    arguments and options that verbs share
reading.py    images for a verb
training.py   what `train` and `demo` share
output.py     output that verbs share
progress.py   bars
verbs/        one module per verb
"""
