"""The jobs beyond reconstruction, one folder each; no job imports another.

kind.py       which jobs there are
job.py        what each of them has
training.py   train an autoencoder and fit jobs beside it
run.py        the files of a training, and its error
model.py      a model with its jobs, as one file keeps it

In the folder of a job, `fitted.py` applies what was learned and needs only NumPy.
"""
