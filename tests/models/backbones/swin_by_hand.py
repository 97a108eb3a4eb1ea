"""A Swin block place by place, in NumPy, as a reference."""

import math

import numpy as np

Weights = dict[str, np.ndarray]


def weights_of(module) -> Weights:
    return {key: value.detach().double().numpy() for key, value in module.state_dict().items()}


def layer_norm(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def see_each_other(a, b, side: int, window: int, shift: int) -> bool:
    """Whether two places share a window of the shifted grid, without going round the edge."""
    for p, q in zip(a, b, strict=True):
        if (p < shift) != (q < shift):
            return False
        if (p - shift) % side // window != (q - shift) % side // window:
            return False
    return True


def attention(w: Weights, x: np.ndarray, prompts: np.ndarray, heads: int, window: int, shift: int):
    """Attend from each place, and from each prompt in each window, to what it may see.

    `x` is (H, H, C), `prompts` (t, C); `w` has qkv, proj and relative_position_bias_table.
    """
    side, _, channels = x.shape
    size = channels // heads
    places = [(i, j) for i in range(side) for j in range(side)]

    def head_parts(vector):
        return linear(w, "qkv", vector).reshape(3, heads, size)

    at = {place: head_parts(x[place]) for place in places}
    of_prompts = [head_parts(prompt) for prompt in prompts]
    table = w["relative_position_bias_table"]

    def attend(parts, seen, biases):
        result = []
        for head in range(heads):
            scores = [
                parts[0, head] @ other[1, head] / math.sqrt(size) + bias[head]
                for other, bias in zip(seen, biases, strict=True)
            ]
            shares = np.exp(np.array(scores) - max(scores))
            shares /= shares.sum()
            result.append(sum(s * other[2, head] for s, other in zip(shares, seen, strict=True)))
        return linear(w, "proj", np.concatenate(result))

    nothing = np.zeros(heads)
    y = np.empty_like(x)
    windows: dict[tuple, list] = {}
    for place in places:
        key = tuple((p - shift) % side // window for p in place)
        windows.setdefault(key, []).append(place)
        seen = [other for other in places if see_each_other(place, other, side, window, shift)]
        biases = [
            table[
                (place[0] - other[0] + window - 1) * (2 * window - 1)
                + (place[1] - other[1] + window - 1)
            ]
            for other in seen
        ]
        y[place] = attend(
            at[place],
            [at[other] for other in seen] + of_prompts,
            biases + [nothing] * len(of_prompts),
        )
    p = np.zeros_like(prompts)
    for index, parts in enumerate(of_prompts):
        for members in windows.values():
            seen = [at[other] for other in members] + of_prompts
            p[index] += attend(parts, seen, [nothing] * len(seen)) / len(windows)
    return y, p


def sub(w: Weights, name: str) -> Weights:
    return {k.removeprefix(f"{name}."): v for k, v in w.items() if k.startswith(f"{name}.")}


def block(w: Weights, x: np.ndarray, prompts: np.ndarray, heads: int, window: int, shift: int):
    normed = layer_norm(w, "norm1", x), layer_norm(w, "norm1", prompts)
    y, p = attention(sub(w, "attn"), *normed, heads, window, shift)

    def finish(z):
        return z + linear(w, "mlp.fc2", gelu(linear(w, "mlp.fc1", layer_norm(w, "norm2", z))))

    return finish(x + y), finish(prompts + p)
