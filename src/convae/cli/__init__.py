"""The command line: parse, call a public name, print.

main.py       gathers the verbs; messages and exit codes
options.py    what verbs share in being asked
reading.py    images for a verb
training.py   what `train` and `demo` share
output.py     what verbs share in answering
progress.py   bars
verbs/        one module a verb
"""
