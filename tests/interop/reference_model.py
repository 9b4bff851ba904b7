"""The decoder in NumPy float64, written from the papers' equations alone: an independent judge of the
attention types (softmax, differential, grouped differential, differential V2).

Nothing is shared with the program but the checkpoint's layout (Hugging Face names, config.json).
Arrays are never written into, so that Autograd, where it is there, can differentiate it.
"""

import json
import math
import pathlib

import numpy

try:
    import autograd.numpy as np
except ImportError:
    np = numpy


def read_safetensors(path):
    """All tensors of a safetensors file as float64 arrays."""
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    data = raw[8 + size :]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "BF16":
            words = numpy.frombuffer(data[begin:end], numpy.uint16).astype(numpy.uint32) << 16
            values = words.view(numpy.float32)
        else:
            values = numpy.frombuffer(data[begin:end], {"F32": "<f4", "F64": "<f8"}[entry["dtype"]])
        tensors[name] = values.astype(numpy.float64).reshape(entry["shape"])
    return tensors


def rms_norm(x, weight, eps):
    return weight * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def poly_norm(x, weight, bias, eps=1e-6):
    def normed(z):
        return z / np.sqrt(np.mean(z * z, axis=-1, keepdims=True) + eps)

    return weight[0] * normed(x**3) + weight[1] * normed(x**2) + weight[2] * normed(x) + bias[0]


def rotate(x, positions, theta):
    """Rotary embedding, rotate-half: x [tokens, heads, d]."""
    d = x.shape[2]
    half = d // 2
    frequency = theta ** (-2.0 * np.arange(half) / d)
    angle = positions[:, None] * frequency[None, :]
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def log_softmax(x):
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def read_model(folder):
    """config.json and all tensors of a model folder."""
    folder = pathlib.Path(folder)
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors.update(read_safetensors(path))
    return json.loads((folder / "config.json").read_text()), tensors


class Model:
    def __init__(self, config, tensors):
        self.config = config
        self.tensors = tensors
        gda = self.config.get("gda", {})
        self.type = gda.get("attention_type", "softmax")
        rope = self.config.get("rope_parameters") or self.config
        self.theta = rope["rope_theta"]
        self.heads_seen = None  # a dictionary: where the largest scores go, by layer, query head and key head

    def weight(self, name, layer=None):
        return self.tensors[name if layer is None else f"model.layers.{layer}.{name}"]

    def linear(self, x, name, layer):
        return x @ self.weight(name + ".weight", layer).T

    def heads(self, x, name, layer, width):
        return self.linear(x, "self_attn." + name, layer).reshape(len(x), -1, width)

    def softmax(self, layer, q, k, head, key_head):
        """Attention weights of one query head: q, k [tokens, heads, d]."""
        scores = np.where(self.visible, q[:, head] @ k[:, key_head].T / math.sqrt(q.shape[2]), -np.inf)
        if self.heads_seen is not None:
            place = (layer, head, key_head)
            self.heads_seen[place] = max(self.heads_seen.get(place, -math.inf), float(np.max(scores)))
        return np.exp(log_softmax(scores))

    def attention(self, x, layer):
        d = self.config["head_dim"]
        q = rotate(self.heads(x, "q_proj", layer, d), self.positions, self.theta)
        k = rotate(self.heads(x, "k_proj", layer, d), self.positions, self.theta)
        if self.type in ("differential", "grouped_differential"):
            out = self.signal_minus_noise(x, q, k, layer, d)
        elif self.type == "differential_v2":
            out = self.gated_difference(x, q, k, layer, d)
        else:
            v = self.heads(x, "v_proj", layer, d)
            share = q.shape[1] // k.shape[1]
            out = [self.softmax(layer, q, k, h, h // share) @ v[:, h // share] for h in range(q.shape[1])]
        return self.linear(np.concatenate(out, axis=1), "self_attn.o_proj", layer)

    def lambda_of(self, layer):
        q1, k1, q2, k2 = (self.weight("self_attn.lambda_" + n, layer) for n in ("q1", "k1", "q2", "k2"))
        return np.exp(q1 @ k1) - np.exp(q2 @ k2) + self.config["lambda_init"][layer]

    def signal_minus_noise(self, x, q, k, layer, d):
        noise_heads = self.config["num_noise_heads"]
        ratio = (self.config["num_attention_heads"] - noise_heads) // noise_heads
        groups = self.config["num_key_value_heads"] // 2
        v = self.heads(x, "v_proj", layer, 2 * d)
        initial = self.config["lambda_init"][layer]
        lam = self.lambda_of(layer)
        subln = self.weight("self_attn.subln.weight", layer)
        out = []
        for noise in range(noise_heads):
            group = noise // (noise_heads // groups)
            first = noise * (ratio + 1)
            noise_map = self.softmax(layer, q, k, first + ratio, 2 * group + 1)
            for p in range(ratio):
                signal_map = self.softmax(layer, q, k, first + p, 2 * group)
                # The maps are subtracted here; the program subtracts the outputs.
                difference = (signal_map - lam * noise_map) @ v[:, group]
                eps = self.config["attn_rms_norm_eps"]
                out.append((1.0 - initial) * rms_norm(difference, subln, eps))
        return out

    def gated_difference(self, x, q, k, layer, d):
        v = self.heads(x, "v_proj", layer, d)
        gate = sigmoid(self.linear(x, "self_attn.lambda_proj", layer))
        share = q.shape[1] // k.shape[1]
        attended = [self.softmax(layer, q, k, h, h // share) @ v[:, h // share] for h in range(q.shape[1])]
        return [
            attended[2 * i] - gate[:, i : i + 1] * attended[2 * i + 1] for i in range(len(attended) // 2)
        ]

    def feed_forward(self, x, layer):
        gate = self.linear(x, "mlp.gate_proj", layer)
        up = self.linear(x, "mlp.up_proj", layer)
        if self.config["hidden_act"] == "poly_norm":
            act = poly_norm(gate, self.weight("mlp.act_fn.weight", layer), self.weight("mlp.act_fn.bias", layer),
                            self.config["gda"].get("poly_norm_eps", 1e-6))
        else:
            act = gate * sigmoid(gate)
        return self.linear(act * up, "mlp.down_proj", layer)

    def predict(self, tokens, positions, visible):
        """log p(token | what token i sees) [tokens, vocabulary]. visible [i, j]: token i sees token j."""
        self.positions, self.visible = positions, visible
        eps = self.config["rms_norm_eps"]
        embedding = self.weight("model.embed_tokens.weight")
        x = embedding[tokens]
        for layer in range(self.config["num_hidden_layers"]):
            x = x + self.attention(rms_norm(x, self.weight("input_layernorm.weight", layer), eps), layer)
            x = x + self.feed_forward(
                rms_norm(x, self.weight("post_attention_layernorm.weight", layer), eps), layer
            )
        head = embedding if self.config["tie_word_embeddings"] else self.weight("lm_head.weight")
        return log_softmax(rms_norm(x, self.weight("model.norm.weight"), eps) @ head.T)

    def log_probabilities(self, tokens):
        """log p(token i+1 | tokens 0..i) for every i but the last."""
        count = len(tokens)
        predicted = self.predict(tokens, np.arange(count), np.tri(count, dtype=bool))
        return predicted[np.arange(count - 1), tokens[1:]]
