"""Run parts of a Keras model over many inputs, in batches of bounded memory, in inference mode."""

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convae.architecture.network import after_passes
from convae.architecture.plan import Architecture, Layer
from convae.nn.backend import keras, start
from convae.nn.build import shared, shared_size, template

LARGEST_BATCH = 256
# Numbers of a batch between two layers, or one image. What does not fit in the cache of a processor
# takes twice the time an image.
MOST_NUMBERS = 2**21

Floats = NDArray[np.float32]
Run = Callable[[Any], Any]


class Span(NamedTuple):
    """Some layers of a model, one after the other.

    Args:
        model: "encoder" or "decoder".
        first: The place of the first among the layers of that model.
        stop: The place behind the last one.
    """

    model: str
    first: int
    stop: int


class Predictor:
    """Computes what layers of a model make of inputs.

    On JAX a span is compiled once for all models of an architecture, whose weights are arguments.

    Args:
        model: The result of `convae.nn.build.build_model`; its weights are read at each call.
        architecture: Its architecture.
    """

    def __init__(self, model: keras.Model, architecture: Architecture) -> None:
        self._model, self._architecture = model, architecture
        self._layers: dict[str, list[Layer]] = {"encoder": [], "decoder": []}
        for layer in architecture.layers():
            self._layers[layer.model].append(layer)
        self._largest_volume = architecture.largest_volume
        self._compiled: dict[Span, Callable[[keras.Model], Run]] = {}
        self._on_batch: dict[Span, Run] = {}
        # Beside JAX, where a call changes nothing, Keras computes for one thread at a time.
        self._turn = threading.Lock()

    def layers(self, model: str) -> list[Layer]:
        """The layers of "encoder" or "decoder", in order."""
        return self._layers[model]

    def whole(self, model: str) -> Span:
        """All layers of "encoder" or "decoder"."""
        return Span(model, 0, len(self.layers(model)))

    def __call__(self, inputs: Floats, *spans: Span) -> Floats:
        """What the spans, one after the other, make of inputs.

        The last batch is filled up to a power of four, so that few batch shapes are ever compiled.

        Args:
            inputs: float32 `(num_inputs, ...)`.
            *spans: Of layers; the output of each is the input of the next.

        Returns:
            float32 `(num_inputs, ...)`.
        """
        start()
        last = spans[-1]
        shape = self.layers(last.model)[last.stop - 1].output_shape
        outputs = np.empty((len(inputs), *shape), np.float32)
        runs = [self._run(span) for span in spans]
        most = max(1, MOST_NUMBERS // self._largest_volume)
        largest = min(LARGEST_BATCH, 1 << (most.bit_length() - 1))
        for first in range(0, len(inputs), largest):
            batch: Any = inputs[first : first + largest]
            size = len(batch)
            missing = min(shared_size(size), largest) - size
            if missing:
                batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            for run in runs:
                batch = run(batch)
            outputs[first : first + size] = np.asarray(batch)[:size]
        return outputs

    def encode(self, images: Floats) -> Floats:
        """The latents of images, after all passes of the encoder, as `Network.encode` says."""
        encoder, decoder = map(self.whole, ("encoder", "decoder"))
        return after_passes(
            self(images, encoder),
            lambda latents: self(latents, decoder, encoder),
            self._architecture.encoder_passes,
        )

    def decode(self, latents: Floats) -> Floats:
        """The images of latents."""
        return self(latents, self.whole("decoder"))

    def _run(self, span: Span) -> Run:
        if keras.backend.backend() == "jax":
            # Kept here too, since nothing is kept there of a large network.
            if span not in self._compiled:
                make = shared(_compiled, self._architecture)
                self._compiled[span] = make(self._architecture, span)
            return self._compiled[span](self._model)

        def run_alone(batch: Any) -> Any:  # noqa: ANN401 # an array of any backend
            with self._turn:
                if span not in self._on_batch:
                    self._on_batch[span] = _cut(self._model, span).predict_on_batch
                return self._on_batch[span](batch)

        return run_alone


def _cut(model: keras.Model, span: Span) -> keras.Model:
    """A model of some layers of another, with which it shares their weights."""
    part = model.get_layer(span.model)
    inputs = part.layers[span.first].input if span.first else part.input
    return keras.Model(inputs, part.layers[span.stop - 1].output)


@lru_cache(maxsize=64)
def _compiled(architecture: Architecture, span: Span) -> Callable[[keras.Model], Run]:
    """A span, compiled for JAX; called with a model of the architecture, it takes its weights."""
    import jax

    model = template(architecture)
    cut = _cut(model, span)
    places = {id(variable): place for place, variable in enumerate(model.variables)}
    used = [
        [places[id(variable)] for variable in variables]
        for variables in (cut.trainable_variables, cut.non_trainable_variables)
    ]

    def compute(trainable: Any, others: Any, batch: Any) -> Any:  # noqa: ANN401 # trees of JAX
        return cut.stateless_call(trainable, others, batch, training=False)[0]

    run = jax.jit(compute)

    def of(model: keras.Model) -> Run:
        variables = model.variables
        weights = [[variables[place].value for place in places] for places in used]
        return lambda batch: run(*weights, batch)

    return of
