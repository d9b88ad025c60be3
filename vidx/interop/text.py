"""BERT: Hugging Face's names; `bert.` in front and gamma, beta for norms in older files."""

from vidx.interop.rules import Rule, aliases, drop, linear, prefixed, raw, scale_bias


def _norm(key: str, path: str) -> list[Rule]:
  return scale_bias(key, path) + aliases(raw(f"{key}.gamma", f"{path}/scale") + raw(f"{key}.beta", f"{path}/bias"))


def huggingface(model) -> list[Rule]:
  """A Hugging Face checkpoint, of the encoder or of pre-training."""
  layer, block = "encoder.layer.{i}", "block{i}"
  rules = []
  for torch_name, name in (("word", "words"), ("position", "positions"), ("token_type", "segments")):
    rules += raw(f"embeddings.{torch_name}_embeddings.weight", f"embed/{name}/embedding")
  for slot, name in enumerate(("query", "key", "value")):
    rules += linear(f"{layer}.attention.self.{name}", f"{block}/attn/qkv", part=(slot, 3))
  rules += (_norm("embeddings.LayerNorm", "embed/norm")
            + linear(f"{layer}.attention.output.dense", f"{block}/attn/proj")
            + _norm(f"{layer}.attention.output.LayerNorm", f"{block}/norm1")
            + linear(f"{layer}.intermediate.dense", f"{block}/mlp/fc1")
            + linear(f"{layer}.output.dense", f"{block}/mlp/fc2") + _norm(f"{layer}.output.LayerNorm", f"{block}/norm2")
            + (linear("pooler.dense", "pooler") if model.pooler else
               drop("pooler.{what:.*}", "the model gives the first token as it is"))
            + drop("embeddings.{what:position_ids|token_type_ids}", "counts up from 0, or is all 0"))
  return (rules + aliases(prefixed(rules, key="bert.")) + drop("cls.{what:.*}", "the heads of pre-training")
          + linear("classifier", "fc", head=True))
