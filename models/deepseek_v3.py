# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The `deepseek_v3` architecture, written for training tiny models of it on a CPU.

Latent attention in its expanded form, YaRN, a mixture of experts with sigmoid scores, grouped
selection and a correction bias, and one multi-token-prediction (MTP) layer. Weights are kept in
float32; products are computed in `Model.compute`, everything else in float32.

Shapes below: B sequences of T tokens, N = B*T, hidden size H, E experts of inner size F, k of
them chosen per token.
"""

import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

import block_fp8


class Linear(nn.Module):
    """A matrix [out, in] which the checkpoint holds in F8_E4M3, unless it is `plain` (BF16)."""

    def __init__(self, model, rows, columns, scale=1.0, plain=False):
        super().__init__()
        self.model, self.plain = [model], plain
        self.weight = nn.Parameter(torch.randn(rows, columns) * scale / math.sqrt(columns))

    def forward(self, x):
        model = self.model[0]
        return F.linear(x.to(model.compute), model.stored(self.weight, self.plain))


class Norm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(size)), epsilon

    def forward(self, x):
        return F.rms_norm(x.float(), x.shape[-1:], self.weight, self.epsilon)


def yarn_frequencies(c):
    """Radians per position of each pair of rotary features."""
    size, base, scaling = c.qk_rope_head_dim, c.rope_theta, c.rope_scaling

    def pair_turning(turns):
        return size * math.log(scaling["original_max_position_embeddings"] / (turns * 2 * math.pi)) / (
            2 * math.log(base))

    low = max(math.floor(pair_turning(scaling["beta_fast"])), 0)
    high = min(math.ceil(pair_turning(scaling["beta_slow"])), size - 1)
    plain = base ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
    ramp = ((torch.arange(size // 2) - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    return plain / scaling["factor"] * ramp + plain * (1 - ramp)


def yarn_gain(factor, mscale):
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def rotate(x, cos, sin):
    """Turns the pairs (2i, 2i+1) of x [..., features] by the angles' cosines and sines."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, model, c):
        super().__init__()
        self.model, self.c = [model], c
        heads, latent = c.num_attention_heads, c.kv_lora_rank
        self.q_a_proj = Linear(model, c.q_lora_rank, c.hidden_size)
        self.q_a_layernorm = Norm(c.q_lora_rank, 1e-6)
        self.q_b_proj = Linear(model, heads * (c.qk_nope_head_dim + c.qk_rope_head_dim), c.q_lora_rank)
        self.kv_a_proj_with_mqa = Linear(model, latent + c.qk_rope_head_dim, c.hidden_size)
        self.kv_a_layernorm = Norm(latent, 1e-6)
        self.kv_b_proj = Linear(model, heads * (c.qk_nope_head_dim + c.v_head_dim), latent)
        self.o_proj = Linear(model, c.hidden_size, heads * c.v_head_dim,
                             1 / math.sqrt(2 * c.num_hidden_layers))
        gain = yarn_gain(c.rope_scaling["factor"], c.rope_scaling["mscale_all_dim"])
        self.scale = gain ** 2 / math.sqrt(c.qk_nope_head_dim + c.qk_rope_head_dim)

    def forward(self, x, cache):
        """x [B, T, H]; a cache (a dict, or None) holds the keys and values of earlier tokens."""
        c, model = self.c, self.model[0]
        batch, length = x.shape[:2]
        past = cache[self][0].shape[2] if cache and self in cache else 0
        cos, sin = model.angles(past, length)
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        q = q.unflatten(-1, (c.num_attention_heads, -1)).transpose(1, 2)
        q_nope, q_rope = q.split([c.qk_nope_head_dim, c.qk_rope_head_dim], -1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split([c.kv_lora_rank, c.qk_rope_head_dim], -1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent))
        kv = kv.unflatten(-1, (c.num_attention_heads, -1)).transpose(1, 2)
        k_nope, v = kv.split([c.qk_nope_head_dim, c.v_head_dim], -1)
        q = torch.cat((q_nope, rotate(q_rope, cos, sin).to(q.dtype)), -1)
        k_rope = rotate(k_rope, cos, sin).to(q.dtype).unsqueeze(1)
        k = torch.cat((k_nope, k_rope.expand(-1, c.num_attention_heads, -1, -1)), -1)
        if cache is not None:
            if past:
                k = torch.cat((cache[self][0], k), 2)
                v = torch.cat((cache[self][1], v), 2)
            cache[self] = k, v
        scores = (q * self.scale) @ k.transpose(-1, -2)
        if length > 1:
            scores = scores + model.mask(past, length, scores.dtype)
        out = scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
        return self.o_proj(out.transpose(1, 2).flatten(-2))


class Dense(nn.Module):
    def __init__(self, model, c, inner):
        super().__init__()
        self.gate_proj = Linear(model, inner, c.hidden_size)
        self.up_proj = Linear(model, inner, c.hidden_size)
        self.down_proj = Linear(model, c.hidden_size, inner, 1 / math.sqrt(2 * c.num_hidden_layers))

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(torch.autograd.Function):
    """Sum of the chosen experts' outputs [N, H]: tokens are sorted by expert, so that each expert
    is three products over consecutive rows. The weight of a choice scales its inner features."""

    @staticmethod
    def forward(ctx, x, chosen, weights, gate_up, down):
        k = chosen.shape[1]
        order = chosen.flatten().argsort(stable=True)
        ends = chosen.flatten().bincount(minlength=gate_up.shape[0]).cumsum(0).tolist()
        spans = [(e, begin, end) for e, (begin, end) in enumerate(zip([0] + ends, ends)) if end > begin]
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        rows = x[order // k]
        share = weights.flatten()[order].to(x.dtype).unsqueeze(1)
        inner = x.new_empty(len(order), gate_up.shape[1])
        for e, begin, end in spans:
            torch.mm(rows[begin:end], gate_up[e].t(), out=inner[begin:end])
        gate, up = inner.chunk(2, -1)
        features = F.silu(gate) * up
        scaled = features * share
        out = x.new_empty(len(order), x.shape[1])
        for e, begin, end in spans:
            torch.mm(scaled[begin:end], down[e].t(), out=out[begin:end])
        ctx.save_for_backward(order, place, rows, share, inner, features, scaled, gate_up, down)
        ctx.spans, ctx.k = spans, k
        return out[place].view(len(x), k, -1).sum(1)

    @staticmethod
    def backward(ctx, grad):
        order, place, rows, share, inner, features, scaled, gate_up, down = ctx.saved_tensors
        grad = grad.to(rows.dtype)[order // ctx.k]
        d_scaled = torch.empty_like(scaled)
        d_down, d_gate_up = torch.zeros_like(down), torch.zeros_like(gate_up)
        for e, begin, end in ctx.spans:
            torch.mm(grad[begin:end], down[e], out=d_scaled[begin:end])
            torch.mm(grad[begin:end].t(), scaled[begin:end], out=d_down[e])
        d_weights = (d_scaled * features).sum(-1, dtype=torch.float32)[place].view(-1, ctx.k)
        d_features = d_scaled * share
        gate, up = inner.chunk(2, -1)
        sigmoid = gate.sigmoid()
        silu = gate * sigmoid
        d_inner = torch.cat((d_features * up * (sigmoid + silu - silu * sigmoid), d_features * silu), -1)
        d_rows = torch.empty_like(rows)
        for e, begin, end in ctx.spans:
            torch.mm(d_inner[begin:end], gate_up[e], out=d_rows[begin:end])
            torch.mm(d_inner[begin:end].t(), rows[begin:end], out=d_gate_up[e])
        return d_rows[place].view(-1, ctx.k, rows.shape[1]).sum(1), None, d_weights, d_gate_up, d_down


class Mixture(nn.Module):
    def __init__(self, model, c):
        super().__init__()
        self.model, self.c = [model], c
        experts, inner, hidden = c.n_routed_experts, c.moe_intermediate_size, c.hidden_size
        self.router = nn.Parameter(torch.randn(experts, hidden) / math.sqrt(hidden))
        self.register_buffer("correction", torch.zeros(experts))
        self.gate_up = nn.Parameter(torch.randn(experts, 2, inner, hidden) / math.sqrt(hidden))
        self.down = nn.Parameter(torch.randn(experts, hidden, inner)
                                 / math.sqrt(inner * 2 * c.num_hidden_layers))
        self.shared = Dense(model, c, c.n_shared_experts * inner)
        self.load = None

    def choose(self, x):
        """Indices and weights [N, k] of the experts of x [N, H]; the bias only selects."""
        c = self.c
        scores = F.linear(x.float(), self.router).sigmoid()
        ranked = scores.detach() + self.correction
        groups = ranked.unflatten(-1, (c.n_group, -1))
        best = groups.topk(2, -1)[0].sum(-1).topk(c.topk_group, -1)[1]
        kept = torch.zeros_like(groups[..., 0], dtype=torch.bool).scatter(-1, best, True)
        ranked = groups.masked_fill(~kept.unsqueeze(-1), -math.inf).flatten(-2)
        chosen = ranked.topk(c.num_experts_per_tok, -1)[1]
        weights = scores.gather(-1, chosen)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * c.routed_scaling_factor
        return chosen, weights

    def forward(self, x):
        model, rows = self.model[0], x.flatten(0, -2)
        chosen, weights = self.choose(rows)
        if self.training:
            self.load = chosen.flatten().bincount(minlength=self.c.n_routed_experts)
        routed = Experts.apply(rows.to(model.compute), chosen, weights,
                               model.stored(self.gate_up).flatten(1, 2), model.stored(self.down))
        return routed.view(x.shape) + self.shared(x)

    def balance(self, step):
        """Auxiliary-loss-free balancing: raise the bias of idle experts, lower that of busy ones."""
        load = self.load.float()
        self.correction += step * (load.mean() - load).sign()


class Layer(nn.Module):
    def __init__(self, model, c, index):
        super().__init__()
        self.input_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = Attention(model, c)
        self.post_attention_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        dense = index < c.first_k_dense_replace
        self.mlp = Dense(model, c, c.intermediate_size) if dense else Mixture(model, c)

    def forward(self, x, cache=None):
        x = x + self.self_attn(self.input_layernorm(x), cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Draft(nn.Module):
    """The MTP layer: from the hidden state of token i and token i+1 to token i+2."""

    def __init__(self, model, c):
        super().__init__()
        self.enorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.hnorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.eh_proj = Linear(model, c.hidden_size, 2 * c.hidden_size, plain=True)
        self.layer = Layer(model, c, c.num_hidden_layers)
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)

    def forward(self, hidden, embedded):
        return self.norm(self.layer(self.eh_proj(
            torch.cat((self.enorm(embedded), self.hnorm(hidden)), -1)).float()))


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = SimpleNamespace(**config)
        self.compute, self.fp8 = torch.float32, False
        self.embed_tokens = nn.Parameter(torch.randn(c.vocab_size, c.hidden_size) * 0.05)
        self.layers = nn.ModuleList(Layer(self, c, i) for i in range(c.num_hidden_layers))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)
        self.lm_head = Linear(self, c.vocab_size, c.hidden_size, plain=True)
        self.draft = Draft(self, c)
        self.frequencies = yarn_frequencies(c)
        scaling = c.rope_scaling
        self.rope_gain = (yarn_gain(scaling["factor"], scaling["mscale"])
                          / yarn_gain(scaling["factor"], scaling["mscale_all_dim"]))
        self.remembered = {}

    def stored(self, weight, plain=False):
        """The weight for a product: rounded as the checkpoint rounds it when `fp8` is set."""
        weight = block_fp8.rounded(weight) if self.fp8 and not plain else weight
        return weight.to(self.compute)

    def angles(self, past, length):
        key = past, length
        if key not in self.remembered:
            angles = torch.arange(past, past + length).unsqueeze(1) * self.frequencies
            self.remembered[key] = angles.cos() * self.rope_gain, angles.sin() * self.rope_gain
        return self.remembered[key]

    def mask(self, past, length, dtype):
        key = past, length, dtype
        if key not in self.remembered:
            hidden = torch.full((length, past + length), -math.inf, dtype=dtype)
            self.remembered[key] = hidden.triu(past + 1)
        return self.remembered[key]

    def forward(self, ids, cache=None):
        """Hidden states [B, T, H] after the final norm."""
        x = F.embedding(ids, self.embed_tokens)
        for layer in self.layers:
            x = layer(x, cache)
        return self.norm(x)

    def drafted(self, hidden, ids):
        """States [B, T-1, H] which the head turns into drafts of tokens 2..T, from those of forward."""
        return self.draft(hidden[:, :-1], F.embedding(ids[:, 1:], self.embed_tokens))

    def logits(self, states):
        return self.lm_head(states).float()

    def mixtures(self):
        return [module for module in self.modules() if isinstance(module, Mixture)]
