"""The plain way: TSFmicro in eager float32, and a training step on it, as one writes them down the first time.

Straight from the equations: attention with its whole matrix, bias and angles made anew in every pass (as published
implementations do), maps of channels first, no fused kernel. Nothing here is slow on purpose. Modules carry the names
of `tsfmicro_lab.models`, so that both can be given the same weights and must give the same logits.
"""

import io

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


def decay(heads, spread, initial=2.0):
    return torch.log(1 - 2 ** (-initial - spread * torch.arange(heads, dtype=torch.float) / heads))


def bias_of(heads, spread, height, width, device):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([y, x], -1).reshape(-1, 2).to(device)
    distance = (places[:, None] - places[None]).abs().sum(-1)
    return decay(heads, spread).to(device)[:, None, None] * distance


def turn(x, length):
    angle = 1.0 / (10000 ** torch.linspace(0, 1, x.shape[-1] // 2, device=x.device))
    angle = angle.unsqueeze(-1).repeat(1, 2).flatten()
    index = torch.arange(length, device=x.device)
    sin, cos = torch.sin(index[:, None] * angle), torch.cos(index[:, None] * angle)
    quarter = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    return x * cos + quarter * sin


class DropPath(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class DepthwiseConv(nn.Module):
    def __init__(self, dim, kernel):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(dim, 1, kernel, kernel)), nn.Parameter(torch.zeros(dim))

    def forward(self, x):  # B H W C
        x = x.permute(0, 3, 1, 2).contiguous()
        x = F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2, groups=len(self.bias))
        return x.permute(0, 2, 3, 1).contiguous()


class Retention(nn.Module):
    def __init__(self, dim, heads, decomposed, spread):
        super().__init__()
        self.heads, self.decomposed, self.spread = heads, decomposed, spread
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.local = DepthwiseConv(dim, 5)

    def forward(self, x):
        b, h, w, c = x.shape
        n, d = self.heads, c // self.heads
        q, k, v = self.q(x), self.k(x), self.v(x)
        local = self.local(v)
        k = k * d**-0.5
        q, k, v = (t.view(b, h * w, n, d).transpose(1, 2) for t in (q, k, v))
        q, k = turn(q, h * w), turn(k, h * w)
        if self.decomposed:
            q, k, v = (t.reshape(b, n, h, w, d) for t in (q, k, v))
            scores = torch.matmul(q.permute(0, 2, 1, 3, 4), k.permute(0, 2, 1, 4, 3))  # b h n w w
            weights = torch.softmax(scores + bias_of(n, self.spread, 1, w, x.device), -1)
            v = torch.matmul(weights, v.permute(0, 2, 1, 3, 4))  # b h n w d
            scores = torch.matmul(q.permute(0, 3, 1, 2, 4), k.permute(0, 3, 1, 4, 2))  # b w n h h
            weights = torch.softmax(scores + bias_of(n, self.spread, 1, h, x.device), -1)
            out = torch.matmul(weights, v.permute(0, 3, 2, 1, 4)).permute(0, 3, 1, 2, 4)  # b h w n d
        else:
            weights = torch.softmax(q @ k.transpose(-1, -2) + bias_of(n, self.spread, h, w, x.device), -1)
            out = (weights @ v).transpose(1, 2)
        return self.out(out.reshape(b, h, w, c) + local)


class FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.widen, self.narrow, self.local = (
            nn.Linear(dim, 3 * dim),
            nn.Linear(3 * dim, dim),
            DepthwiseConv(3 * dim, 3),
        )

    def forward(self, x):
        x = F.gelu(self.widen(x))
        return self.narrow(x + self.local(x))


class Block(nn.Module):
    def __init__(self, dim, heads, decomposed, spread, drop_path):
        super().__init__()
        self.position = DepthwiseConv(dim, 3)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.retention, self.ffn = Retention(dim, heads, decomposed, spread), FeedForward(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        x = x + self.position(x)
        x = x + self.drop_path(self.retention(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class Downsample(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o)

    def forward(self, x):
        return self.norm(self.conv(x.permute(0, 3, 1, 2).contiguous())).permute(0, 2, 3, 1).contiguous()


class Pyramid(nn.Module):
    def __init__(self, c):
        super().__init__()
        rates = iter(torch.linspace(0, c.drop_path, sum(c.depths)).tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Block(dim, c.heads, c.decomposed[i], c.spreads[i], next(rates)) for _ in range(c.depths[i]))
            )
            for i, dim in enumerate(c.dims)
        )
        self.downsamples = nn.ModuleList(Downsample(i, o) for i, o in zip(c.dims[:-1], c.dims[1:], strict=True))

    def forward(self, x):
        x = x.permute(0, 2, 3, 1).contiguous()
        for i, stage in enumerate(self.stages):
            x = stage(x)
            x = self.downsamples[i](x) if i < len(self.downsamples) else x
        return x.permute(0, 3, 1, 2).contiguous()


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5, -1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))


class TransformerBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Embedding(nn.Module):
    def __init__(self, grid, dim):
        super().__init__()
        self.proj, self.position = nn.Conv2d(3, dim, 1), nn.Parameter(0.02 * torch.randn(1, grid * grid, dim))

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2) + self.position


class ViT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed = Embedding(c.grid, c.dims[-1])
        self.blocks = nn.Sequential(*(TransformerBlock(c.dims[-1], c.spatial_heads) for _ in range(c.spatial_depth)))
        self.norm = nn.LayerNorm(c.dims[-1], eps=1e-6)

    def forward(self, x):
        return self.norm(self.blocks(self.embed(x)))


class PlainLate(nn.Module):
    """Late fusion of a configuration; takes the state dict of `TSFmicroLate`."""

    def __init__(self, c):
        super().__init__()
        self.config, dim = c, c.dims[0]
        layers = []
        for i, o, stride in ((3, dim // 2, 2), (dim // 2, dim // 2, 1), (dim // 2, dim, 1), (dim, dim, 1)):
            layers += [nn.Conv2d(i, o, 3, stride, 1), nn.BatchNorm2d(o), nn.GELU()]
        self.stem = nn.Sequential(*layers[:-1])
        self.temporal = Pyramid(c)
        self.spatial = nn.ModuleDict({"vit": ViT(c)})
        self.classifier = nn.ModuleDict(
            {
                "expand": nn.Linear(c.dims[-1], 2 * c.dims[-1]),
                "norm": nn.BatchNorm2d(2 * c.dims[-1]),
                "head": nn.Linear(2 * c.dims[-1], c.num_classes),
            }
        )

    def forward(self, onset, difference):
        how = self.temporal(self.stem(difference))
        small = F.interpolate(onset, (self.config.grid,) * 2, mode="bilinear", antialias=True)
        where = self.spatial["vit"](small)
        where = where.transpose(1, 2).reshape(how.shape)
        x = self.classifier["expand"]((how + where).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()
        x = F.silu(self.classifier["norm"](x))
        return self.classifier["head"](F.adaptive_avg_pool2d(x, 1).flatten(1))


def plain_of(model):
    """The plain twin of a `TSFmicroLate`, of the same weights."""
    twin = PlainLate(model.config)
    twin.load_state_dict(model.state_dict())
    return twin.train(model.training)


MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class PlainFrames(Dataset):
    """Clips as lists of encoded frames; every item decodes them, seeks its key frames anew and augments one by one.

    The rule is that of the public training code: of onset+i and apex-j with i, j ≤ 0.15 · (apex-onset) / 4 the pair
    that differs most.
    """

    def __init__(self, clips, labels, size):
        self.clips, self.labels, self.size, self.random = clips, labels, size, np.random.default_rng(0)

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, i):
        encoded, onset, apex = self.clips[i]
        reach = int(0.15 * (apex - onset) / 4)
        best, pair = -1.0, None
        for a in range(reach + 1):
            for b in range(reach + 1):
                one, two = (self.read(encoded[f]) for f in (onset + a, apex - b))
                far = float(np.linalg.norm(one.astype(np.float32) - two.astype(np.float32)))
                if far > best:
                    best, pair = far, (one, two)
        side, pad = self.size, round(self.size * 15 / 224)
        flip, degrees = self.random.random() < 0.5, self.random.uniform(-3, 3)
        top, left = self.random.integers(0, 2 * pad + 1, 2)
        turned = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1)
        out = []
        for frame in pair:
            frame = frame[:, ::-1] if flip else frame
            frame = cv2.warpAffine(np.ascontiguousarray(frame), turned, (side, side))
            frame = cv2.copyMakeBorder(frame, pad, pad, pad, pad, cv2.BORDER_CONSTANT)[
                top : top + side, left : left + side
            ]
            out.append((torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float() / 255 - MEAN) / STD)
        return out[0], out[1] - out[0], self.labels[i]

    def read(self, data):
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def plain_loader(clips, labels, size, batch, workers=0):
    return DataLoader(PlainFrames(clips, labels, size), batch, shuffle=True, num_workers=workers)


def encoded_clips(n, frames, size, seed=0):
    """Smooth textures that drift, as JPEG bytes in memory: what a disk holds, without the time the disk takes."""
    rng, clips = np.random.default_rng(seed), []
    for _ in range(n):
        base = cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3)).astype(np.float32), (0, 0), size / 60)
        base = cv2.normalize(base, None, 0, 255, cv2.NORM_MINMAX)
        moved = [np.roll(base, k // 8, 1).astype(np.uint8) for k in range(frames)]
        clips.append(([io.BytesIO(cv2.imencode(".jpg", f)[1]).getvalue() for f in moved], 0, frames - 1))
    return clips
