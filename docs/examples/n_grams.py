# %% [markdown]
# # A language model: what does a longer context buy?
#
# Python ships the text of its own manual (`pydoc_data.topics`). Models of bytes that look at 0, 1, 2 and 4 bytes before
# learn most of its topics and predict the others. How many bits a byte costs each, and is the longest surely the best?

# %%
from collections import Counter, defaultdict
from pydoc_data.topics import topics

import numpy as np

import fastxent as fx

names = sorted(topics)
texts = {name: np.frombuffer(topics[name].encode(), np.uint8) for name in names}
held_out = [name for name in names[::7] if 300 < len(texts[name]) < 4000][:8]
train = [texts[name] for name in names if name not in held_out]
print(
    len(train),
    "topics to learn from,",
    sum(map(len, train)),
    "bytes;",
    sum(len(texts[name]) for name in held_out),
    "to predict",
)


# %% [markdown]
# ## Train
#
# Counts of the byte after a context. Probabilities of a context are mixed with those of the shorter one, which counts
# as much as there were different bytes (Witten and Bell), down to even ones. So no byte has probability 0.


# %%
def counted(order):
    """How often a byte comes after a context of so many bytes."""
    counts = defaultdict(Counter)
    for text in train:
        data = text.tobytes()
        for i in range(order, len(data)):
            counts[data[i - order : i]][data[i]] += 1
    return counts


tables = {order: counted(order) for order in range(5)}


def predicted(context):
    """Probabilities of the 256 bytes after a context."""
    p = np.full(256, 1 / 256)
    for order in range(len(context) + 1):
        seen = tables[order].get(context[len(context) - order :])
        if seen:
            kinds, total = len(seen), seen.total()
            p *= kinds / (kinds + total)
            p[list(seen)] += np.array(list(seen.values())) / (kinds + total)
    return p


# %% [markdown]
# ## Dump
#
# A row a byte: 256 log-probabilities, the byte that came, its topic and its place there.

# %%
orders = [0, 1, 2, 4]
for order in orders:
    with fx.PredictionWriter(f"order{order}.parquet", form="log_probs", num_classes=256, overwrite=True) as writer:
        for name in held_out:
            data = texts[name].tobytes()
            p = np.array([predicted(data[max(0, i - order) : i]) for i in range(len(data))])
            place = np.arange(len(data))
            writer.write(np.log(p), target=texts[name].astype(np.int32), topic=[name] * len(data), place=place)

# %% [markdown]
# ## Bits per byte
#
# Bytes of a topic depend on one another, so errors come from topics.

# %%
for order in orders:
    ev = fx.evaluate(f"order{order}.parquet", base=2, cluster_by="topic")
    print(f"{order} bytes before: {ev.loss:.3f} ± {ev.loss_stats.stderr:.3f} bits a byte, {ev.accuracy:.1%} guessed")

# %% [markdown]
# ## Where in a topic does the longest lose?

# %%
longest = fx.evaluate(
    "order4.parquet", base=2, cluster_by="topic", group_by="place:0,4,16,64,256,1024", worst=5, keep=["topic", "place"]
)
longest.plot("trend")
# %%
longest.worst.to_pandas()[["topic", "place", "loss", "target", "predicted"]]

# %% [markdown]
# ## The answer
#
# Byte by byte, paired, each with the longest; p-values adjusted for the three comparisons.

# %%
found = fx.compare_all(
    "order4.parquet",
    {str(order): f"order{order}.parquet" for order in orders[:-1]},
    on=["topic", "place"],
    cluster_by="topic",
    base=2,
)
found.table.to_pandas()[["name", "loss_a", "loss_b", "delta", "ci_low", "ci_high", "p_holm"]]

# %%
for name, result in found.results.items():
    print(f"4 bytes in place of {name} save {-result.delta.mean:.2f} bits a byte (p = {found.p_holm[name]:.2g}).")
