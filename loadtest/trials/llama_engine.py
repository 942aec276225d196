"""A real inference engine as a process: llama.cpp with two slots, serving a model of random weights.

`make side-by-side` runs this file with the interpreter of a folder that has the packages `xllamacpp` and `gguf`
(`loadtest.trials.engine`); no other module imports it. Random weights cost as much as trained ones, and the text of
answers does not matter.
"""

import argparse
import threading
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

EMBEDDING, LAYERS, HEADS, FEED_FORWARD = 512, 8, 8, 1536
SLOT_TOKENS = 1024
END = "<|end|>"
# Tokens are whole characters, so that no answer ends within one. "Ġ" and "Ċ" are GPT-2's blank and line feed.
TOKENS = [END, "Ġ", "Ċ", *map(chr, range(33, 127)), "Ġa"]
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


def write_model(path: Path) -> None:
    """Writes a Llama model whose tokens are printable characters."""
    random, size = np.random.default_rng(1), EMBEDDING
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(SLOT_TOKENS)
    writer.add_embedding_length(size)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(size // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (len(TOKENS) - 1)])
    writer.add_token_merges(["Ġ a"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_chat_template(TEMPLATE)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", random.normal(0, shape[-1] ** -0.5, shape).astype(np.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))

    add("token_embd", len(TOKENS), size)
    for layer in range(LAYERS):
        norm(f"blk.{layer}.attn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}", size, size)
        norm(f"blk.{layer}.ffn_norm")
        add(f"blk.{layer}.ffn_gate", FEED_FORWARD, size)
        add(f"blk.{layer}.ffn_up", FEED_FORWARD, size)
        add(f"blk.{layer}.ffn_down", size, FEED_FORWARD)
    norm("output_norm")
    add("output", len(TOKENS), size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(model: Path, port: int, slots: int, tokens: int) -> None:
    """Serves until the process is ended. ``tokens``: the length of an answer whose request has no limit."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_parallel, params.n_ctx, params.n_predict = slots, slots * SLOT_TOKENS, tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.sampling.ignore_eos = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="llama_engine.py", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="written there if it does not exist")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    if not options.model.is_file():
        part = options.model.with_suffix(".part")
        write_model(part)
        part.rename(options.model)
    serve(options.model, options.port, options.slots, options.tokens)


if __name__ == "__main__":
    main()
