"""The peer of gda's attention kernels: Grouped Differential Attention by PyTorch's fused attention.

PyTorch's kernels have values no wider than keys, so signal and noise each take two calls, one for
each half of V: four calls, then the difference and the norm of the heads. The same shapes as the
benchmarks attention_forward_pass and attention_backward_pass of gda_ops_bench (d 128, d_v 256, 4:1,
three groups, bf16, causal); rates count what Grouped Differential Attention has to compute.
"""

import statistics

import torch
import torch.nn.functional as F

HEAD, GROUPS, RATIO = 128, 3, 4


def attention(q, k, v):
    """q [B, heads, T, d], k [B, G, T, d], v [B, G, T, 2d]."""
    half = lambda part: F.scaled_dot_product_attention(q, k, part, is_causal=True, enable_gqa=True)
    return torch.cat([half(part) for part in v.chunk(2, dim=-1)], dim=-1)


def combine(signal, noise, weight):
    difference = signal - 0.5 * noise.repeat_interleave(RATIO, dim=1)
    return F.rms_norm(difference, (2 * HEAD,), weight, 1e-5)


def milliseconds(run):
    for _ in range(3):
        run()
    times = []
    for _ in range(20):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def measure(batch, length):
    def numbers(heads, width):
        return torch.randn(
            batch, heads, length, width, device="cuda", dtype=torch.bfloat16, requires_grad=True
        )

    signal_q, noise_q = numbers(GROUPS * RATIO, HEAD), numbers(GROUPS, HEAD)
    signal_k, noise_k = numbers(GROUPS, HEAD), numbers(GROUPS, HEAD)
    v = numbers(GROUPS, 2 * HEAD)
    weight = torch.ones(2 * HEAD, device="cuda", dtype=torch.bfloat16, requires_grad=True)

    def forward():
        return combine(attention(signal_q, signal_k, v), attention(noise_q, noise_k, v), weight)

    out = forward()
    gradient = torch.randn_like(out)
    inputs = (signal_q, noise_q, signal_k, noise_k, v, weight)

    def backward():
        torch.autograd.grad(out, inputs, gradient, retain_graph=True)

    pairs = batch * GROUPS * (RATIO + 1) * length * (length + 1) / 2
    for name, run, flops in (
        ("forward", forward, pairs * (2 * HEAD + 2 * 2 * HEAD)),
        ("backward", backward, pairs * (6 * HEAD + 4 * 2 * HEAD)),
    ):
        time = milliseconds(run)
        rate = flops / time * 1e-9
        print(f"torch four calls, {name:8} B {batch} T {length}: {time:7.3f} ms {rate:6.1f} TFLOP/s")


def main():
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    torch.manual_seed(1)
    for batch, length in ((4, 4096), (2, 8192)):
        measure(batch, length)


if __name__ == "__main__":
    main()
