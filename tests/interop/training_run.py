"""A training run from its configuration, its data and its first weights alone, in NumPy float64 with Autograd's
gradients: an independent judge of what a step is. The configuration is what gda reads, as a dictionary.
"""

import math

import autograd
import autograd.numpy as np
import numpy

from reference_model import Model
from sample_order import IGNORED, Mixture, Source


NEWTON_SCHULZ = [
    (4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037), (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
]


def learning_rate(schedule, peak, steps, step):
    """gda/optim/schedule.h."""
    warmup, least = schedule["warmup_steps"], schedule.get("min_lr_ratio", 0.1)
    if step < warmup:
        return peak * (step + 1) / warmup
    name = schedule["name"]
    decay = steps - warmup
    if name == "wsd":
        decay = min(decay, math.floor(schedule["decay_fraction"] * steps + 0.5))
    if name == "constant" or step < steps - decay:
        return peak
    x = (step + 1 - (steps - decay)) / decay
    shape = schedule.get("decay_shape", "1-sqrt") if name == "wsd" else name
    return peak * {
        "cosine": least + (1 - least) * (1 + math.cos(math.pi * x)) / 2,
        "linear": least + (1 - least) * (1 - x),
        "1-sqrt": least + (1 - least) * (1 - math.sqrt(x)),
        "exponential": least**x,
    }[shape]


class Guard:
    """gda/train/loss_guard.h. A decision that rounding could turn is no case for a judge."""

    def __init__(self, options):
        self.options, self.past = options, []

    def skips(self, loss, norm):
        if len(self.past) == self.options["window"]:
            for value, history in zip((loss, norm), zip(*self.past)):
                limit = numpy.mean(history) + self.options["spike_sigmas"] * numpy.std(history)
                assert abs(value - limit) > 1e-3 * limit, "too near to the limit"
                if value > limit:
                    return True
        self.past = (self.past + [(loss, norm)])[-self.options["window"] :]
        return False


class TrainingRun:
    """`shape` is the model's config.json, `tensors` its first weights by name, `datasets` those of each source."""

    def __init__(self, config, shape, tensors, datasets):
        self.config, self.shape, self.tensors = config, shape, tensors
        data = config["data"]
        self.length, self.mask, self.steps = data["sequence_length"], data["document_mask"], config["train"]["steps"]
        self.sources = [
            Source(source["name"], datasets[source["name"]], self.length, data["validation_fraction"], data["seed"])
            for source in data["sources"]
        ]
        weights = [[(point["step"], point["value"]) for point in source["weight"]] for source in data["sources"]]
        self.mixture = Mixture(weights, self.steps + 1, self.first_sample)
        self.states = {}  # of the optimizer: name in checkpoints, then the parameter's
        self.ever_clipped = 0
        self.guard, self.updates, self.skipped, self.clipped = Guard(config["train"]["skip"]), 0, 0, 0
        self.gradient = autograd.value_and_grad(self.loss)

    def batch_size(self, step):
        sizes = [point["value"] for point in self.config["train"]["batch_ramp"] if point["step"] <= step]
        return sizes[-1] if sizes else self.config["train"]["global_batch_size"]

    def first_sample(self, step):
        return sum(self.batch_size(earlier) for earlier in range(step))

    def loss(self, tensors, row):
        """Sum over the row's targets."""
        taken = numpy.flatnonzero(row.targets != IGNORED)
        predicted = Model(self.shape, tensors).predict(row.tokens, row.positions, row.visible)
        return -np.sum(predicted[taken, row.targets[taken]])

    def rows(self, step):
        for sample in range(self.first_sample(step), self.first_sample(step + 1)):
            number, index = self.mixture.at(sample)
            source = self.sources[number]
            yield number, source.train.row(source.window_begin(index), self.length, self.mask)

    def step(self, step):
        """Does one step; the line of metrics that it should give."""
        self.max_logits, self.clipped_heads = [], 0
        sums, targets = numpy.zeros(len(self.sources)), numpy.zeros(len(self.sources))
        total = {name: numpy.zeros_like(value) for name, value in self.tensors.items()}
        for source, row in self.rows(step):
            loss, gradient = self.gradient(self.tensors, row)
            sums[source] += loss
            targets[source] += numpy.sum(row.targets != IGNORED)
            total = {name: value + gradient[name] for name, value in total.items()}
        mean = {name: value / targets.sum() for name, value in total.items()}
        loss, norm = sums.sum() / targets.sum(), math.sqrt(sum(numpy.sum(g * g) for g in mean.values()))
        rate = learning_rate(self.config["schedule"], self.config["optimizer"]["lr"], self.steps, step)
        if self.guard.skips(loss, norm):
            self.skipped += 1
        else:
            before = self.tensors
            self.update(mean, norm, rate)
            self.clip_logits(before, step)
        by_source = {s.name: sums[k] / targets[k] for k, s in enumerate(self.sources) if targets[k] > 0}
        return {"loss": loss, "grad_norm": norm, "lr": rate, "skipped": self.skipped, "loss_by_source": by_source,
                **self.counts(step + 1), "lambda": self.lambdas(), "max_logit": self.max_logits,
                "clipped_heads": self.clipped_heads}

    def counts(self, step):
        done = self.first_sample(step)
        given = [self.mixture.at(sample)[0] for sample in range(done)]
        passes = {s.name: given.count(k) / s.windows for k, s in enumerate(self.sources)}
        return {"tokens": done * self.length, "passes_by_source": passes}

    def lambdas(self):
        if "lambda_init" not in self.shape:
            return []
        model = Model(self.shape, self.tensors)
        return [float(model.lambda_of(layer)) for layer in range(self.shape["num_hidden_layers"])]

    def update(self, gradient, norm, rate):
        options = self.config["optimizer"]
        clip = options["grad_clip"]
        self.updates += 1
        factor = clip / norm if clip > 0 and norm > clip else 1.0
        self.clipped += factor != 1.0
        updated = {}
        for name, value in self.tensors.items():
            rule = self.muon if self.is_muons(name) else self.adamw
            updated[name] = rule(name, value, gradient[name] * factor, rate)
        self.tensors = updated

    def clip_logits(self, before, step):
        """QK-clip (Kimi K2): the new weights of heads whose logits in this step's passes, with the weights `before`, were
        above the threshold."""
        options = self.config["optimizer"].get("qk_clip")
        if not options or self.updates % options["every_steps"] != 0:
            return
        model = Model(self.shape, before)
        model.heads_seen = {}
        for _, row in self.rows(step):
            model.predict(row.tokens, row.positions, row.visible)
        layers = range(self.shape["num_hidden_layers"])
        self.max_logits = [max(s for (at, *_), s in model.heads_seen.items() if at == layer) for layer in layers]
        updated = dict(self.tensors)
        for layer in layers:
            scores = {head: (key, s) for (at, head, key), s in model.heads_seen.items() if at == layer}
            for key in {key for key, _ in scores.values()}:
                sharing = {head: s for head, (its_key, s) in scores.items() if its_key == key}
                worst = max(1.0, max(sharing.values()) / options["threshold"])
                shrunk = worst ** (-1.0 / (1.0 + math.sqrt(len(sharing))))
                self.clipped_heads += len(sharing) if worst > 1 else 0
                self.scale(updated, layer, "k_proj", key, shrunk)
                for head, s in sharing.items():
                    left = shrunk * s / options["threshold"]  # of its logit over the threshold, after the key's part
                    self.scale(updated, layer, "q_proj", head, 1 / max(1.0, left))
        self.tensors, self.ever_clipped = updated, self.ever_clipped + self.clipped_heads

    def scale(self, tensors, layer, projection, head, factor):
        name, d = f"model.layers.{layer}.self_attn.{projection}.weight", self.shape["head_dim"]
        value = tensors[name].copy()
        value[head * d : (head + 1) * d] *= factor
        tensors[name] = value

    def is_muons(self, name):
        """Muon has the matrices of the layers."""
        return self.config["optimizer"]["name"] == "muon" and ".layers." in name and self.tensors[name].ndim == 2

    def adamw(self, name, value, g, rate):
        """AdamW (Loshchilov and Hutter 2019); weight decay is for matrices."""
        options = self.config["optimizer"]
        if options["name"] == "muon":
            group = options.get("adamw") or {}
            rate *= group.get("lr", options["lr"]) / options["lr"]
            options = {"weight_decay": options["weight_decay"], "betas": [0.9, 0.95], "eps": 1e-8, **group}
        beta1, beta2 = options["betas"]
        states = self.states.setdefault("exp_avg", {}), self.states.setdefault("exp_avg_sq", {})
        m, v = (state.get(name, numpy.zeros_like(value)) for state in states)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        states[0][name], states[1][name] = m, v
        mean, square = m / (1 - beta1**self.updates), v / (1 - beta2**self.updates)
        decay = options["weight_decay"] if value.ndim == 2 else 0.0
        return value - rate * (mean / (numpy.sqrt(square) + options["eps"]) + decay * value)

    def muon(self, name, value, g, rate):
        """Muon (Jordan et al. 2024; step size of Liu et al. 2025). The polynomials act on singular values."""
        options, state = self.config["optimizer"], self.states.setdefault("momentum", {})
        mu = options["momentum"]
        state[name] = mu * state.get(name, numpy.zeros_like(value)) + g
        u = g + mu * state[name]
        left, sigma, right = numpy.linalg.svd(u / (numpy.linalg.norm(u) + 1e-7), full_matrices=False)
        for a, b, c in NEWTON_SCHULZ:
            sigma = a * sigma + b * sigma**3 + c * sigma**5
        step = 0.2 * math.sqrt(max(value.shape)) * (left * sigma) @ right
        return value * (1 - rate * options["weight_decay"]) - rate * step

    def evaluate(self):
        """Mean loss and number of targets of the first rows that were held out, by source."""
        found = {}
        for source in self.sources:
            wanted = self.config["eval"]["steps"] * self.config["train"]["global_batch_size"]
            samples = min(wanted, -(-(len(source.validation.tokens) - 1) // self.length))
            rows = [source.validation.row(i * self.length, self.length, self.mask) for i in range(samples)]
            targets = sum(int(numpy.sum(row.targets != IGNORED)) for row in rows)
            loss = sum(self.loss(self.tensors, row) for row in rows) / targets
            found[source.name] = {"loss": loss, "tokens": targets}
        return found
