"""The peer of scripts/bench_cpu.sh and scripts/gpu_check.sh: a training step in PyTorch.

The same models as scripts/bench/softmax-124m.yaml (the default), softmax-1.5b.yaml and
gda-1.5b.yaml: pre-norm layers, RoPE, SwiGLU, RMSNorm. PyTorch's own fused parts are used where it
has them (attention, RMSNorm, cross-entropy, AdamW), and bf16 autocast on a GPU or where the
processor multiplies bf16. Prints one JSON object: seconds of each step, and peak memory.

With --layers A B it measures models of A and of B layers and prints a line with the tokens per second
of the whole model, whose layers take equally long: enough layers to tell, few enough for a minute.
"""

import argparse
import copy
import json
import math
import resource
import time

import torch
import torch.nn.functional as F
from torch import nn

class Sizes:
    def __init__(self, layers, hidden, head, heads, noise, groups, ffn, vocab, theta, tied):
        self.layers, self.hidden, self.head, self.heads = layers, hidden, head, heads
        self.noise, self.groups, self.ffn, self.vocab = noise, groups, ffn, vocab
        self.theta, self.tied = theta, tied


# heads: signal heads where there are noise heads, else query heads; groups: of keys and values.
MODELS = {
    "softmax-124m": Sizes(12, 768, 64, 12, 0, 12, 2048, 50304, 1e4, True),
    "softmax-1.5b": Sizes(24, 2048, 128, 16, 0, 4, 7936, 32000, 5e5, False),
    "gda-1.5b": Sizes(24, 2048, 128, 8, 2, 2, 8192, 32000, 5e5, False),
}


def rotate(x, cos, sin):
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


def attend(q, k, v):
    return F.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1]
    )


class Softmax(nn.Module):
    def __init__(self, sizes, layer):
        super().__init__()
        self.widths = [sizes.heads, sizes.groups, sizes.groups]
        self.head = sizes.head
        self.qkv = nn.Linear(sizes.hidden, sum(self.widths) * sizes.head, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, -1, self.head).transpose(1, 2)
        q, k, v = heads.split(self.widths, dim=1)
        return attend(rotate(q, cos, sin), rotate(k, cos, sin), v)


class GroupedDifferential(nn.Module):
    def __init__(self, sizes, layer):
        super().__init__()
        self.sizes = sizes
        self.ratio = sizes.heads // sizes.noise
        # Signal and noise queries, signal and noise keys, and values of twice their width.
        self.widths = [sizes.heads, sizes.noise, sizes.groups, sizes.groups, 2 * sizes.groups]
        self.qkv = nn.Linear(sizes.hidden, sum(self.widths) * sizes.head, bias=False)
        # A tensor, so that all layers are the same program to torch.compile.
        self.register_buffer("init", torch.tensor(0.8 - 0.6 * math.exp(-0.3 * layer)))
        self.vectors = nn.ParameterList(
            nn.Parameter(0.1 * torch.randn(sizes.head)) for _ in range(4)
        )
        self.norm = nn.RMSNorm(2 * sizes.head, eps=1e-5)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, -1, self.sizes.head).transpose(1, 2)
        signal_q, noise_q, signal_k, noise_k, v = heads.split(self.widths, dim=1)
        halves = v[:, 0::2], v[:, 1::2]

        def output(q, k):
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            return torch.cat([attend(q, k, half) for half in halves], dim=-1)

        q1, k1, q2, k2 = self.vectors
        weight = torch.exp((q1 * k1).sum()) - torch.exp((q2 * k2).sum()) + self.init
        noise = output(noise_q, noise_k).repeat_interleave(self.ratio, dim=1)
        return self.norm(output(signal_q, signal_k) - weight * noise) * (1 - self.init)


class Layer(nn.Module):
    def __init__(self, sizes, layer):
        super().__init__()
        self.attention_norm = nn.RMSNorm(sizes.hidden, eps=1e-5)
        self.attention = (GroupedDifferential if sizes.noise else Softmax)(sizes, layer)
        width = sizes.heads * sizes.head * (2 if sizes.noise else 1)
        self.out = nn.Linear(width, sizes.hidden, bias=False)
        self.feed_forward_norm = nn.RMSNorm(sizes.hidden, eps=1e-5)
        self.gate_up = nn.Linear(sizes.hidden, 2 * sizes.ffn, bias=False)
        self.down = nn.Linear(sizes.ffn, sizes.hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        y = self.attention(self.attention_norm(x), cos, sin)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, -1))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, sizes, length):
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocab, sizes.hidden)
        self.layers = nn.ModuleList(Layer(sizes, layer) for layer in range(sizes.layers))
        self.norm = nn.RMSNorm(sizes.hidden, eps=1e-5)
        self.lm_head = nn.Linear(sizes.hidden, sizes.vocab, bias=False)
        if sizes.tied:
            self.lm_head.weight = self.embedding.weight
        steps = torch.arange(0, sizes.head, 2) / sizes.head
        angles = torch.outer(torch.arange(length), sizes.theta**-steps)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = self.lm_head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def train(arguments, sizes, has_bf16):
    """Seconds of each step, and the number of parameters."""
    device = arguments.device
    torch.manual_seed(1)
    model = Model(sizes, arguments.length).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    if arguments.compile == "layers":
        for layer in model.layers:
            layer.compile()
    run = torch.compile(model) if arguments.compile == "model" else model
    tokens = torch.randint(sizes.vocab, (arguments.batch, arguments.length + 1), device=device)
    seconds = []
    for _ in range(arguments.warmup + arguments.steps):
        begin = time.perf_counter()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=has_bf16):
            loss = run(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        seconds.append(time.perf_counter() - begin)
    return seconds[arguments.warmup :], sum(p.numel() for p in model.parameters())


def scaled(arguments, sizes, has_bf16):
    """Prints the rate of the whole model, from those of two depths: eager first, then compiled."""
    for way in ("", arguments.compile) if arguments.compile else ("",):
        arguments.compile = way
        times = []
        for layers in arguments.layers:
            part = copy.copy(sizes)
            part.layers = layers
            times.append(min(train(arguments, part, has_bf16)[0]))
        a, b = arguments.layers
        whole = times[0] + (times[1] - times[0]) / (b - a) * (sizes.layers - a)
        rate = arguments.batch * arguments.length / whole
        parts = ", ".join(f"{n} layers {t:.4f} s" for n, t in zip(arguments.layers, times))
        name = f"torch.compile of each of its {way}" if way else "eager"
        print(f"tokens/s {rate:.0f}: PyTorch, {name}; {parts}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--model", default="softmax-124m", choices=list(MODELS))
    parser.add_argument("--layers", type=int, nargs=2, help="measure these depths, and scale")
    parser.add_argument(
        "--compile", default="", choices=["layers", "model"], help="through torch.compile"
    )
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    with open("/proc/cpuinfo") as cpu:
        flags = cpu.read()
    has_bf16 = arguments.device == "cuda" or "avx512_bf16" in flags or "amx_bf16" in flags
    sizes = MODELS[arguments.model]
    if arguments.layers:
        scaled(arguments, sizes, has_bf16)
        return
    seconds, parameters = train(arguments, sizes, has_bf16)
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "compute": "bf16" if has_bf16 else "fp32",
                "parameters": parameters,
                "seconds": seconds,
                "peak_gib": torch.cuda.max_memory_allocated() / 2**30
                if arguments.device == "cuda"
                else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            }
        )
    )


if __name__ == "__main__":
    main()
