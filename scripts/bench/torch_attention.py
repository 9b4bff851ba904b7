"""The peer of gda's attention kernels: the same attention by PyTorch's fused kernels.

For Grouped Differential Attention 3:1 two ways, with the same shapes as the benchmarks
attention_forward_pass and attention_backward_pass of gda_ops_bench (d 128, d_v 256, four groups, bf16,
causal): two calls at d 128, one for each half of V, with signal and noise heads side by side in each,
as public implementations do; and whether cuDNN takes d_v 256 in one. Then softmax attention of 16
heads, by each of PyTorch's kernels. Rates count what the attention has to compute.
"""

import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

HEAD, GROUPS, RATIO = 128, 4, 3
HEADS = GROUPS * (RATIO + 1)


def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def milliseconds(run):
    for _ in range(3):
        run()
    times = []
    for _ in range(10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def numbers(batch, heads, length, width):
    shape = (batch, heads, length, width)
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True)


def measure(name, forward, inputs, value_width):
    """Prints forward's and backward's rates; what fails is said and passed over."""
    batch, _, length, _ = inputs[0].shape
    pairs = batch * HEADS * length * (length + 1) / 2
    try:
        out = forward()
        gradient = torch.randn_like(out)

        def backward():
            torch.autograd.grad(out, inputs, gradient, retain_graph=True)

        rates = []
        for run, flops in (
            (forward, pairs * (2 * HEAD + 2 * value_width)),
            (backward, pairs * (6 * HEAD + 4 * value_width)),
        ):
            time = milliseconds(run)
            rates.append(f"{time:.3f} ms {flops / time * 1e-9:.1f} TFLOP/s")
        print(f"{name} B {batch} T {length}: forward {rates[0]}, backward {rates[1]}", flush=True)
    except RuntimeError as error:
        print(f"{name} B {batch} T {length}: refused: {str(error).splitlines()[0][:120]}", flush=True)


def two_calls(batch, length):
    """Keys and values are repeated for their heads before the clock starts, as gda's packs are free."""
    q, k = (numbers(batch, HEADS, length, HEAD) for _ in range(2))
    v = numbers(batch, HEADS, length, 2 * HEAD)
    halves = [half.contiguous() for half in v.detach().chunk(2, dim=-1)]
    for half in halves:
        half.requires_grad_()

    def forward():
        return torch.cat([attention(q, k, half) for half in halves], dim=-1)

    measure("torch GDA in two calls,", forward, (q, k, *halves), 2 * HEAD)
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        measure("cudnn GDA in two calls,", forward, (q, k, *halves), 2 * HEAD)
        measure("cudnn d 128 d_v 256 in one,", lambda: attention(q, k, v), (q, k, v), 2 * HEAD)


def softmax(batch, length):
    q, k, v = (numbers(batch, HEADS, length, HEAD) for _ in range(3))
    for name, backend in (
        ("flash", SDPBackend.FLASH_ATTENTION),
        ("cudnn", SDPBackend.CUDNN_ATTENTION),
    ):
        with sdpa_kernel(backend):
            measure(f"softmax {name},", lambda: attention(q, k, v), (q, k, v), HEAD)


def main():
    print(f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}", flush=True)
    torch.manual_seed(1)
    for batch, length in ((4, 4096), (2, 8192)):
        two_calls(batch, length)
        softmax(batch, length)


if __name__ == "__main__":
    main()
